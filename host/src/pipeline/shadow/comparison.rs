//! The rows of one landing, compared while both versions make them.

use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

use super::ShadowError;
use super::differences::Columns;
use super::pairs::{Pairing, Side};
use crate::contract::Output;
use crate::sandbox::{Reject, Step};

/// Where the key of rows is in both schemas; where there is none, every column that both have tells them.
fn key_places(key: &[String], was: &Schema, is: &Schema) -> Vec<(usize, usize, DataType)> {
    let all: Vec<String> = was
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let names = if key.is_empty() { &all } else { key };
    let place = |name: &String| {
        let (here, there) = (was.index_of(name).ok()?, is.index_of(name).ok()?);
        Some((here, there, was.field(here).data_type().clone()))
    };
    names.iter().filter_map(place).collect()
}

/// One landing while it is compared.
pub(super) struct Comparison {
    landing: u64,
    rows: Pairing,
    /// `None` where the table has no key, for then nothing can be taken back.
    gone: Option<Pairing>,
    rejects: [Vec<Reject>; 2],
}

impl Comparison {
    pub(super) fn new(landing: u64, was: &Output, is: &Output) -> Result<Self, ShadowError> {
        let rows = key_places(&was.primary_key, &was.schema, &is.schema);
        let gone = match was.primary_key.is_empty() {
            true => None,
            false => {
                let (was_gone, is_gone) = (was.key_schema(), is.key_schema());
                let places = key_places(&was.primary_key, &was_gone, &is_gone);
                Some(Pairing::new(&places)?)
            }
        };
        Ok(Self {
            landing,
            rows: Pairing::new(&rows)?,
            gone,
            rejects: [Vec::new(), Vec::new()],
        })
    }

    /// Takes what one version gave.
    pub(super) fn take(
        &mut self,
        side: Side,
        step: Step,
        columns: &mut Columns,
        retractions: &mut Columns,
    ) -> Result<(), ShadowError> {
        let landing = self.landing;
        arrived(&mut self.rows, side, step.rows, landing, columns)?;
        if let Some(gone) = &mut self.gone {
            arrived(gone, side, step.retractions, landing, retractions)?;
        }
        let [active, candidate] = &mut self.rejects;
        match side {
            Side::Active => active.extend(step.rejects),
            Side::Candidate => candidate.extend(step.rejects),
        }
        Ok(())
    }

    /// When both are done: counts what only one of them made, and gives what each refused, the active one first.
    pub(super) fn finish(
        self,
        columns: &mut Columns,
        retractions: &mut Columns,
    ) -> Result<[Vec<Reject>; 2], ShadowError> {
        let gone = self.gone.map(|gone| (gone, retractions));
        for (pairing, columns) in std::iter::once((self.rows, columns)).chain(gone) {
            let (blocks, alone) = pairing.finish()?;
            for (active, candidate) in blocks {
                columns.compare(self.landing, &active, &candidate)?;
            }
            if let Some(rows) = alone.active {
                columns.dropped(self.landing, &rows)?;
            }
            if let Some(rows) = alone.candidate {
                columns.added(self.landing, &rows)?;
            }
        }
        Ok(self.rejects)
    }
}

fn arrived(
    pairing: &mut Pairing,
    side: Side,
    batches: Vec<RecordBatch>,
    landing: u64,
    columns: &mut Columns,
) -> Result<(), ShadowError> {
    for batch in batches {
        for (active, candidate) in pairing.arrive(side, batch)? {
            columns.compare(landing, &active, &candidate)?;
        }
    }
    Ok(())
}
