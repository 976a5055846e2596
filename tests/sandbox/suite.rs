//! All cases, one after the other, in a process of their own: what each is told, word by word, that an honest module
//! still works after each, and how much memory it all took.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::case::{Case, Cases, keys, limits, made, outcome, sandbox};
use super::scripted::{Script, ipc};
use tidemill_tests::puppet::Puppet;

/// The variable by which the process is told where to write what became of the cases.
const ANSWERS: &str = "TIDEMILL_HOSTILE_ANSWERS";
/// What the host may take more than at rest, whatever a module does: the module's 64 MiB, the 32 MiB that it may give in
/// one call, and as much for what is made of them. 63 MiB were measured.
const MOST_BYTES: u64 = (64 + 32 + 32) << 20;
/// What may be left of it in the end: what an allocator keeps for the next time. 30 MiB were measured.
const MOST_LEFT_BYTES: u64 = 64 << 20;

fn cases() -> Result<Vec<Case>> {
    let mut cases = Cases::new()?;
    super::running::add(&mut cases);
    super::descriptions::add(&mut cases);
    super::streams::add(&mut cases);
    super::assembled::add(&mut cases);
    super::bytes::add(&mut cases);
    Ok(cases.all)
}

#[test]
fn every_hostile_module_is_told_what_it_did_and_the_host_is_unharmed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let answers = folder.path().join("answers");
    let child = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "suite::in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env(ANSWERS, &answers)
        // The decoder's panics are caught. To draw their backtraces would bring all of the debug information into memory.
        .env("RUST_BACKTRACE", "0")
        .output()?;
    ensure!(
        child.status.success(),
        "the host did not survive: {}\n{}\n{}",
        child.status,
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    let told = std::fs::read_to_string(&answers)?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/sandbox/hostile.txt");
    if tidemill_tests::variable("TIDEMILL_UPDATE").is_some() {
        std::fs::write(file, &told)?;
    }
    let expected = std::fs::read_to_string(file).context(file)?;
    for (told, expected) in told.split("\n\n").zip(expected.split("\n\n")) {
        ensure!(
            told == expected,
            "the case ends with\n{told}\nand not with\n{expected}\n\
             look at it, and run the test with TIDEMILL_UPDATE=1 when it is as it should be"
        );
    }
    ensure!(
        told == expected,
        "there are more cases, or fewer, than in {file}"
    );
    Ok(())
}

/// Called by the test above.
#[test]
#[allow(clippy::print_stdout)]
#[ignore = "runs in a process of its own, for its memory is measured"]
fn in_a_process_of_its_own() -> Result<()> {
    let Some(answers) = tidemill_tests::variable(ANSWERS) else {
        return Ok(());
    };
    let cases = cases()?;
    let honest = Honest::new()?;
    honest.works()?;
    let before = memory()?;
    let mut told = String::new();
    let (mut most, mut heaviest) = (before.most, "none");
    for case in &cases {
        let outcome = outcome(case).with_context(|| case.name.clone())?;
        write!(told, "{}\n{outcome}\n\n", case.name)?;
        honest
            .works()
            .with_context(|| format!("after: {}", case.name))?;
        let now = memory()?.most;
        if now > most {
            (most, heaviest) = (now, &case.name);
        }
    }
    std::fs::write(answers, told)?;
    let (took, left) = (most - before.now, memory()?.now.saturating_sub(before.now));
    println!(
        "{} cases took {} MiB, at `{heaviest}`, and left {} MiB",
        cases.len(),
        took >> 20,
        left >> 20
    );
    ensure!(
        took <= MOST_BYTES,
        "the host took {} MiB at `{heaviest}`",
        took >> 20
    );
    ensure!(left <= MOST_LEFT_BYTES, "{} MiB are left of it", left >> 20);
    Ok(())
}

/// A module that does its work, in a sandbox of its own.
struct Honest(tidemill::sandbox::Module);

impl Honest {
    fn new() -> Result<Self> {
        let puppet = Puppet::default().gives(&[&ipc(&made(&[1, 2]))], 2);
        let hostile = tidemill_tests::guests::hostile()?;
        Ok(Self(
            sandbox(limits())?.load(&hostile, &puppet.parameters())?,
        ))
    }

    fn works(&self) -> Result<()> {
        let mut session = self.0.open(super::case::CONTEXT)?;
        let step = session.push(0, &super::case::things(&[1, 2, 3], "n"))?;
        ensure!(step.rows == [made(&[1, 2])], "it made {:?}", step.rows);
        session.retract(0, &keys(&[4]))?;
        session.end_of_input(0)?;
        session.finish()?;
        Ok(())
    }
}

/// Bytes of this process in memory.
struct Memory {
    now: u64,
    most: u64,
}

/// As the kernel counts them. Elsewhere than on Linux nothing is known, and nothing is too much.
fn memory() -> Result<Memory> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return Ok(Memory { now: 0, most: 0 });
    };
    let bytes = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context(name.to_owned())?.trim().parse::<u64>()? * 1024)
    };
    Ok(Memory {
        now: bytes("VmRSS:")?,
        most: bytes("VmHWM:")?,
    })
}

/// Outside of the process that is measured: the code itself is larger than what that may take.
#[test]
fn a_hundred_megabytes_of_code_are_refused_before_they_are_compiled() -> Result<()> {
    let mut component = Script::default().component();
    // A custom section, whose size is written in five bytes.
    let size = 100_u32 << 20;
    component.push(0);
    component.extend((0..5).map(|byte| {
        let more = if byte < 4 { 0x80 } else { 0 };
        (size >> (7 * byte) & 0x7f) as u8 | more
    }));
    component.push(0);
    component.resize(component.len() + size as usize - 1, 0);
    let bytes = component.len();
    let started = std::time::Instant::now();
    let sandbox = sandbox(tidemill::sandbox::Limits::default())?;
    let error = sandbox
        .load(&component, b"")
        .err()
        .context("it is too large")?;
    let digest = tidemill::sandbox::module_digest(&component, b"").short();
    ensure!(
        super::case::story(&error)
            == format!(
                "module ({digest}) is refused: its component has {bytes} bytes, more than the limit of 33554432"
            ),
        "{error:?}"
    );
    ensure!(
        started.elapsed().as_secs() < 60,
        "it took {:?}",
        started.elapsed()
    );
    Ok(())
}
