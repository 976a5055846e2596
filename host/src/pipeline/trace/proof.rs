//! Proof: a module that is given one landed row alone, with its lookups, makes the very row that is traced.
//!
//! Equal keys are a good guess at which landed row made a row; a module may number its rows otherwise. What it makes of that
//! row by itself is no guess. What it makes of several rows together cannot be proved so.

use std::collections::hash_map::Entry;

use arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;

use super::history::{Event, Kind};
use super::key;
use super::{Tracing, modules};
use crate::contract::Role;
use crate::error::{ErrorKind, Result};
use crate::pipeline::execute::seed;
use crate::pipeline::inputs::fit;
use crate::pipeline::preview::{Fed, drive};
use crate::pipeline::sensitive::Granted;
use crate::sandbox::{Context, Module};

impl Tracing<'_> {
    /// Whether the module makes the row of `event` again when `row`, of the streamed input `number`, is all that it is
    /// given. `false` where that cannot be tried: the module is gone, or may not read what it would be given.
    pub(super) async fn proves(
        &mut self,
        event: &Event,
        number: usize,
        row: &RecordBatch,
    ) -> Result<bool> {
        let Kind::Made(_, made) = &event.kind else {
            return Ok(false);
        };
        let Some(module) = self.module(event).await? else {
            return Ok(false);
        };
        let Some(fed) = self.fed(event, &module, number, row).await? else {
            return Ok(false);
        };
        let context = Context {
            logical_time_micros: event.logical_time.timestamp_micros(),
            seed: seed(&event.landing_sha256),
        };
        let module = Module::clone(&module);
        let driven = tokio::task::spawn_blocking(move || drive(&module, context, fed)).await;
        // A module that fails on a part of its input has proved nothing.
        let Ok(Ok(steps)) = driven else {
            return Ok(false);
        };
        let wanted = key::values(made, 0)?;
        for batch in steps.iter().flat_map(|step| &step.rows) {
            if let Some(at) = self.key.position(batch).map_err(super::TraceError::Rows)? {
                return Ok(key::values(batch, at)? == wanted);
            }
        }
        Ok(false)
    }

    /// The row alone, and every lookup whole; `None` where what is landed does not fit.
    async fn fed(
        &mut self,
        event: &Event,
        module: &Module,
        number: usize,
        row: &RecordBatch,
    ) -> Result<Option<Fed>> {
        let reader = self.pipeline.reader();
        let mut fed: Fed = Vec::new();
        for at in module.input_order() {
            let inputs = &module.description().inputs;
            let (Some(input), Some(objects)) = (inputs.get(at), event.table.inputs.get(at)) else {
                return Ok(None);
            };
            let batches = if at == number {
                match fit(&input.table, row, &input.schema) {
                    Ok(row) => vec![row],
                    Err(_) => return Ok(None),
                }
            } else if input.role == Role::Lookup {
                let landings = self.landings(&event.source);
                let state = landings.state(&input.table, event.landing).await?;
                let key = state.map(|state| state.table.key).unwrap_or_default();
                let rows = reader.rows(input, objects, &key).await?;
                rows.try_collect().await?
            } else {
                Vec::new()
            };
            fed.push((at, batches));
        }
        Ok(Some(fed))
    }

    /// The code that made a row, where it can be run and the project grants it what it reads.
    async fn module(&mut self, event: &Event) -> Result<Option<Granted>> {
        let reference = &event.table.module;
        let known = match self.modules.entry(reference.digest) {
            Entry::Occupied(known) => return Ok(known.get().clone()),
            Entry::Vacant(unknown) => unknown,
        };
        let pipeline = self.pipeline;
        let loaded = async {
            let stored = pipeline.registry.fetch(reference).await?;
            let (component, parameters) = (stored.component, stored.parameters);
            let sandbox = &pipeline.sandbox;
            modules::compile(sandbox, component, parameters, reference.clone()).await
        };
        let loaded = match loaded.await {
            Ok(module) => Granted::new(&pipeline.plan, &self.table, &event.source, module).ok(),
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(_) => None,
        };
        Ok(known.insert(loaded).clone())
    }
}
