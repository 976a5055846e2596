//! The inputs of a module: which objects they are read from, and the rows in the columns it declared.
//!
//! `changes` is what one landing brought. `current` is the latest row of every key: it begins from rows
//! that were kept earlier, so that nobody reads all of a table's history, and a later landing wins over
//! an earlier one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex;

use super::rows::{Digest128, Digester};
use crate::contract::{Delivery, Input};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{
    CurrentRows, InputObjects, LandedObjects, LandedTable, LandingManifest, ManifestLog, Object,
    rows_of,
};
use crate::table::TableName;
use crate::zone::{Zone, parquet};

/// Rows in the columns that a module declared, or its keys.
pub(super) type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// Landings that are read on top of kept rows before the rows are kept anew.
const LANDINGS_ON_TOP: usize = 16;

/// Landed rows on top of kept rows, as a share of these, before the rows are kept anew.
const SHARE_ON_TOP: u64 = 4;

/// Why an input cannot be given to a module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The table has never been landed.
    #[error("the module reads the table `{0}`, which has not been landed")]
    NotLanded(String),
    /// A column is not there.
    #[error("the module reads `{table}.{column}`, which has not been landed")]
    NoColumn {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column was landed once and is gone.
    #[error("the module reads `{table}.{column}`, which the source does not have any more")]
    Dropped {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// The rows that changed are found by other columns than the module says.
    #[error(
        "the module tells rows of `{table}` by ({declared}), and they are landed by ({landed})"
    )]
    OtherKey {
        /// The landed table.
        table: String,
        /// The key that the module declared.
        declared: String,
        /// The landed key.
        landed: String,
    },
    /// A column has a type that does not become the declared one without loss.
    #[error("the module reads `{table}.{column}` as {declared}, and it is landed as {landed}")]
    Type {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
        /// What the module declared.
        declared: DataType,
        /// What is landed.
        landed: DataType,
    },
    /// A value does not fit the declared type.
    #[error(
        "a value of `{table}.{column}` does not fit the {declared} that the module reads it as"
    )]
    Value {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
        /// What the module declared.
        declared: DataType,
        /// What does not fit.
        #[source]
        cause: arrow::error::ArrowError,
    },
    /// A NULL where the module declared none.
    #[error("`{table}.{column}` holds a NULL, and the module declared that it does not")]
    Null {
        /// The landed table.
        table: String,
        /// The column.
        column: String,
    },
    /// A deleted row cannot be told by the key that the module declared.
    #[error(
        "the module takes `{column}` for a key of `{table}`, whose rows are landed with another key"
    )]
    Key {
        /// The landed table.
        table: String,
        /// The column of the declared key that no deleted row comes with.
        column: String,
    },
    /// A chain of landings leads to one that did not bring anything.
    #[error("landing {landing} does not have the table `{table}` that a later one says it brought")]
    Chain {
        /// The landing.
        landing: u64,
        /// The table.
        table: String,
    },
    /// Rows could not be put together.
    #[error("the landed rows of `{table}` do not fit together")]
    Rows {
        /// The landed table.
        table: String,
        /// Why.
        #[source]
        cause: arrow::error::ArrowError,
    },
}

impl Classify for InputError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLanded(_)
            | Self::NoColumn { .. }
            | Self::Dropped { .. }
            | Self::OtherKey { .. }
            | Self::Key { .. }
            | Self::Type { .. } => ErrorKind::Config,
            Self::Value { .. } | Self::Null { .. } | Self::Chain { .. } => ErrorKind::Data,
            Self::Rows { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotLanded(_) => {
                Some("take the table into the source's `include`, and extract".into())
            }
            Self::NoColumn { .. }
            | Self::Dropped { .. }
            | Self::OtherKey { .. }
            | Self::Key { .. }
            | Self::Type { .. } => Some("use a version of the module that fits the source".into()),
            Self::Value { .. } | Self::Null { .. } => Some(
                "use a version of the module that declares the column as it is in the source"
                    .into(),
            ),
            Self::Chain { .. } => Some("restore the landing manifests from a copy".into()),
            Self::Rows { .. } => None,
        }
    }
}

