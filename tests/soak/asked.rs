//! What is asked of a soak: `[SUITE…] [--kills N] [--seed S] [--minutes M]`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Random kills on each warehouse, unless `--kills` says otherwise.
const KILLS: u32 = 1_000;

/// Where randomness begins, unless `--seed` says otherwise.
const SEED: u64 = 20_261_121;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Suites; empty means all.
    names: Vec<String>,
    /// Random kills on each warehouse.
    pub(crate) kills: u32,
    /// What everything random follows from.
    pub(crate) seed: u64,
    /// When to begin no more cases.
    until: Option<Instant>,
}

impl Asked {
    /// Reads the arguments; `known` are the names of the suites.
    pub(crate) fn read(
        mut arguments: impl Iterator<Item = String>,
        known: &[&str],
    ) -> Result<Self> {
        let usage = || {
            format!(
                "arguments: [{}]… [--kills N] [--seed S] [--minutes M]",
                known.join("|")
            )
        };
        let mut asked = Self {
            names: Vec::new(),
            kills: KILLS,
            seed: SEED,
            until: None,
        };
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64> {
                let number = arguments.next().with_context(usage)?;
                number.replace('_', "").parse().with_context(usage)
            };
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--kills" => asked.kills = u32::try_from(number()?).with_context(usage)?,
                "--seed" => asked.seed = number()?,
                "--minutes" => {
                    asked.until = Some(Instant::now() + Duration::from_secs(60 * number()?));
                }
                name if known.contains(&name) => asked.names.push(argument),
                _ => bail!(usage()),
            }
        }
        Ok(asked)
    }

    /// Whether a suite shall run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    /// Whether the minutes are over.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() > until)
    }
}
