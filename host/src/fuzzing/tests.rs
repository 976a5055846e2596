//! Every seed and every committed input, on stable Rust.

use std::path::{Path, PathBuf};

use super::{TARGETS, Target};

/// The inputs that are kept, below the folder of each target.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus");

fn corpus(target: &Target) -> Vec<PathBuf> {
    let folder = Path::new(CORPUS).join(target.name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn every_kept_input_of_every_target_does_no_harm() {
    for target in TARGETS {
        let files = corpus(target);
        assert!(!files.is_empty(), "{} has a corpus", target.name);
        for file in files {
            let input = std::fs::read(&file).expect("it can be read");
            let run = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(run.is_ok(), "{} fails on {}", target.name, file.display());
        }
    }
}

#[test]
fn every_seed_of_every_target_does_no_harm() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        for seed in seeds {
            let run = std::panic::catch_unwind(|| (target.run)(&seed));
            assert!(run.is_ok(), "{} fails on {seed:?}", target.name);
        }
    }
}

#[test]
fn every_target_has_its_binary_and_nothing_else_has() {
    let folder = Path::new(CORPUS).join("../targets");
    let entries = std::fs::read_dir(folder).expect("the folder of the targets");
    let mut binaries: Vec<String> = entries
        .map(|entry| entry.expect("a file").path())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    binaries.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(binaries, names);
}