/// The landing manifests of one source, each read once.
pub(super) struct Landings {
    log: ManifestLog<LandingManifest>,
    read: Mutex<HashMap<u64, Arc<(LandingManifest, Digest)>>>,
}

impl Landings {
    /// The landings of `source` in the landing zone.
    pub(super) fn new(zone: Arc<dyn Zone>, source: &str) -> Self {
        Self {
            log: ManifestLog::new(zone, source),
            read: Mutex::new(HashMap::new()),
        }
    }

    /// The newest landing, `None` before the first.
    pub(super) async fn newest(&self) -> Result<Option<LandingManifest>> {
        Ok(self.log.newest().await?)
    }

    /// The landing of that number and the digest of its manifest.
    pub(super) async fn get(&self, landing: u64) -> Result<Arc<(LandingManifest, Digest)>> {
        if let Some(known) = self.read.lock().await.get(&landing) {
            return Ok(known.clone());
        }
        let read = Arc::new(self.log.read_with_digest(landing).await?);
        self.read.lock().await.insert(landing, read.clone());
        Ok(read)
    }

    /// The landings after `after` and up to `through` that brought something for `table`, the newest first.
    pub(super) async fn chain(&self, table: &str, after: u64, through: u64) -> Result<Vec<u64>> {
        let mut chain = Vec::new();
        let mut next = self.state(table, through).await?.map(|t| t.changed_in);
        while let Some(landing) = next.filter(|landing| *landing > after) {
            chain.push(landing);
            next = match self.state(table, landing).await? {
                Some(state) => state.changed_before,
                None => {
                    let table = table.to_owned();
                    return Err(InputError::Chain { landing, table }.into());
                }
            };
        }
        Ok(chain)
    }

    /// The state of `table` after a landing, `None` when it had never been landed by then.
    pub(super) async fn state(&self, table: &str, landing: u64) -> Result<Option<LandedTable>> {
        let manifest = self.get(landing).await?;
        Ok(manifest.0.tables.get(table).cloned())
    }

    async fn brought(&self, table: &str, landing: u64) -> Result<(LandedObjects, bool)> {
        let state = self.state(table, landing).await?;
        let state = state.ok_or_else(|| InputError::Chain {
            landing,
            table: table.to_owned(),
        })?;
        let objects = LandedObjects {
            landing,
            changed: state.changed,
            deleted: state.deleted,
        };
        Ok((objects, state.replaces))
    }

    /// The objects that an input is read from, as of `landing`: none while its table had not been landed.
    pub(super) async fn objects(
        &self,
        table: &str,
        delivery: Delivery,
        landing: u64,
        kept: &BTreeMap<TableName, CurrentRows>,
    ) -> Result<InputObjects> {
        let mut objects = InputObjects {
            table: TableName::new(table),
            base: Vec::new(),
            landings: Vec::new(),
        };
        let Some(state) = self.state(table, landing).await? else {
            return Ok(objects);
        };
        if delivery == Delivery::Changes {
            if state.changed_in == landing {
                objects.landings.push(self.brought(table, landing).await?.0);
            }
            return Ok(objects);
        }
        let kept = kept.get(table).filter(|kept| kept.landing <= landing);
        let after = kept.map_or(0, |kept| kept.landing);
        objects.base = kept.map(|kept| kept.rows.clone()).unwrap_or_default();
        for landing in self.chain(table, after, landing).await? {
            let (brought, replaces) = self.brought(table, landing).await?;
            objects.landings.push(brought);
            if replaces {
                objects.base.clear();
                break;
            }
        }
        objects.landings.reverse();
        Ok(objects)
    }
}

/// Whether so much has landed on top of kept rows that they are worth keeping anew.
pub(super) fn is_worth_keeping(objects: &InputObjects) -> bool {
    let landed = objects.landings.iter();
    let on_top = rows_of(landed.flat_map(|landed| landed.changed.iter().chain(&landed.deleted)));
    let layers = objects.landings.len() + usize::from(!objects.base.is_empty());
    layers > LANDINGS_ON_TOP
        || (layers > 1
            && on_top > parquet::PART_ROWS
            && on_top.saturating_mul(SHARE_ON_TOP) > rows_of(&objects.base))
}

