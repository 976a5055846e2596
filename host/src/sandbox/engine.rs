//! The engine: which WebAssembly runs here, and the clock that stops it.
//!
//! Fuel and epoch are both on. Fuel is the cost that a manifest records and that is the same on every
//! machine; the epoch is the only thing that stops a guest at a time of day. Processor time for a million
//! rows through a whole session, encoding, decoding and every check of the host included, the best of 9
//! on one core of a busy machine:
//!
//! | metering | `fact-sales-order` | `dim-design` | rejects only | compiling one |
//! |---|---|---|---|---|
//! | none | 78 ms | 55 ms | | 1.0 s |
//! | fuel | 85 ms (+10 %) | 60 ms (+8 %) | +22 % | 1.4 s |
//! | epoch | 84 ms (+8 %) | 55 ms (0 %) | +15 % | 1.2 s |
//! | both | 90 ms (+16 %) | 65 ms (+17 %) | +30 % | 1.6 s |
//!
//! Rejects were measured on `dim-staff` before their reasons were worked out once per column: branches and
//! texts pay the most for being metered. What a million of them take today is in `BENCHMARKS.md`.
//!
//! All of this, and the table of chunks below, was measured before keys were merged by stretches and dates read by words;
//! what a million facts take today, and the curve over chunks with today's modules, stand in `BENCHMARKS.md`, too.
//!
//! Twelve milliseconds for a million facts buy both. Fuel alone was rejected: its limit would have to be
//! translated into seconds for every machine. The epoch alone was rejected: its failures cannot be
//! replayed, and a run would have no cost to compare with the run of another version.
//!
//! Chunks of `fact-sales-order` under both:
//!
//! | rows at most | 256 KiB | 1 MiB | 8 MiB |
//! |---|---|---|---|
//! | 8 192 | 102 ms, 1 MiB of guest memory | **88 ms, 2 MiB** | the same: rows are the limit |
//! | 16 384 | | 92 ms, 3 MiB | 91 ms, 4 MiB |
//! | 65 536 | 101 ms, 1 MiB | 93 ms, 3 MiB | 96 ms, 13 MiB |
//!
//! So [`Limits`](super::Limits) asks for 8 192 rows and 1 MiB: nothing is faster, and little is smaller.
//! SIMD is on because guests are built with it and would be refused without.
//!
//! Eleven modules start from the cache in 57 ms of time that passes on a busy machine and compile in 18 s; their compiled code
//! has 34 MB. Symbols, address maps and unwinding tables are left out of it: nothing here reads them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, Strategy, WasmFeatures};

use super::error::SandboxError;
use super::processor::Processor;
use crate::digest::Digest;

/// The deepest stack of a guest. A blocking thread of the host has 2 MiB.
const STACK_BYTES: usize = 512 * 1024;

/// The settings of the engine that runs modules here: for machines of this kind, or, where this one has less, for it alone.
///
/// # Errors
/// As [`config_of`].
pub(super) fn config() -> Result<Config, SandboxError> {
    config_of(Processor::here())
}

/// The settings for a kind of machines, or for this very machine.
///
/// # Errors
/// `Unavailable` when the engine does not know the processor.
pub(super) fn config_of(processor: Option<Processor>) -> Result<Config, SandboxError> {
    let mut config = settings();
    if let Some(processor) = processor {
        processor.target(&mut config)?;
    }
    Ok(config)
}

/// What is set for every processor. Everything that the contract does not need is off, and nothing is left to a
/// default that a new version of the engine may change.
pub(super) fn settings() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .debug_symbols(false)
        .native_unwind_info(false)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_extended_const(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_features(WasmFeatures::THREADS, false)
        .wasm_features(WasmFeatures::EXCEPTIONS, false)
        .wasm_features(WasmFeatures::GC, false)
        .wasm_features(WasmFeatures::FUNCTION_REFERENCES, false)
        .wasm_features(WasmFeatures::STACK_SWITCHING, false);
    config
}

/// What compiled code depends on besides the component: engine version, settings, and the processor with the features that
/// the engine uses.
pub(super) fn fingerprint(engine: &Engine) -> Digest {
    struct Collect(Vec<u8>);
    impl std::hash::Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut collect = Collect(Vec::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut collect);
    Digest::of(collect.0)
}

/// How often the epoch advances while a guest runs: the grain of every time limit.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The thread that advances the engine's epoch. It sleeps while no guest runs, so that a host that
/// waits for its next schedule does not wake a hundred times a second.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Running>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    guests: usize,
    /// Whether the thread sleeps until it is woken, and not only until the next tick.
    is_asleep: bool,
    stop: bool,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Unavailable` when the system gives no thread.
    pub(super) fn start(engine: &Engine) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared::default());
        let (theirs, engine) = (shared.clone(), engine.weak());
        let thread = std::thread::Builder::new()
            .name("tidemill-epoch".into())
            .spawn(move || {
                while theirs.wait_for_tick() {
                    match engine.upgrade() {
                        Some(engine) => engine.increment_epoch(),
                        None => return,
                    }
                }
            })
            .map_err(|e| SandboxError::Engine(Box::new(e)))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Ticks until the guard is dropped.
    pub(super) fn run(&self) -> Ticking<'_> {
        let mut state = self.shared.lock();
        state.guests += 1;
        // Waking costs more than a short call, and calls follow each other faster than ticks.
        if std::mem::take(&mut state.is_asleep) {
            self.shared.changed.notify_all();
        }
        drop(state);
        Ticking(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already and concerns nobody any more.
            let _ = thread.join();
        }
    }
}

/// A guest is running.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Shared);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.lock().guests -= 1;
    }
}

impl Shared {
    /// Waits until a guest has been running for one tick; false when the sandbox is gone.
    fn wait_for_tick(&self) -> bool {
        let idle = |state: &mut Running| {
            state.is_asleep = state.guests == 0 && !state.stop;
            state.is_asleep
        };
        let state = self
            .changed
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, TICK, |state| !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        !state.stop
    }

    /// Two numbers cannot be left half changed, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
