//! The frame of every fuzz target: where it begins, and how a panic is told from one that the host catches.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use tidemill::fuzzing::Target;

/// A folder to put the seeds into.
const SEEDS: &str = "TIDEMILL_FUZZ_SEEDS";
/// A file to put the words into, as a dictionary of libFuzzer's.
const WORDS: &str = "TIDEMILL_FUZZ_WORDS";

/// Runs the function of `tidemill::fuzzing` that is called `name`, and ends the process if it panics.
///
/// libFuzzer's own hook ends the process at every panic. The host catches those of Arrow's decoder on purpose, so
/// here only a panic that leaves the function counts.
pub fn run(name: &str, input: &[u8]) {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| begin(name));
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        // Once more, now with the message and the place.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let _ = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        std::process::abort();
    }
}

fn begin(name: &str) -> &'static Target {
    std::panic::set_hook(Box::new(|_| {}));
    let target = tidemill::fuzzing::target(name).expect("every binary is on the list of targets");
    if let Some(folder) = std::env::var_os(SEEDS) {
        for (seed, number) in (target.seeds)().iter().zip(0..) {
            fs::write(Path::new(&folder).join(format!("seed-{number:03}")), seed)
                .expect("the folder of the seeds can be written to");
        }
    }
    if let Some(file) = std::env::var_os(WORDS) {
        let words = (target.words)()
            .iter()
            .map(|word| entry(word))
            .collect::<String>();
        fs::write(file, words).expect("the dictionary can be written");
    }
    target
}

/// A line of a dictionary.
fn entry(word: &str) -> String {
    let escaped: String = word
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            byte => format!("\\x{byte:02X}"),
        })
        .collect();
    format!("\"{escaped}\"\n")
}