/// Reads the rows of inputs from the two zones.
#[derive(Clone)]
pub(super) struct Reader {
    /// The landing zone.
    pub(super) landed: Arc<dyn Zone>,
    /// The processed zone, where rows are kept.
    pub(super) processed: Arc<dyn Zone>,
}

impl Reader {
    /// The rows of an input in the columns that it declares.
    ///
    /// # Errors
    /// `Data` when an object is damaged; what does not fit the declaration ends the stream.
    pub(super) async fn rows(
        &self,
        input: &Input,
        objects: &InputObjects,
        key: &[String],
    ) -> Result<RowStream> {
        let mut columns: Vec<String> = input
            .schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        columns.extend(
            key.iter()
                .filter(|k| !columns.contains(k))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let rows = self.latest(objects, key, Some(columns)).await?;
        let table = input.table.clone();
        let schema = input.schema.clone();
        Ok(rows
            .map(move |batch| Ok(fit(&table, &batch?, &schema)?))
            .boxed())
    }

    /// The latest row of every key in all landed columns, in the types of `schema`: rows to keep.
    pub(super) async fn all_columns(
        &self,
        objects: &InputObjects,
        key: &[String],
        schema: SchemaRef,
    ) -> Result<RowStream> {
        let rows = self.latest(objects, key, None).await?;
        let table = objects.table.as_str().to_owned();
        Ok(rows
            .map(move |batch| Ok(fit(&table, &batch?, &schema)?))
            .boxed())
    }

    /// The keys that are gone, in the key columns that the input declares.
    pub(super) fn gone(&self, input: &Input, objects: &InputObjects) -> RowStream {
        let schema = input.key_schema();
        let table = input.table.clone();
        let deleted = objects
            .landings
            .iter()
            .flat_map(|l| l.deleted.clone())
            .collect();
        read(&self.landed, deleted, None)
            .map(move |batch| Ok(fit_keys(&table, &batch?, &schema)?))
            .boxed()
    }

    async fn latest(
        &self,
        objects: &InputObjects,
        key: &[String],
        columns: Option<Vec<String>>,
    ) -> Result<RowStream> {
        let mut layers: Vec<(Arc<dyn Zone>, Vec<Object>)> = Vec::new();
        if !objects.base.is_empty() {
            layers.push((self.processed.clone(), objects.base.clone()));
        }
        for landed in &objects.landings {
            layers.push((self.landed.clone(), landed.changed.clone()));
        }
        let newest = Arc::new(self.newest_layer(objects, key, layers.len()).await?);
        let table = objects.table.as_str().to_owned();
        let key = key.to_vec();
        let rows = stream::iter(layers.into_iter().enumerate()).flat_map(
            move |(layer, (zone, objects))| {
                let (newest, table, key) = (newest.clone(), table.clone(), key.clone());
                read(&zone, objects, columns.clone())
                    .map(move |batch| keep_latest(&table, batch?, &key, &newest, layer))
                    .boxed()
            },
        );
        Ok(rows.boxed())
    }

    /// For every key that a later layer than the first brought or took: the last layer that did.
    async fn newest_layer(
        &self,
        objects: &InputObjects,
        key: &[String],
        layers: usize,
    ) -> Result<HashMap<Digest128, usize>> {
        let mut newest = HashMap::new();
        let first = layers - objects.landings.len();
        for (at, landed) in objects.landings.iter().enumerate() {
            let layer = first + at;
            if layer == 0 {
                continue;
            }
            let both = landed
                .changed
                .iter()
                .chain(&landed.deleted)
                .cloned()
                .collect();
            let mut keys = read(&self.landed, both, Some(key.to_vec()));
            while let Some(batch) = keys.try_next().await? {
                let digester = Digester::new(batch.schema_ref(), key)?;
                newest.extend(digester.keys(&batch)?.into_iter().map(|key| (key, layer)));
            }
        }
        Ok(newest)
    }
}

fn read(zone: &Arc<dyn Zone>, objects: Vec<Object>, columns: Option<Vec<String>>) -> RowStream {
    let objects = objects.into_iter().map(|o| (o.key, o.sha256)).collect();
    parquet::read(zone.clone(), objects, columns)
        .map_err(crate::Error::from)
        .boxed()
}

/// The rows of a layer whose keys no later layer has.
fn keep_latest(
    table: &str,
    batch: RecordBatch,
    key: &[String],
    newest: &HashMap<Digest128, usize>,
    layer: usize,
) -> Result<RecordBatch> {
    if newest.is_empty() {
        return Ok(batch);
    }
    let keys = Digester::new(batch.schema_ref(), key)?.keys(&batch)?;
    let mask: BooleanArray = keys
        .iter()
        .map(|key| Some(newest.get(key).is_none_or(|newest| *newest <= layer)))
        .collect();
    filter_record_batch(&batch, &mask).map_err(|cause| {
        let table = table.to_owned();
        InputError::Rows { table, cause }.into()
    })
}

/// The columns of `schema` out of `batch`, by name. A column that was landed later is NULL before.
pub(super) fn fit(
    table: &str,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, InputError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| fit_column(table, batch, field))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|cause| {
        let table = table.to_owned();
        InputError::Rows { table, cause }
    })
}

