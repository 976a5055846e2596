//! The chores of the repository, as `cargo x COMMAND`: CI calls these and nothing else.
//!
//! One file per command; this one only tells them apart.

mod bench;
mod bundle;
mod cargo_lambda;
mod check;
mod debian;
mod demo;
mod fix;
mod fuzz;
mod guests;
mod manifests;
mod minio;
mod oci_registry;
mod packages;
mod postgres;
mod python;
mod rooms;
#[cfg(test)]
mod scratch;
mod scratch_folder;
mod soak;
mod test;
mod tidy;
mod wit;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo x COMMAND

  demo [ARGUMENT…]   builds tidemill and runs `tidemill demo`
  test [ARGUMENT…]   builds and runs every test; the arguments are the test harness's: names, --nocapture
  check [NAME…]      runs every check, or those of these names
  bench [NAME…]      measures what tidemill costs: module, chunk, extract, run, memory, idle, daily, or all;
                     --rows N and --days N set the size
  soak [SUITE…]      everything that may go wrong at any moment, for hours: kills, points, init, storms, faults,
                     mutations, or all; --kills N, --seed S and --minutes M bound kills and storms, --place=P
                     has them in a folder, a bucket or postgres only, --at-once N storms at the same time
  fuzz [TARGET…]     fuzzes what reads hostile bytes, --seconds N each; needs a C++ compiler, and builds cargo-fuzz once
  fix                applies clippy's suggestions and formats
  guests             builds every module under guest-transforms/ as a component into target/guests/, and those
                     under tests/guests/ into target/test-guests/
  bundle --target T  what is deployed, into target/bundle/: lambda (a zip) or container (an OCI layout, and a context for
                     infra/container/Containerfile); --arch x86_64|arm64, --project FOLDER, --profile bundle|dev,
                     --program FILE, --out FOLDER";

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() -> ExitCode {
    if bundle::compiler::is_called() {
        eprintln!("error: {:#}", bundle::compiler::run());
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["demo", arguments @ ..] => demo::run(arguments),
        ["test", arguments @ ..] => test::run(arguments),
        ["check", names @ ..] => check::run(names),
        ["bench", arguments @ ..] => bench::run(arguments),
        ["soak", arguments @ ..] => soak::run(arguments),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["fix"] => fix::run(),
        ["guests"] => guests::run(),
        ["bundle", arguments @ ..] => bundle::run(arguments),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
