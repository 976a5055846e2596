//! The engine: which WebAssembly runs here, and the clock that stops it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, OptLevel, Strategy, WasmFeatures};

use super::error::SandboxError;
use crate::digest::Digest;

/// The deepest stack of a guest. A blocking thread of the host has 2 MiB.
const STACK_BYTES: usize = 512 * 1024;

/// What differs from the engine that is used, for measurements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metering {
    pub(super) fuel: bool,
    pub(super) epoch: bool,
    pub(super) simd: bool,
}

/// What the sandbox runs with.
pub(super) const METERING: Metering = Metering {
    fuel: true,
    epoch: true,
    simd: true,
};

/// The engine's settings. Everything that the contract does not need is off, and nothing is left to a
/// default that a new version of the engine may change.
pub(super) fn config(metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(metering.fuel)
        .epoch_interruption(metering.epoch)
        .max_wasm_stack(STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_extended_const(true)
        .wasm_simd(metering.simd)
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

/// What compiled code depends on besides the component: engine version, settings, target and the
/// features of this processor.
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
        self.shared.lock().guests += 1;
        self.shared.changed.notify_all();
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
        let idle = |state: &mut Running| state.guests == 0 && !state.stop;
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
