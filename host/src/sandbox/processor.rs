//! The processors that modules are compiled for, each with a fixed set of features.
//!
//! Code that used every feature of the machine on which it was compiled would run there and on its like. So machines of one
//! kind that have the features below share one engine with one fingerprint: what is compiled into a bundle on any of them, or
//! for them on a machine of another kind, is what they would have compiled themselves. A machine that has less uses what it has,
//! under a fingerprint of its own, so that it compiles what a bundle brings and loads none of it.
//!
//! | processor | features | so it runs on |
//! |---|---|---|
//! | `x86_64` | those of x86-64-v3: up to AVX2, FMA, BMI1, BMI2, LZCNT, POPCNT | Intel since Haswell, AMD since Excavator: AWS Lambda, which promises AVX2, and Fargate |
//! | `arm64` | none but those of ARMv8.0 | Graviton of every generation, Raspberry Pi 4 |
//!
//! More was rejected: code of modules that is compiled with AVX-512 differs in rare instructions, and what Graviton2 has
//! beyond ARMv8.0 is for atomics, half floats and signed returns, none of which a module has.

use std::fmt;

use wasmtime::{Config, Engine};

use super::engine;
use super::error::SandboxError;

/// A processor of a bundle, under Linux with the GNU C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// Intel and AMD, 64 bits.
    X86_64,
    /// ARM, 64 bits.
    Arm64,
}

/// What Cranelift calls the features of x86-64-v3 that it uses.
const X86_64_V3: [&str; 12] = [
    "has_cmpxchg16b",
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

impl Processor {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// The one of this machine, where the machine has what its engine uses.
    pub fn here() -> Option<Self> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return None;
        }
        #[cfg(target_arch = "x86_64")]
        let has_all = std::is_x86_feature_detected!("cmpxchg16b")
            && std::is_x86_feature_detected!("sse4.2")
            && std::is_x86_feature_detected!("popcnt")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("lzcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let has_all = true;
        let here = Self::parse(match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        });
        here.filter(|_| has_all)
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// As AWS writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &X86_64_V3,
            Self::Arm64 => &[],
        }
    }

    /// Sets the processor and nothing but its features.
    #[allow(unsafe_code)]
    pub(super) fn target(self, config: &mut Config) -> Result<(), SandboxError> {
        let set = config.target(self.triple());
        set.map_err(|e| SandboxError::Engine(e.into()))?;
        for feature in self.features() {
            // SAFETY: flags of Cranelift may be set that make code which is not sound. These are the names of instruction
            // sets above, and nothing else. That this machine has them is asked in `here`, and the engine asks again, each by
            // each, before it runs a module or loads compiled code.
            unsafe { config.cranelift_flag_enable(feature) };
        }
        Ok(())
    }

    /// An engine that compiles for it; whether it runs here is another matter.
    ///
    /// # Errors
    /// `Config` when this program compiles for its own kind only.
    pub(super) fn engine(self) -> Result<Engine, SandboxError> {
        let config = engine::config_of(Some(self))?;
        Engine::new(&config).map_err(|cause| SandboxError::Foreign {
            processor: self,
            cause: cause.into(),
        })
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Precompiled;

    use super::*;

    fn is_compiled(code: &[u8]) -> bool {
        Engine::detect_precompiled(code) == Some(Precompiled::Component)
    }

    /// The processor in the head of an ELF file.
    fn machine(code: &[u8]) -> Option<u16> {
        let bytes = code.get(18..20)?.try_into().ok()?;
        code.starts_with(b"\x7fELF")
            .then(|| u16::from_le_bytes(bytes))
    }

    #[test]
    fn this_machine_runs_what_is_compiled_for_its_kind() {
        let Some(here) = Processor::here() else {
            return;
        };
        let engine = here.engine().expect("it compiles for itself");
        let running = Engine::new(&engine::config().expect("settings")).expect("it runs here");
        assert_eq!(engine::fingerprint(&engine), engine::fingerprint(&running));
        let component = wat::parse_str("(component)").expect("a component");
        let code = engine
            .precompile_component(&component)
            .expect("it compiles");
        assert!(is_compiled(&code) && !is_compiled(&component));
        let expected = match here {
            Processor::X86_64 => 62,
            Processor::Arm64 => 183,
        };
        assert_eq!(machine(&code), Some(expected));
    }

    #[test]
    fn an_engine_has_the_features_of_its_kind() {
        let Some(here) = Processor::here() else {
            return;
        };
        let mut bare = engine::settings();
        let bare = Engine::new(bare.target(here.triple()).expect("a target"));
        let bare = engine::fingerprint(&bare.expect("an engine"));
        let ours = engine::fingerprint(&here.engine().expect("an engine"));
        assert_eq!(bare == ours, here.features().is_empty());
    }

    #[cfg(feature = "all-arch")]
    #[test]
    fn code_for_every_kind_is_made_on_any() {
        let component = wat::parse_str("(component (core module (func (export \"f\"))))");
        let component = component.expect("a component");
        let mut fingerprints = Vec::new();
        for (processor, expected) in [(Processor::X86_64, 62), (Processor::Arm64, 183)] {
            let engine = processor.engine().expect("it is built in");
            let code = engine
                .precompile_component(&component)
                .expect("it compiles");
            assert!(is_compiled(&code));
            assert_eq!(machine(&code), Some(expected), "{processor}");
            fingerprints.push(engine::fingerprint(&engine));
        }
        assert_ne!(fingerprints.first(), fingerprints.last());
    }

    #[cfg(not(feature = "all-arch"))]
    #[test]
    fn a_program_for_one_kind_says_so() {
        for processor in Processor::ALL {
            match processor.engine() {
                Ok(_) => assert_eq!(
                    processor.triple().split('-').next(),
                    Some(std::env::consts::ARCH)
                ),
                Err(error) => assert!(error.to_string().contains(processor.name()), "{error}"),
            }
        }
    }
}
