//! One instance of a module in a store of its own: what it may use, and how its calls are watched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Linker, ResourceAny, WasmStr};
use wasmtime::{ResourceLimiter, Store, StoreContextMut, Trap};

use super::Runtime;
use super::binding::{self, Level, types, wit};
use super::engine::{TICK, Ticker};
use super::error::{Breach, Identity, Phase, SandboxError};
use super::limits::Limits;
use super::module::Words;
use super::text::is_kebab;
use crate::printable;

/// Core instances of a component: the module, and what a toolchain puts around it.
const MOST_INSTANCES: usize = 64;
/// Linear memories of a component.
const MOST_MEMORIES: usize = 8;
/// Tables of a component, and the functions in all of them: an SQL engine has about 50 000.
const MOST_TABLES: usize = 16;
const MOST_TABLE_ELEMENTS: usize = 1_000_000;
/// The longest log line; what is beyond is cut.
const LINE_BYTES: usize = 4 * 1024;
/// How much of a failure or a trap is shown.
const MESSAGE_BYTES: usize = 1024;
/// How long a code may be.
pub(super) const CODE_BYTES: usize = 64;
/// What stands for the words of a guest that reads sensitive columns.
const WITHHELD: &str = "(withheld: the module reads sensitive columns)";

/// What the host knows of an instance while it runs.
#[derive(Debug)]
pub(super) struct Guest {
    identity: Identity,
    words: Words,
    limits: Arc<Limits>,
    memory_bytes: usize,
    peak_memory_bytes: usize,
    table_elements: usize,
    lines_left: u32,
    line_bytes_left: usize,
}

impl Guest {
    fn new(identity: Identity, words: Words, limits: Arc<Limits>) -> Self {
        Self {
            identity,
            words,
            memory_bytes: 0,
            peak_memory_bytes: 0,
            table_elements: 0,
            lines_left: limits.log_lines,
            line_bytes_left: limits.log_bytes,
            limits,
        }
    }

    /// Writes a guest's line to the host's log, while there is room for it.
    fn log(&mut self, level: Level, message: &str) {
        self.lines_left = self.lines_left.saturating_sub(1);
        self.line_bytes_left = self.line_bytes_left.saturating_sub(message.len());
        let module = &self.identity;
        let line = self.said(message, LINE_BYTES);
        match level {
            Level::Debug => tracing::debug!(%module, line, "module says"),
            Level::Info => tracing::info!(%module, line, "module says"),
            Level::Warn => tracing::warn!(%module, line, "module says"),
            Level::Error => tracing::error!(%module, line, "module says"),
        }
        if !self.may_log() {
            tracing::warn!(%module, "module has used up its log; what follows is dropped");
        }
    }

    /// The guest's own words, as far as they may be shown.
    fn said(&self, words: &str, bytes: usize) -> String {
        match self.words {
            Words::Kept => printable::line(words, bytes),
            Words::Withheld => WITHHELD.to_owned(),
        }
    }

    fn may_log(&self) -> bool {
        self.lines_left > 0 && self.line_bytes_left > 0
    }
}

/// The limiter's refusal, found again in the error that the call ends with.
#[derive(Debug, thiserror::Error)]
#[error("the memory limit is reached")]
struct OverMemory;

/// As [`OverMemory`], for tables.
#[derive(Debug, thiserror::Error)]
#[error("the limit of table elements is reached")]
struct OverTables;

impl ResourceLimiter for Guest {
    /// Refusing stops the guest. Letting the growth fail instead was rejected: the allocator of the guest
    /// would abort, and its trap would not say that memory was the reason.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory_bytes {
            return Err(OverMemory.into());
        }
        self.memory_bytes = total;
        self.peak_memory_bytes = self.peak_memory_bytes.max(total);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        if total > MOST_TABLE_ELEMENTS {
            return Err(OverTables.into());
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MOST_INSTANCES
    }

    fn tables(&self) -> usize {
        MOST_TABLES
    }

    fn memories(&self) -> usize {
        MOST_MEMORIES
    }
}

/// The linker of every module: the log and nothing else.
///
/// The line is looked at in the guest's memory and not copied out of it: once the log is used up, a line
/// costs the host nothing.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    linker.instance(super::LOG)?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, (level, line): (Level, WasmStr)| {
            if store.data().may_log() {
                let line = line.to_str(&store)?.into_owned();
                store.data_mut().log(level, &line);
            }
            Ok(())
        },
    )?;
    Ok(linker)
}

