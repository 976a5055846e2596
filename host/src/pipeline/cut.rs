//! Cutting: a few landed rows as a case of a module.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::StreamExt as _;

use super::Pipeline;
use super::execute::{inputs_of, seed};
use super::inputs::{Landings, RowStream};
use super::modules;
use super::sensitive::StandIns;
use crate::cases::{self, Case, CaseContext, CaseInput, Origin, batch, cells};
use crate::config::SourceColumn;
use crate::contract::{Delivery, Input, Role};
use crate::error::{Classify, ErrorKind, Result};
use crate::run::RunId;
use crate::sandbox::Module;

/// The most rows of a lookup in a case: who needs more has no case that people read.
const LOOKUP_ROWS: usize = 1_000;

/// Why no case can be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    /// The run landed nothing of that source.
    #[error("the run {run} landed nothing from {source_name}")]
    NothingLanded {
        /// The run.
        run: RunId,
        /// The source of the module's inputs.
        source_name: String,
    },
    /// The rows cannot be put together.
    #[error("the landed rows cannot be put together")]
    Rows(#[from] ArrowError),
}

impl Classify for CutError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NothingLanded { .. } => ErrorKind::Config,
            Self::Rows(_) => ErrorKind::Data,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NothingLanded { .. } => {
                Some("`tidemill runs` shows which runs landed something".into())
            }
            Self::Rows(_) => None,
        }
    }
}

/// Puts stand-ins into the columns of a case that are marked sensitive; gives the names of those columns. A case is made to
/// be passed on, so this is on the way of every landed row into one.
///
/// # Errors
/// A type that has no stand-in, in a column that must have a value.
pub(super) fn stand_in(
    source: &str,
    inputs: &mut [CaseInput],
    sensitive: &BTreeSet<SourceColumn>,
) -> Result<Vec<String>, ArrowError> {
    let mut stand_ins = StandIns::default();
    let mut replaced = BTreeSet::new();
    for input in inputs {
        let of_table = sensitive
            .iter()
            .filter(|marked| marked.source == source && marked.table == input.table);
        let marked: BTreeSet<&str> = of_table.map(|marked| marked.column.as_str()).collect();
        for rows in [&mut input.rows, &mut input.deleted] {
            let schema = rows.schema();
            let names = schema.fields().iter().map(|field| field.name());
            let found: Vec<_> = names
                .filter(|name| marked.contains(name.as_str()))
                .collect();
            if found.is_empty() {
                continue;
            }
            replaced.extend(found.iter().map(|name| format!("{}.{name}", input.table)));
            *rows = stand_ins.replace(rows, |name| marked.contains(name))?;
        }
    }
    Ok(replaced.into_iter().collect())
}

impl Pipeline {
    /// A case of a module out of what `run` landed: the first `rows` rows and deleted keys of each streamed input, the
    /// rows of lookups whose keys stand among their values, and the context of the landing. What is sensitive is
    /// replaced. Nothing is expected yet.
    ///
    /// # Errors
    /// `Config` when the run landed nothing for it, or what is landed is not what the module declares.
    pub async fn cut(&self, module: &Module, run: &RunId, rows: usize) -> Result<Case> {
        let described = module.description();
        let table = &described.output.table;
        let transform = self.plan.transforms.get(table);
        let named = transform.and_then(|transform| transform.source.as_deref());
        let source = modules::source_of(&self.plan, named)?;
        let landings = Landings::new(self.landed.clone(), &source);
        let number = landing_of(&landings, run)
            .await?
            .ok_or_else(|| CutError::NothingLanded {
                run: run.clone(),
                source_name: source.clone(),
            })?;
        let landing = landings.get(number).await?;
        let (objects, keys) = inputs_of(&landings, module, number, &BTreeMap::new()).await?;
        let shape = cases::shape(described);
        let mut given: Vec<CaseInput> = shape.inputs.iter().map(CaseInput::nothing).collect();
        let mut values = BTreeSet::new();
        for role in [Role::Streamed, Role::Lookup] {
            for (at, input) in described
                .inputs
                .iter()
                .enumerate()
                .filter(|(_, i)| i.role == role)
            {
                let (Some(objects), Some(key), Some(given)) =
                    (objects.get(at), keys.get(at), given.get_mut(at))
                else {
                    continue;
                };
                let reader = self.reader();
                let found = reader.rows(input, objects, key).await?;
                if role == Role::Lookup {
                    given.rows = matching(found, input, &values).await?;
                    continue;
                }
                given.rows = first(found, &input.schema, rows).await?;
                if input.delivery == Delivery::Changes {
                    given.deleted =
                        first(reader.gone(input, objects), &input.key_schema(), rows).await?;
                }
                values.extend(cells(&given.rows).into_iter().flatten());
            }
        }
        let sensitive = self.plan.sensitive().collect();
        let replaced = stand_in(&source, &mut given, &sensitive).map_err(CutError::Rows)?;
        let context = CaseContext {
            logical_time_micros: landing.0.logical_time.timestamp_micros(),
            seed: seed(&landing.1),
            parameters: Vec::new(),
        };
        let mut case = Case::new(&format!("Rows of landing {number}"), context, given, &shape);
        case.about = match replaced.is_empty() {
            true => format!("Cut out of what run {run} landed."),
            false => format!(
                "Cut out of what run {run} landed. Replaced, because it is sensitive: {}.",
                replaced.join(", ")
            ),
        };
        case.origin = Some(Origin {
            run: Some(run.to_string()),
            landing: Some(number),
            table: Some(table.clone()),
            ..Origin::default()
        });
        Ok(case)
    }
}

/// The newest landing of a run.
async fn landing_of(landings: &Landings, run: &RunId) -> Result<Option<u64>> {
    let Some(newest) = landings.newest().await? else {
        return Ok(None);
    };
    let mut number = newest.sequence;
    while number > 0 {
        if landings.get(number).await?.0.run == *run {
            return Ok(Some(number));
        }
        number -= 1;
    }
    Ok(None)
}

/// The first rows of a stream.
async fn first(mut stream: RowStream, schema: &SchemaRef, rows: usize) -> Result<RecordBatch> {
    let (mut left, mut batches) = (rows, Vec::new());
    while left > 0
        && let Some(batch) = stream.next().await
    {
        let batch = batch?;
        let batch = batch.slice(0, batch.num_rows().min(left));
        left -= batch.num_rows();
        batches.push(batch);
    }
    Ok(concat_batches(schema, &batches).map_err(CutError::Rows)?)
}

/// The rows of a lookup whose key stands among some values, as JSON: whatever column it is looked up by, it is there.
async fn matching(
    mut stream: RowStream,
    input: &Input,
    values: &BTreeSet<String>,
) -> Result<RecordBatch> {
    let key: Vec<usize> = input
        .key
        .iter()
        .filter_map(|name| input.schema.index_of(name).ok())
        .collect();
    let mut found = Vec::new();
    while let Some(batch) = stream.next().await {
        let rows = cells(&batch?).into_iter();
        let is_meant = |row: &Vec<String>| {
            key.iter()
                .all(|at| row.get(*at).is_some_and(|cell| values.contains(cell)))
        };
        found.extend(rows.filter(is_meant).take(LOOKUP_ROWS - found.len()));
        if found.len() == LOOKUP_ROWS {
            break;
        }
    }
    let batch = batch(&input.schema, &found);
    Ok(batch.map_err(|fault| CutError::Rows(ArrowError::InvalidArgumentError(fault.message)))?)
}
