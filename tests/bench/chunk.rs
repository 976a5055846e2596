//! The boundary: one module by the size of its chunks, and how long it takes until all modules are ready.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tidemill::sandbox::{Limits, Sandbox};
use tidemill_tests::guests;

use super::module::{Inputs, in_sandbox, natively};
use super::stopwatch::{by_turns, repeated, shown, speed};
use super::work;

const ROUNDS: usize = 5;
const MODULE: &str = "fact-sales-order";
const CHUNK_ROWS: [usize; 7] = [1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536];

/// Prints the ratio of both ways to call [`MODULE`] for every size, and the start from the cache.
pub(crate) fn measure(rows: usize) -> Result<()> {
    let guests = guests::all("totesys")?;
    let Some(guest) = guests.iter().find(|guest| guest.name == MODULE) else {
        bail!("there is no {MODULE}");
    };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-modules");
    println!("chunk: {MODULE}, {rows} rows, processor time, the best of {ROUNDS}");
    for (title, place) in [
        ("rows in a chunk, in the cache", work::Rows::Cached),
        ("rows in a chunk, in memory", work::Rows::Remote),
    ] {
        println!(
            "  {title:<36} {:>11} {:>11} {:>6}",
            "natively", "in sandbox", "ratio"
        );
        for chunk_rows in CHUNK_ROWS {
            line(&guest.component, &cache, rows, chunk_rows, place)?;
        }
    }
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let sandbox = Sandbox::new(Limits::default(), &cache)?;
        for guest in &guests {
            drop(sandbox.load(&guest.component, b"")?);
        }
        least = least.min(started.elapsed());
    }
    println!(
        "  {:<36} {:>11}, time that passes",
        format!("{} modules from the cache", guests.len()),
        shown(least)
    );
    Ok(())
}

/// One size of chunks, and of the batches that both sides are given.
fn line(
    component: &[u8],
    cache: &Path,
    rows: usize,
    chunk_rows: usize,
    place: work::Rows,
) -> Result<()> {
    let limits = Limits {
        chunk_rows,
        chunk_bytes: 8 << 20,
        ..Limits::default()
    };
    let sandbox = Sandbox::new(limits, cache)?;
    let module = sandbox.load(component, b"")?;
    let mut inputs = Inputs::new();
    for number in module.input_order() {
        let input = module.description().inputs.get(number);
        let input = input.context("a module has the inputs that it orders")?;
        let batches = work::batches(input, rows, chunk_rows, true, place)?;
        inputs.push((number, batches));
    }
    let ((native, _), (sandboxed, _)) = by_turns(
        ROUNDS,
        || repeated(|| natively(MODULE, &inputs)),
        || repeated(|| in_sandbox(&module, &inputs)),
    )?;
    println!(
        "  {chunk_rows:<36} {:>11} {:>11} {:>6.1}",
        speed(rows, native),
        speed(rows, sandboxed),
        sandboxed.as_secs_f64() / native.as_secs_f64()
    );
    Ok(())
}
