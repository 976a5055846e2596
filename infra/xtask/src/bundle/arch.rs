//! Processors, by the names that everybody gives them.

use anyhow::{Result, bail};
use object::Architecture;

/// A processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    Arm64,
}

impl Arch {
    /// The processor of this machine.
    ///
    /// # Errors
    /// When nothing is bundled for it.
    pub(super) fn this_machine() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("nothing is bundled for {other}; name --arch x86_64 or --arch arm64"),
        }
    }

    pub(super) fn is_this_machine(self) -> bool {
        std::env::consts::OS == "linux" && Self::this_machine().is_ok_and(|here| here == self)
    }

    /// The processor of this name, as AWS writes it.
    pub(super) fn parse(name: &str) -> Result<Self> {
        match name {
            "x86_64" => Ok(Self::X86_64),
            "arm64" => Ok(Self::Arm64),
            other => bail!("there is no arch `{other}`; there are x86_64 and arm64"),
        }
    }

    /// As AWS writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust writes it, with the C library.
    pub(super) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As images and Debian write it.
    pub(super) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Where Debian's libraries for it are.
    pub(super) fn libraries(self) -> &'static str {
        match self {
            Self::X86_64 => "lib/x86_64-linux-gnu",
            Self::Arm64 => "lib/aarch64-linux-gnu",
        }
    }

    /// As a program's file has it.
    pub(super) fn of_file(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Arm64 => Architecture::Aarch64,
        }
    }
}
