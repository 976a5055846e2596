//! What is asked of a soak: `[SUITE…] [--kills N] [--seed S] [--minutes M] [--at-once N] [--place=P]`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tidemill_tests::world::At;

/// Random kills on each warehouse, unless `--kills` says otherwise.
const KILLS: u32 = 1_000;

/// Where randomness begins, unless `--seed` says otherwise.
const SEED: u64 = 20_261_121;

/// Companies for each core that meet storms at the same time, unless `--at-once` says otherwise: they wait for most of
/// the time.
const AT_ONCE: usize = 3;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Suites; empty means all.
    names: Vec<String>,
    /// Random kills on each warehouse.
    pub(crate) kills: u32,
    /// What everything random follows from.
    pub(crate) seed: u64,
    /// Companies that meet storms at the same time.
    pub(crate) at_once: usize,
    /// Where, if not at every place.
    place: Option<At>,
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
                "arguments: [{}]… [--kills N] [--seed S] [--minutes M] [--at-once N] [--place=P]",
                known.join("|")
            )
        };
        let mut asked = Self {
            names: Vec::new(),
            kills: KILLS,
            seed: SEED,
            at_once: AT_ONCE * std::thread::available_parallelism().map_or(1, usize::from),
            place: None,
            until: None,
        };
        while let Some(argument) = arguments.next() {
            if let Some(name) = argument.strip_prefix("--place=") {
                let places = [At::Folder, At::Bucket, At::Postgres].into_iter();
                let mut found =
                    places.filter(|place| format!("{place:?}").eq_ignore_ascii_case(name));
                asked.place = Some(found.next().with_context(usage)?);
                continue;
            }
            let mut number = || -> Result<u64> {
                let number = arguments.next().with_context(usage)?;
                number.replace('_', "").parse().with_context(usage)
            };
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--kills" => asked.kills = u32::try_from(number()?).with_context(usage)?,
                "--seed" => asked.seed = number()?,
                "--at-once" => {
                    asked.at_once = usize::try_from(number()?).with_context(usage)?.max(1);
                }
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

    /// Whether cases at this place are asked for.
    pub(crate) fn is_at(&self, place: At) -> bool {
        self.place.is_none_or(|asked| asked == place)
    }

    /// Whether the minutes are over.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() > until)
    }
}
