//! The archive for AWS Lambda's `provided.al2023`: `bootstrap`, and the project beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::arch::Arch;
use super::layers::{self, Effort};
use super::program::{PROFILE, Program, Version};
use super::tree::Tree;

/// The C library of Amazon Linux 2023.
const LIBRARY: Version = Version(2, 34);
/// What a function may have unpacked.
const MOST_BYTES: usize = 250 * 1024 * 1024;

/// Writes the archive; gives its path and its digest.
///
/// # Errors
/// When the program needs a newer C library than functions have, or the archive cannot be written.
#[allow(clippy::print_stderr)]
pub(super) fn write(
    out: &Path,
    arch: Arch,
    program: &Program,
    project: Tree,
    effort: Effort,
) -> Result<(PathBuf, String)> {
    let mut tree = project;
    tree.add_program("bootstrap", program.bytes().to_vec());
    for problem in problems(program.library(), tree.size()) {
        match effort {
            Effort::Whole => bail!(problem),
            Effort::Little => eprintln!("warning: {problem}"),
        }
    }
    let archive = layers::zip(&tree, effort)?;
    let path = out.join(format!("lambda-{}.zip", arch.name()));
    fs::write(&path, &archive).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, layers::sha256(&archive)))
}

/// Why a function of this size whose program needs this C library would not work. One that is built for trying may.
fn problems(library: Version, bytes: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if library > LIBRARY {
        problems.push(format!(
            "the program needs a C library of {library}, and provided.al2023 has {LIBRARY}: leave --program out, and it is \
             built by cargo-zigbuild against that, or build it on a system that is as old"
        ));
    }
    if bytes > MOST_BYTES {
        problems.push(format!(
            "it has {bytes} bytes, and all of a function {MOST_BYTES} at most: build the program in the profile `{PROFILE}`"
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_a_function_cannot_load_is_refused() {
        assert!(problems(Version(2, 34), 100 << 20).is_empty());
        let problems = problems(Version(2, 35), 300 << 20);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("2.35") && problems[0].contains("cargo-zigbuild"));
    }
}
