//! What a module was given: objects, and the landed row of a key where its input has the same key.

use super::{TraceError, Tracing};
use arrow::record_batch::RecordBatch;

use super::history::{Event, Kind, find};
use super::key::{self, Key};
use super::report::{LandedRow, Making, Place, TracedInput, Value};
use crate::contract::{Delivery, Role};
use crate::error::Result;
use crate::manifest::InputObjects;
use crate::pipeline::sensitive::read_of;
use crate::registry::DescribedInput;
use crate::zone::parquet;

impl Tracing<'_> {
    /// One input of what made a row; `described` is what the code says of it.
    pub(super) async fn input(
        &mut self,
        event: &Event,
        number: usize,
        objects: &InputObjects,
        described: Option<&DescribedInput>,
    ) -> Result<TracedInput> {
        let landed = objects.landings.iter();
        let landed = landed.flat_map(|landed| landed.changed.iter().chain(&landed.deleted));
        let all = objects.base.iter().chain(landed);
        let row = match described {
            Some(described) => self.row(event, number, described).await?,
            None => None,
        };
        Ok(TracedInput {
            table: objects.table.as_str().to_owned(),
            role: described.map(|input| input.role),
            objects: all.map(|object| object.key.clone()).collect(),
            row,
        })
    }

    /// The landed row of the key in one input: by the names of its key columns, or else by their values, where it is proved
    /// that this row makes the one that is traced.
    async fn row(
        &mut self,
        event: &Event,
        number: usize,
        input: &DescribedInput,
    ) -> Result<Option<LandedRow>> {
        let is_streamed = input.role == Role::Streamed;
        let by_name = self.key.under(&input.key);
        let by_value = self.key.renamed(&input.key).filter(|_| is_streamed);
        let is_named = by_name.is_some();
        let Some(key) = by_name.or(by_value) else {
            return Ok(None);
        };
        let Some((mut landed, row)) = self.landed(event, input, &key).await? else {
            return Ok(None);
        };
        if is_streamed && !landed.deleted {
            landed.proved = self.proves(event, number, &row).await?;
        }
        Ok((is_named || landed.proved).then_some(landed))
    }

    /// The newest landed row of the key that the module could see.
    async fn landed(
        &mut self,
        event: &Event,
        input: &DescribedInput,
        key: &Key,
    ) -> Result<Option<(LandedRow, RecordBatch)>> {
        let pipeline = self.pipeline;
        let zone = &pipeline.landed;
        let landings = self.landings(&event.source);
        // Of what changed it saw one landing.
        let after = match input.delivery {
            Delivery::Changes => event.landing.saturating_sub(1),
            Delivery::Current => 0,
        };
        for landing in landings.chain(&input.table, after, event.landing).await? {
            let manifest = landings.get(landing).await?;
            let Some(state) = manifest.0.tables.get(input.table.as_str()) else {
                continue;
            };
            let mut found = find(zone, &state.changed, key).await?;
            let deleted = found.is_none();
            if deleted {
                found = find(zone, &state.deleted, key).await?;
            }
            if let Some((object, row)) = found {
                let marks = pipeline.plan.sources.get(&event.source);
                let marks = marks.map_or(&[][..], |plan| plan.sensitive_of(&input.table));
                let landed = LandedRow {
                    landing,
                    logical_time: manifest.0.logical_time,
                    run: manifest.0.run.clone(),
                    object,
                    deleted,
                    proved: false,
                    values: seen(&row, input, marks)?,
                };
                return Ok(Some((landed, row)));
            }
            if state.replaces {
                break;
            }
        }
        Ok(None)
    }

    /// Why the module refused the row that a removal is about: its code, and its words where they may be shown.
    pub(super) async fn refused(&mut self, event: &Event, by: &Making) -> Result<Option<String>> {
        let Kind::Taken(_) = event.kind else {
            return Ok(None);
        };
        let Some(descriptor) = self.descriptor(&event.table.module).await? else {
            return Ok(None);
        };
        let shows = read_of(&self.pipeline.plan, &event.source, &descriptor).is_empty();
        for ((input, objects), described) in by
            .inputs
            .iter()
            .zip(&event.table.inputs)
            .zip(&descriptor.inputs)
        {
            let is_of_this = described.delivery == Delivery::Changes;
            let Some(landed) = input.row.as_ref().filter(|row| !row.deleted && is_of_this) else {
                continue;
            };
            let Some(row) = number(objects, &landed.object) else {
                continue;
            };
            return self.reason(event, &input.table, row, shows).await.map(Some);
        }
        Ok(None)
    }

    /// What quarantine says of a row of an input.
    async fn reason(&self, event: &Event, table: &str, row: u64, shows: bool) -> Result<String> {
        let zone = &self.pipeline.processed;
        for object in &event.table.rejects {
            let bytes = parquet::read_verified(zone.as_ref(), &object.key, object.sha256).await?;
            for batch in parquet::decode(&object.key, bytes, None)? {
                let batch = batch?;
                for at in 0..batch.num_rows() {
                    let values = key::values(&batch, at)?;
                    let of = |name: &str| -> Option<&str> {
                        values.iter().find(|v| v.column == name)?.value.as_deref()
                    };
                    if of("input_table") == Some(table) && of("input_row") == Some(&row.to_string())
                    {
                        let code = of("code").unwrap_or_default().to_owned();
                        let message = of("message").filter(|_| shows);
                        return Ok(match message {
                            Some(message) => format!("{message} ({code})"),
                            None => code,
                        });
                    }
                }
            }
        }
        Ok("the module made nothing of it, and does not say why".into())
    }
}

/// The values of a landed row that the module saw, without those that are marked.
fn seen(
    row: &RecordBatch,
    input: &DescribedInput,
    marks: &[String],
) -> Result<Vec<Value>, TraceError> {
    let is_seen = |value: &Value| input.columns.iter().any(|c| c.name == value.column);
    let values = key::values(row, 0)?.into_iter().filter(is_seen);
    let values = values.map(|value| match marks.contains(&value.column) {
        true => value.hidden(),
        false => value,
    });
    Ok(values.collect())
}

/// The number of a landed row among all that an input was given of one landing.
fn number(objects: &InputObjects, place: &Place) -> Option<u64> {
    let mut before = 0;
    for object in objects.landings.iter().flat_map(|landed| &landed.changed) {
        if object.key == place.object {
            return Some(before + place.row);
        }
        before += object.rows;
    }
    None
}
