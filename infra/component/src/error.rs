//! Why a crate does not become a module. Written by hand: a derive would have to be built before `cargo x` can run.

use std::path::PathBuf;
use std::{fmt, io};

use crate::toolchain::TARGET;

/// Why a crate does not become a module.
#[derive(Debug)]
pub enum BuildError {
    /// There is no such program.
    NoProgram {
        /// "cargo".
        program: String,
    },
    /// A program cannot be started.
    Program {
        /// "cargo".
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// A file cannot be read.
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A folder is no crate.
    NoCrate {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder holds several crates and is none itself.
    Several {
        /// The folder.
        folder: PathBuf,
        /// The modules in it.
        modules: Vec<String>,
    },
    /// A crate that is no module.
    NoLibrary {
        /// The crate.
        name: String,
    },
    /// Cargo has said on stderr what is wrong.
    Manifest,
    /// Cargo has said something else than this knows.
    Unknown(String),
    /// The standard library for the target is missing.
    NoTarget {
        /// Whether rustup is there to add it.
        rustup: bool,
    },
    /// The compiler has said on stderr what is wrong.
    Compile {
        /// The crates.
        names: Vec<String>,
    },
    /// What was compiled is no module.
    NoModule {
        /// The crate.
        name: String,
        /// "it imports …".
        reason: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram { program } => write!(f, "there is no program `{program}`"),
            Self::Program { program, .. } => write!(f, "cannot run `{program}`"),
            Self::Read { file, .. } => write!(f, "cannot read {}", file.display()),
            Self::NoCrate { folder } => write!(f, "there is no Cargo.toml in {}", folder.display()),
            Self::Several { folder, .. } => {
                write!(f, "{} is a workspace and no crate", folder.display())
            }
            Self::NoLibrary { name } => write!(
                f,
                "the crate {name} builds no `cdylib`, so it cannot become a component"
            ),
            Self::Manifest => f.write_str("cargo cannot read the crate"),
            Self::Unknown(said) => write!(f, "cargo says something unknown: {said}"),
            Self::NoTarget { .. } => write!(f, "the Rust target {TARGET} is missing"),
            Self::Compile { names } => write!(f, "{} not compile", does(names)),
            Self::NoModule { name, reason } => write!(f, "{name} is no module: {reason}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Program { cause, .. } | Self::Read { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

fn does(names: &[String]) -> String {
    match names {
        [one] => format!("{one} does"),
        _ => "the modules do".to_owned(),
    }
}

impl BuildError {
    /// The next step, in the imperative.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram { .. } => Some("install Rust from https://rustup.rs".into()),
            Self::NoCrate { .. } => Some("name the folder of a module's crate".into()),
            Self::Several { modules, .. } if modules.is_empty() => {
                Some("name the folder of a module's crate".into())
            }
            Self::Several { modules, .. } => Some(format!(
                "name the folder of one of its modules: {}",
                modules.join(", ")
            )),
            Self::NoLibrary { .. } => Some(
                "write `crate-type = [\"cdylib\", \"rlib\"]` under [lib] in its Cargo.toml".into(),
            ),
            Self::NoTarget { rustup: true } => {
                Some(format!("add it with `rustup target add {TARGET}`"))
            }
            Self::NoTarget { rustup: false } => Some(format!(
                "there is no rustup to add it: install the standard library of this Rust for {TARGET} the way this \
                 Rust was installed"
            )),
            Self::NoModule { .. } => Some("export a transform with `tidemill_sdk::export!`".into()),
            _ => None,
        }
    }
}
