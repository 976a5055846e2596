//! The program with compilers for processors of every kind: `cargo x bundle` builds it where a bundle is for another one.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidemill::cli::main()
}