/// What a session has used. Nothing here depends on the machine or its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Instructions, roughly: the cost that is the same for every run of the same input.
    pub fuel: u64,
    /// The most linear memory at any time.
    pub peak_memory_bytes: u64,
    /// Chunks given.
    pub chunks: u64,
}

/// An instance that can be called.
pub(super) struct Instance {
    store: Store<Guest>,
    exports: wit::Guest,
    watch: Watch,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Instance").field(self.store.data()).finish()
    }
}

impl Instance {
    /// Makes a fresh store and an instance in it.
    pub(super) fn start(
        runtime: &Runtime,
        module: &binding::ModulePre<Guest>,
        identity: Identity,
        words: Words,
        phase: Phase,
    ) -> Result<Self, SandboxError> {
        let limits = runtime.limits.clone();
        let guest = Guest::new(identity, words, limits.clone());
        let mut store = Store::new(&runtime.engine, guest);
        store.limiter(|guest| guest);
        store
            .set_fuel(limits.fuel)
            .map_err(|e| SandboxError::Engine(e.into()))?;
        let mut watch = Watch {
            session_left: limits.session_time,
            limits,
            ticker: runtime.ticker.clone(),
        };
        let instance = watch.guard(&mut store, phase, |store| module.instantiate(store))?;
        Ok(Self {
            exports: instance.tidemill_transform_transform().clone(),
            store,
            watch,
        })
    }

    /// Calls an export: `call` gets the exports and the store.
    pub(super) fn call<T>(
        &mut self,
        phase: Phase,
        call: impl FnOnce(&wit::Guest, &mut Store<Guest>) -> wasmtime::Result<Result<T, types::Failure>>,
    ) -> Result<T, SandboxError> {
        let exports = &self.exports;
        self.watch
            .guard(&mut self.store, phase, |store| call(exports, store))?
            .map_err(|failure| gave_up(self.store.data(), phase, &failure))
    }

    /// Opens the session of the guest.
    pub(super) fn open(&mut self, context: &types::Context) -> Result<ResourceAny, SandboxError> {
        self.call(Phase::Open, |exports, store| {
            exports.session().call_open(store, context)
        })
    }

    /// The error of a breach that the host found in what the guest gave.
    pub(super) fn stopped(&self, phase: Phase, breach: Breach) -> SandboxError {
        stopped(self.store.data(), phase, breach)
    }

    /// What has been used so far, `chunks` not counted.
    pub(super) fn usage(&self) -> Usage {
        let fuel_left = self.store.get_fuel().unwrap_or(self.watch.limits.fuel);
        Usage {
            fuel: self.watch.limits.fuel - fuel_left,
            peak_memory_bytes: self.store.data().peak_memory_bytes as u64,
            chunks: 0,
        }
    }
}

/// The time that an instance has left.
struct Watch {
    limits: Arc<Limits>,
    ticker: Arc<Ticker>,
    session_left: Duration,
}

