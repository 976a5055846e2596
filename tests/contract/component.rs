//! Runs a case through a component, and translates between the host's words and those of the cases.

use anyhow::{Context as _, Result};
use tidemill::contract;
use tidemill::sandbox::{Context, Module, Session, Step};
use tidemill_sdk as sdk;
use tidemill_sdk::testing::{Case, CaseInput, Outcome, RejectedRow};

const CONTEXT: Context = Context {
    logical_time_micros: 1_700_000_000_000_000,
    seed: 21,
};

/// What a case makes of a component, its inputs cut into chunks as the limits of the sandbox say.
pub(crate) fn run(module: &Module, case: &Case) -> Result<Outcome> {
    let mut session = module.open(CONTEXT)?;
    let mut outcome = Outcome::default();
    for number in module.input_order() {
        let input = case.inputs.get(number);
        let input = input.context("the case has other inputs than the module")?;
        for step in give(&mut session, number, input)? {
            take(&mut outcome, step, case)?;
        }
    }
    let (step, _) = session.finish()?;
    take(&mut outcome, step, case)?;
    Ok(outcome)
}

/// Gives a whole input. Keys are given only where the case has some: an input that is not delivered as changes
/// has none to take.
fn give(session: &mut Session, number: usize, input: &CaseInput) -> Result<Vec<Step>> {
    let mut steps = vec![session.push(number, &input.rows)?];
    if input.deleted.num_rows() > 0 {
        steps.push(session.retract(number, &input.deleted)?);
    }
    steps.push(session.end_of_input(number)?);
    Ok(steps)
}

fn take(outcome: &mut Outcome, step: Step, case: &Case) -> Result<()> {
    outcome.rows.extend(step.rows);
    outcome.retractions.extend(step.retractions);
    for reject in step.rejects {
        let input = case.inputs.get(reject.input);
        outcome.rejects.push(RejectedRow {
            input: input.context("a reject of no input")?.table.clone(),
            row: reject.row + 1,
            code: reject.code,
            message: reject.message,
        });
    }
    Ok(())
}

/// What the component says of itself, as a case reads it.
pub(crate) fn description(module: &Module) -> sdk::Description {
    let described = module.description();
    sdk::Description {
        inputs: described.inputs.iter().map(input).collect(),
        output: sdk::Output {
            table: described.output.table.clone(),
            columns: columns(&described.output.schema),
            primary_key: described.output.primary_key.clone(),
            mode: match described.output.mode {
                contract::LoadMode::Upsert => sdk::LoadMode::Upsert,
                contract::LoadMode::AppendVersions => sdk::LoadMode::AppendVersions,
                contract::LoadMode::Overwrite => sdk::LoadMode::Overwrite,
                contract::LoadMode::Scd2 => sdk::LoadMode::Scd2,
            },
        },
        properties: described.properties.clone().into_iter().collect(),
    }
}

fn input(input: &contract::Input) -> sdk::Input {
    sdk::Input {
        table: input.table.clone(),
        columns: columns(&input.schema),
        key: input.key.clone(),
        delivery: match input.delivery {
            contract::Delivery::Changes => sdk::Delivery::Changes,
            contract::Delivery::Current => sdk::Delivery::Current,
        },
        role: match input.role {
            contract::Role::Lookup => sdk::Role::Lookup,
            contract::Role::Streamed => sdk::Role::Streamed,
        },
    }
}

fn columns(schema: &arrow::datatypes::Schema) -> Vec<arrow::datatypes::Field> {
    let fields = schema.fields().iter();
    fields.map(|field| field.as_ref().clone()).collect()
}