/// The keys of deleted rows, as the module declared them. A key column that deletions do not have would be NULL, and
/// what was deleted would stay.
fn fit_keys(
    table: &str,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, InputError> {
    let mut declared = schema.fields().iter().map(|field| field.name());
    match declared.find(|column| batch.column_by_name(column).is_none()) {
        None => fit(table, batch, schema),
        Some(column) => Err(InputError::Key {
            table: table.to_owned(),
            column: column.clone(),
        }),
    }
}

fn fit_column(table: &str, batch: &RecordBatch, field: &Field) -> Result<ArrayRef, InputError> {
    let (table, column) = (table.to_owned(), field.name().clone());
    let Some(landed) = batch.column_by_name(&column) else {
        if field.is_nullable() {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        }
        return Err(InputError::NoColumn { table, column });
    };
    if !field.is_nullable() && landed.null_count() > 0 {
        return Err(InputError::Null { table, column });
    }
    let declared = field.data_type();
    if landed.data_type() == declared {
        return Ok(landed.clone());
    }
    if !becomes(landed.data_type(), declared) {
        return Err(InputError::Type {
            table,
            column,
            declared: declared.clone(),
            landed: landed.data_type().clone(),
        });
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(landed, declared, &strict).map_err(|cause| InputError::Value {
        table,
        column,
        declared: declared.clone(),
        cause,
    })
}

/// Whether every value of one type that fits another is the same value there, so that a strict cast either
/// keeps it or fails.
fn becomes(landed: &DataType, declared: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64};
    match (landed, declared) {
        (Decimal128(_, from), Decimal128(_, to) | Decimal256(_, to))
        | (Decimal256(_, from), Decimal256(_, to)) => to >= from,
        (Float32, Float64) => true,
        (from, to) => from.is_integer() && to.is_integer(),
    }
}

/// Whether a landed column can be given to a module as `declared`: for the plan.
pub(super) fn can_become(landed: &DataType, declared: &DataType) -> bool {
    landed == declared || becomes(landed, declared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Role;
    use crate::manifest::FORMAT;
    use crate::run::RunId;
    use crate::table::{Column, Fidelity, KeyOrigin, Table, TableKind};
    use crate::watermark::Position;
    use crate::zone::memory::MemoryZone;
    use crate::zone::parquet::PartWriter;
    use arrow::array::{AsArray as _, Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{Int32Type, Schema};
    use chrono::{DateTime, Utc};

    fn table() -> Table {
        let column = |name: &str, data_type| Column {
            name: name.into(),
            source_type: "t".into(),
            data_type,
            nullable: true,
            fidelity: Fidelity::Exact,
        };
        Table {
            name: TableName::new("t"),
            kind: TableKind::Plain,
            columns: vec![
                column("id", DataType::Int32),
                column("name", DataType::Utf8),
            ],
            key: vec!["id".into()],
            key_origin: KeyOrigin::Primary,
        }
    }

    fn input(delivery: Delivery) -> Input {
        Input {
            table: "t".into(),
            schema: table().schema(),
            key: vec!["id".into()],
            delivery,
            role: Role::Streamed,
        }
    }

    /// Landings of one table, each with the rows it brought and the keys it took.
    struct Zones {
        zone: Arc<dyn Zone>,
        tables: Vec<LandedTable>,
    }

    impl Zones {
        fn new() -> Self {
            Self {
                zone: Arc::new(MemoryZone::default()),
                tables: Vec::new(),
            }
        }

        async fn write(&self, prefix: &str, batch: RecordBatch) -> Vec<Object> {
            let mut writer = PartWriter::new(self.zone.clone(), prefix, batch.schema());
            writer.write(&batch).await.unwrap();
            writer
                .finish()
                .await
                .unwrap()
                .into_iter()
                .map(super::super::object)
                .collect()
        }

        async fn land(&mut self, rows: &[(i32, &str)], gone: &[i32], replaces: bool) {
            let sequence = self.tables.len() as u64 + 1;
            let ids = Int32Array::from_iter_values(rows.iter().map(|r| r.0));
            let names = StringArray::from_iter_values(rows.iter().map(|r| r.1));
            let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(names)];
            let changed = RecordBatch::try_new(table().schema(), columns).unwrap();
            let gone: ArrayRef = Arc::new(Int32Array::from(gone.to_vec()));
            let gone = RecordBatch::try_new(table().key_schema(), vec![gone]).unwrap();
            let before = self.tables.last().map(|t| t.changed_in);
            let brought = changed.num_rows() + gone.num_rows() > 0;
            let landed = LandedTable {
                table: table(),
                identity: None,
                dropped: Vec::new(),
                position: Position::Sqlite,
                window: None,
                watermark: None,
                compared_at: DateTime::UNIX_EPOCH,
                changed: self.write(&format!("{sequence}/part"), changed).await,
                deleted: self.write(&format!("{sequence}/deletes"), gone).await,
                replaces,
                live_rows: 0,
                content: None,
                changed_in: if brought {
                    sequence
                } else {
                    before.unwrap_or(sequence)
                },
                changed_before: if brought {
                    before
                } else {
                    self.tables.last().and_then(|t| t.changed_before)
                },
                index: Vec::new(),
            };
            self.tables.push(landed.clone());
            let manifest = LandingManifest {
                format: FORMAT,
                sequence,
                run: RunId::new(DateTime::<Utc>::UNIX_EPOCH, 0),
                source: "s".into(),
                tidemill: "0".into(),
                writer: "w".into(),
                logical_time: DateTime::UNIX_EPOCH,
                tables: [(TableName::new("t"), landed)].into(),
                waiting: Default::default(),
            };
            ManifestLog::new(self.zone.clone(), "s")
                .commit(&manifest)
                .await
                .unwrap();
        }

        fn landings(&self) -> Landings {
            Landings::new(self.zone.clone(), "s")
        }

        async fn rows(&self, objects: &InputObjects, delivery: Delivery) -> Vec<(i32, String)> {
            let reader = Reader {
                landed: self.zone.clone(),
                processed: self.zone.clone(),
            };
            let rows = reader
                .rows(&input(delivery), objects, &["id".into()])
                .await
                .unwrap();
            let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
            batches
                .iter()
                .flat_map(|batch| {
                    let ids = batch.column(0).as_primitive::<Int32Type>();
                    let names = batch.column(1).as_string::<i32>();
                    (0..batch.num_rows())
                        .map(|row| (ids.value(row), names.value(row).to_owned()))
                        .collect::<Vec<_>>()
                })
                .collect()
        }

        async fn current(
            &self,
            landing: u64,
            kept: &BTreeMap<TableName, CurrentRows>,
        ) -> Vec<(i32, String)> {
            let objects = self
                .landings()
                .objects("t", Delivery::Current, landing, kept)
                .await
                .unwrap();
            let mut rows = self.rows(&objects, Delivery::Current).await;
            rows.sort();
            rows
        }
    }

    fn named(rows: &[(i32, &str)]) -> Vec<(i32, String)> {
        rows.iter()
            .map(|(id, name)| (*id, (*name).to_owned()))
            .collect()
    }

    async fn history() -> Zones {
        let mut zones = Zones::new();
        zones
            .land(&[(1, "a"), (2, "b"), (3, "c")], &[], false)
            .await;
        zones.land(&[], &[], false).await;
        zones.land(&[(2, "B")], &[3], false).await;
        zones.land(&[(3, "again"), (4, "d")], &[1], false).await;
        zones
    }

    #[tokio::test]
    async fn the_current_rows_are_those_of_each_landing() {
        let zones = history().await;
        let none = BTreeMap::new();
        assert_eq!(
            zones.current(2, &none).await,
            named(&[(1, "a"), (2, "b"), (3, "c")])
        );
        assert_eq!(zones.current(3, &none).await, named(&[(1, "a"), (2, "B")]));
        assert_eq!(
            zones.current(4, &none).await,
            named(&[(2, "B"), (3, "again"), (4, "d")])
        );
    }

    #[tokio::test]
    async fn kept_rows_give_the_same_and_leave_history_alone() {
        let zones = history().await;
        let mut kept = BTreeMap::new();
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "B"]));
        let rows = RecordBatch::try_new(table().schema(), vec![ids, names]).unwrap();
        let rows = zones.write("kept", rows).await;
        kept.insert(TableName::new("t"), CurrentRows { landing: 3, rows });
        let objects = zones
            .landings()
            .objects("t", Delivery::Current, 4, &kept)
            .await
            .unwrap();
        assert_eq!(objects.landings.len(), 1);
        assert_eq!(
            zones.current(4, &kept).await,
            zones.current(4, &BTreeMap::new()).await
        );
        // An earlier landing than the kept one is made from history.
        assert_eq!(zones.current(2, &kept).await.len(), 3);
    }

    #[tokio::test]
    async fn a_landing_that_replaces_voids_what_came_before() {
        let mut zones = history().await;
        zones.land(&[(9, "only")], &[], true).await;
        assert_eq!(
            zones.current(5, &BTreeMap::new()).await,
            named(&[(9, "only")])
        );
    }

    #[tokio::test]
    async fn changes_are_what_one_landing_brought() {
        let zones = history().await;
        let landings = zones.landings();
        assert_eq!(landings.chain("t", 1, 4).await.unwrap(), vec![4, 3]);
        let none = BTreeMap::new();
        let idle = landings
            .objects("t", Delivery::Changes, 2, &none)
            .await
            .unwrap();
        assert_eq!(zones.rows(&idle, Delivery::Changes).await, named(&[]));
        let third = landings
            .objects("t", Delivery::Changes, 3, &none)
            .await
            .unwrap();
        assert_eq!(
            zones.rows(&third, Delivery::Changes).await,
            named(&[(2, "B")])
        );
    }

    #[test]
    fn a_deletion_without_the_declared_key_is_told_and_not_passed_over() {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let keys = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let by = |column: &str| {
            let schema = Schema::new(vec![Field::new(column, DataType::Int32, true)]);
            fit_keys("t", &keys, &Arc::new(schema))
        };
        assert_eq!(by("id").unwrap().num_rows(), 1);
        let error = by("code").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the module takes `code` for a key of `t`, whose rows are landed with another key"
        );
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn a_wider_integer_fits_when_its_values_do() {
        let narrow: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
        let batch = |value: i64| {
            let values: ArrayRef = Arc::new(Int64Array::from(vec![value]));
            RecordBatch::try_from_iter([("n", values)]).unwrap()
        };
        assert!(fit("t", &batch(7), &narrow).is_ok());
        let error = fit("t", &batch(1 << 40), &narrow).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a value of `t.n` does not fit the Int32 that the module reads it as"
        );
    }

    #[test]
    fn a_column_that_was_landed_later_is_null_and_a_text_is_no_number() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("new", DataType::Utf8, true),
            Field::new("n", DataType::Int32, true),
        ]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        assert_eq!(fit("t", &batch, &schema).unwrap().column(0).null_count(), 2);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let batch = RecordBatch::try_from_iter([("n", texts)]).unwrap();
        assert!(matches!(
            fit("t", &batch, &schema),
            Err(InputError::Type { .. })
        ));
    }
}
