//! A transform as a component in the sandbox, beside the same transform called natively on the same batches.
//!
//! The sandbox's side holds everything that a run pays for: a fresh instance, encoding and decoding on both sides
//! of the boundary, metering, and every check of the host. The native side has none of it.

use std::hint::black_box;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::RecordBatch;
use tidemill::contract::Role;
use tidemill::sandbox::{Context, Limits, Module, Sandbox};
use tidemill_sdk::{self as sdk, Arrival, Transform};
use tidemill_tests::guests;

use super::stopwatch::{by_turns, repeated, shown, speed};
use super::work;

const ROUNDS: usize = 5;
const CONTEXT: Context = Context {
    logical_time_micros: 1_704_186_000_000_000,
    seed: 21,
};

/// What came out of a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Made {
    rows: usize,
    rejects: usize,
}

/// The batches of each input, in the order in which a session takes them.
pub(crate) type Inputs = Vec<(usize, Vec<RecordBatch>)>;

/// Prints rows per second of every module, in the sandbox and natively.
pub(crate) fn measure(rows: usize) -> Result<()> {
    println!("module: {rows} rows, processor time, the best of {ROUNDS}");
    println!(
        "  {:<36} {:>11} {:>11} {:>8} {:>6} {:>9}",
        "", "natively", "in sandbox", "", "ratio", "fuel/row"
    );
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-modules");
    let sandbox = Sandbox::new(Limits::default(), &cache)?;
    for guest in guests::all("totesys")? {
        let module = sandbox.load(&guest.component, b"")?;
        line(&guest.name, &guest.name, &module, rows, true)?;
        let inputs = &module.description().inputs;
        if inputs.iter().any(|input| input.role == Role::Lookup) {
            let title = format!("{}, every row a reject", guest.name);
            line(&title, &guest.name, &module, rows, false)?;
        }
    }
    Ok(())
}

fn line(title: &str, name: &str, module: &Module, rows: usize, matched: bool) -> Result<()> {
    let batch_rows = Limits::default().chunk_rows;
    let mut inputs = Inputs::new();
    for number in module.input_order() {
        let input = module.description().inputs.get(number);
        let input = input.context("a module has the inputs that it orders")?;
        let batches = work::batches(input, rows, batch_rows, matched, work::Rows::Cached)?;
        inputs.push((number, batches));
    }
    let ((native, made), (sandboxed, (made_there, fuel))) = by_turns(
        ROUNDS,
        || repeated(|| natively(name, &inputs)),
        || repeated(|| in_sandbox(module, &inputs)),
    )?;
    ensure!(
        made == made_there,
        "{title}: {made:?} natively and {made_there:?} in the sandbox"
    );
    println!(
        "  {title:<36} {:>11} {:>11} {:>8} {:>6} {:>9.0}",
        speed(rows, native),
        speed(rows, sandboxed),
        shown(sandboxed),
        format!("{:.1}", sandboxed.as_secs_f64() / native.as_secs_f64()),
        fuel as f64 / rows as f64,
    );
    Ok(())
}

pub(crate) fn in_sandbox(module: &Module, inputs: &Inputs) -> Result<(Made, u64)> {
    let mut made = Made::default();
    let mut take = |step: tidemill::sandbox::Step| {
        made.rows += step.rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        made.rejects += step.rejects.len();
        black_box(step);
    };
    let mut session = module.open(CONTEXT)?;
    for (number, batches) in inputs {
        for batch in batches {
            take(session.push(*number, batch)?);
        }
        take(session.end_of_input(*number)?);
    }
    let (step, usage) = session.finish()?;
    take(step);
    Ok((made, usage.fuel))
}

pub(crate) fn natively(name: &str, inputs: &Inputs) -> Result<Made> {
    let mut made = Made::default();
    let mut take = |step: sdk::Step| {
        made.rows += step.rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        made.rejects += step.rejects.len();
        black_box(step);
    };
    let mut transform = native(name)?;
    let description = transform.describe()?;
    transform.open(&sdk::Context::default())?;
    for (number, batches) in inputs {
        for (chunk, batch) in batches.iter().enumerate() {
            let arrival = Arrival {
                description: &description,
                input: *number,
                chunk: chunk as u32,
                first_row: 0,
                rows: batch,
            };
            let mut step = sdk::Step::default();
            transform.push(&arrival, &mut step)?;
            take(step);
        }
        let mut step = sdk::Step::default();
        transform.end_of_input(*number, &mut step)?;
        take(step);
    }
    let mut step = sdk::Step::default();
    transform.finish(&mut step)?;
    take(step);
    Ok(made)
}

fn native(name: &str) -> Result<Box<dyn Transform>> {
    Ok(match name {
        "dim-counterparty" => Box::new(dim_counterparty::dim_counterparty()),
        "dim-currency" => Box::new(dim_currency::dim_currency()),
        "dim-date" => Box::new(dim_date::dim_date()),
        "dim-design" => Box::new(dim_design::dim_design()),
        "dim-location" => Box::new(dim_location::dim_location()),
        "dim-payment-type" => Box::new(dim_payment_type::dim_payment_type()),
        "dim-staff" => Box::new(dim_staff::dim_staff()),
        "dim-transaction" => Box::new(dim_transaction::dim_transaction()),
        "fact-payment" => Box::new(fact_payment::fact_payment()),
        "fact-purchase-orders" => Box::new(fact_purchase_orders::fact_purchase_orders()),
        "fact-sales-order" => Box::new(fact_sales_order::fact_sales_order()),
        other => bail!("{other} is not called natively yet: add it in tests/bench/module.rs"),
    })
}