impl Watch {
    /// Runs `call` with the time, memory and bytes that it may use.
    fn guard<T>(
        &mut self,
        store: &mut Store<Guest>,
        phase: Phase,
        call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> Result<T, SandboxError> {
        let allowed = self.limits.call_time.min(self.session_left);
        store.set_epoch_deadline(ticks(allowed));
        store.set_hostcall_fuel(self.limits.step_bytes);
        let begun = Instant::now();
        let ticking = self.ticker.run();
        let result = call(store);
        drop(ticking);
        self.session_left = self.session_left.saturating_sub(begun.elapsed());
        result.map_err(|error| stopped(store.data(), phase, self.breach(&error, allowed)))
    }

    /// What the engine's error says that the guest did.
    fn breach(&self, error: &wasmtime::Error, allowed: Duration) -> Breach {
        if error.downcast_ref::<OverMemory>().is_some() {
            return Breach::Memory {
                limit_bytes: self.limits.memory_bytes,
            };
        }
        if error.downcast_ref::<OverTables>().is_some() {
            return Breach::TooMuch {
                what: "table elements",
                limit: MOST_TABLE_ELEMENTS as u64,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Breach::Time {
                limit: if allowed < self.limits.call_time {
                    self.limits.session_time
                } else {
                    allowed
                },
            },
            Some(Trap::OutOfFuel) => Breach::Fuel {
                limit: self.limits.fuel,
            },
            Some(trap) => Breach::Trap(trap.to_string()),
            None => self.broken_call(&error.root_cause().to_string()),
        }
    }

    /// The engine found that a result cannot be lifted. It has no type for "too many bytes", only words;
    /// a test holds them fast.
    fn broken_call(&self, words: &str) -> Breach {
        if words.starts_with("too much data is being copied") {
            return Breach::TooMuch {
                what: "bytes in one call",
                limit: self.limits.step_bytes as u64,
            };
        }
        Breach::Contract(printable::line(words, MESSAGE_BYTES))
    }
}

/// Ticks within which a call has ended or had its time.
fn ticks(allowed: Duration) -> u64 {
    let ticks = allowed.as_nanos().div_ceil(TICK.as_nanos().max(1));
    u64::try_from(ticks)
        .unwrap_or(u64::MAX / 2)
        .saturating_add(1)
}

fn stopped(guest: &Guest, phase: Phase, breach: Breach) -> SandboxError {
    let breach = match guest.words {
        Words::Kept => breach,
        Words::Withheld => withheld(breach),
    };
    SandboxError::Stopped {
        module: guest.identity.clone(),
        phase,
        breach: Box::new(breach),
    }
}

/// The same breach without what the guest itself wrote: a column's name may hold a value as well as a message may.
fn withheld(breach: Breach) -> Breach {
    let words = || WITHHELD.to_owned();
    match breach {
        Breach::Contract(_) => Breach::Contract(words()),
        Breach::Description(_) => Breach::Description(words()),
        Breach::Stream { stream, .. } => Breach::Stream {
            stream,
            reason: words(),
        },
        Breach::Schema { stream, .. } => Breach::Schema {
            stream,
            difference: words(),
        },
        Breach::Reject { number, .. } => Breach::Reject {
            number,
            reason: format!("is wrong {WITHHELD}"),
        },
        said_by_the_host => said_by_the_host,
    }
}

fn gave_up(guest: &Guest, phase: Phase, failure: &types::Failure) -> SandboxError {
    let code = if is_kebab(&failure.code, CODE_BYTES) {
        failure.code.clone()
    } else {
        "no-proper-code".to_owned()
    };
    SandboxError::Failure {
        module: guest.identity.clone(),
        phase,
        code,
        message: guest.said(&failure.message, MESSAGE_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::sandbox::error::Stream;

    const SECRET: &str = "ada@example.org";

    fn guest(words: Words) -> Guest {
        let identity = Identity::Unnamed(Digest::of("module"));
        Guest::new(identity, words, Arc::new(Limits::default()))
    }

    /// Everything that a module can write into an error.
    fn told(words: Words) -> Vec<String> {
        let guest = guest(words);
        let said = || SECRET.to_owned();
        let failure = types::Failure {
            code: "no-match".into(),
            message: said(),
        };
        let breaches = [
            Breach::Contract(said()),
            Breach::Description(said()),
            Breach::Stream {
                stream: Stream::Rows,
                reason: said(),
            },
            Breach::Schema {
                stream: Stream::Rows,
                difference: said(),
            },
            Breach::Reject {
                number: 3,
                reason: said(),
            },
        ];
        let stopped = breaches.map(|breach| stopped(&guest, Phase::Push, breach));
        let errors = stopped
            .into_iter()
            .chain([gave_up(&guest, Phase::Push, &failure)]);
        let told = errors.map(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        });
        told.chain([guest.said(SECRET, LINE_BYTES)]).collect()
    }

    #[test]
    fn a_module_that_reads_sensitive_columns_says_nothing_in_its_own_words() {
        for told in told(Words::Kept) {
            assert!(told.contains(SECRET), "{told}");
        }
        for told in told(Words::Withheld) {
            assert!(
                !told.contains(SECRET) && told.contains("withheld"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_the_host_says_of_a_breach_stays() {
        let breach = Breach::Counts {
            what: "rows in",
            claimed: 1,
            actual: 2,
        };
        let error = stopped(&guest(Words::Withheld), Phase::Push, breach);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(
            cause.as_deref(),
            Some("it counts 1 rows in, but there are 2")
        );
    }
}
