//! Data files: the Parquet files of one published version, looked up by key and read by position.
//!
//! ```text
//! locate   keys  ──▶ file and row of each       reads key columns of the row groups whose range holds a key
//! equal    rows + places ──▶ does it differ     reads compared columns of the rows found, nothing else
//! ```
//!
//! Everything here is synchronous and without side effects; it runs on the blocking pool. Rejected: a
//! DataFusion join or deltalake's merge. Both read every column of every candidate file, a merge commits by
//! itself (its number of rows per action, its retries and its conflicts are its own), and neither can say
//! at which row of which file a key is, which is what lets a load of 20 rows read 20 rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::Row;
use deltalake::kernel::{Add, LogicalFileView};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};

use super::columns;
use super::input::{Input, Source, Wanted};
use super::keys::{KeyRange, Rows};
use super::location::Location;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 8192;

/// Why data files could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataFileError {
    /// A file is not there or may not be read.
    #[error("cannot open {file}")]
    Open {
        file: Location,
        #[source]
        cause: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("cannot read {file}")]
    Read {
        file: Location,
        #[source]
        cause: ParquetError,
    },
    /// The rows of a file do not fit the columns of its table.
    #[error("cannot decode {file}")]
    Decode {
        file: Location,
        #[source]
        cause: ArrowError,
    },
    /// Rows cannot be brought into comparable form.
    #[error("cannot compare rows")]
    Compare(#[from] ArrowError),
    /// A key that must be unique is not.
    #[error("{0} holds a key more than once")]
    Twice(&'static str),
}

/// One file of a version of a table.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Where it is.
    pub(super) source: Source,
    /// How Delta's log names it.
    pub(super) add: Add,
    statistics: FileStatistics,
}

/// The number of rows and the smallest and largest values of columns, as Delta's log has them.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileStatistics {
    num_records: Option<usize>,
    min_values: HashMap<String, serde_json::Value>,
    max_values: HashMap<String, serde_json::Value>,
}

impl DataFile {
    /// The file that `view` names, in the place of its table.
    pub(super) fn of(view: &LogicalFileView, table: &Location) -> Self {
        let add = Add {
            path: view.path().into_owned(),
            partition_values: view.partition_values_map(),
            size: view.size(),
            modification_time: view.modification_time(),
            data_change: true,
            stats: view.stats(),
            tags: None,
            deletion_vector: view.deletion_vector_descriptor(),
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        };
        let statistics = add
            .stats
            .as_deref()
            .and_then(|stats| serde_json::from_str(stats).ok())
            .unwrap_or_default();
        Self {
            source: Source::new(table.join(&add.path), add.size.try_into().unwrap_or(0)),
            add,
            statistics,
        }
    }

    /// The smallest and the largest value of an integer column, where Delta's log has them.
    pub(super) fn range(&self, column: &str) -> Option<(i64, i64)> {
        let min = self.statistics.min_values.get(column)?.as_i64()?;
        let max = self.statistics.max_values.get(column)?.as_i64()?;
        Some((min, max))
    }

    /// `pages` says whether to read the index of pages, which only a selection of rows can use.
    fn open(&self, pages: PageIndexPolicy) -> Result<(Input, ArrowReaderMetadata), DataFileError> {
        let mut file = self.source.open().map_err(|cause| self.unopened(cause))?;
        // Types come from Parquet, so that files of every writer read the same.
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_page_index_policy(pages);
        let metadata = file.metadata(options).map_err(|c| self.unreadable(c))?;
        Ok((file, metadata))
    }

    fn unopened(&self, cause: std::io::Error) -> DataFileError {
        DataFileError::Open {
            file: self.source.place.clone(),
            cause,
        }
    }

    fn unreadable(&self, cause: ParquetError) -> DataFileError {
        DataFileError::Read {
            file: self.source.place.clone(),
            cause,
        }
    }

    fn undecodable(&self, cause: ArrowError) -> DataFileError {
        DataFileError::Decode {
            file: self.source.place.clone(),
            cause,
        }
    }

    /// The number of its rows. Where Delta's log does not have it, another program wrote the file.
    pub(super) async fn rows(&self) -> Result<usize, DataFileError> {
        if let Some(rows) = self.statistics.num_records {
            return Ok(rows);
        }
        let file = self.clone();
        let counted = tokio::task::spawn_blocking(move || {
            let (_, metadata) = file.open(PageIndexPolicy::Skip)?;
            let rows = metadata.metadata().file_metadata().num_rows();
            Ok(usize::try_from(rows).unwrap_or_default())
        });
        let lost = |panic| self.unopened(std::io::Error::other(panic));
        counted.await.unwrap_or_else(|panic| Err(lost(panic)))
    }
}

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of its file.
    pub(super) file: usize,
    /// Its position in the file.
    pub(super) row: usize,
    /// Its serial number, where the lookup asked for the latest.
    pub(super) record_id: i64,
}

/// Which of several rows of a key counts.
#[derive(Debug, Clone)]
pub(super) enum Pick {
    /// There is at most one.
    Only,
    /// The one where this boolean column is true; there is at most one.
    Where(&'static str),
    /// The one with the highest value in this column.
    Latest(String),
}

/// The data files of one version of a table.
#[derive(Debug)]
pub(super) struct DataFiles {
    /// The files.
    pub(super) files: Vec<DataFile>,
    /// All columns of the table in stored types, also those that old files lack.
    pub(super) schema: SchemaRef,
}

impl DataFiles {
    /// The place of the row that counts, for each of `keys`; `None` where there is none.
    pub(super) fn locate(
        &self,
        keys: &RecordBatch,
        pick: &Pick,
    ) -> Result<Vec<Option<Place>>, DataFileError> {
        let rows = Rows::of(&keys.schema())?;
        let wanted = rows.encode(keys.columns())?;
        let mut search = Search {
            index: HashMap::with_capacity(keys.num_rows()),
            places: vec![None; keys.num_rows()],
            pick,
        };
        for (at, key) in wanted.iter().enumerate() {
            if search.index.insert(key, at).is_some() {
                return Err(DataFileError::Twice("the input"));
            }
        }
        let range = KeyRange::of(keys)?;
        let schema = self.lookup_schema(keys, pick);
        for (number, file) in self.files.iter().enumerate() {
            if keys.num_rows() == 0 || range.as_ref().is_some_and(|range| !range.may_be_in(file)) {
                continue;
            }
            let groups = |group: &RowGroupMetaData| {
                range
                    .as_ref()
                    .is_none_or(|range| range.may_be_in_group(group))
            };
            self.scan(file, &schema, groups, |first, batch| {
                let (keys, picked) = batch.columns().split_at(keys.num_columns());
                let found = rows.encode(keys)?;
                search.take(&found, &Picked::of(picked, pick), number, first)
            })?;
        }
        Ok(search.places)
    }

    /// For each of `rows`, whether the row at its place has the same values in `columns`.
    pub(super) fn equal(
        &self,
        rows: &RecordBatch,
        places: &[Option<Place>],
        columns: &[String],
    ) -> Result<Vec<bool>, DataFileError> {
        if columns.is_empty() {
            return Ok(places.iter().map(Option::is_some).collect());
        }
        let mut equal = vec![false; rows.num_rows()];
        let schema = project(&self.schema, columns);
        let encoder = Rows::of(&schema)?;
        let wanted = encoder.encode(columns::conform(rows, &schema)?.columns())?;
        for (number, positions) in by_file(places) {
            let Some(file) = self.files.get(number) else {
                continue;
            };
            let mut next = positions.iter();
            self.read_rows(file, &schema, &positions, |batch| {
                let found = encoder.encode(batch.columns())?;
                for (row, (_, at)) in found.iter().zip(next.by_ref()) {
                    if let Some(equal) = equal.get_mut(*at) {
                        *equal = row == wanted.row(*at);
                    }
                }
                Ok(())
            })?;
        }
        Ok(equal)
    }

    /// Key columns first, then the column that decides which row counts.
    fn lookup_schema(&self, keys: &RecordBatch, pick: &Pick) -> SchemaRef {
        let mut names: Vec<String> = keys
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        match pick {
            Pick::Only => {}
            Pick::Where(column) => names.push((*column).to_owned()),
            Pick::Latest(column) => names.push(column.clone()),
        }
        project(&self.schema, &names)
    }

    /// Hands the rows of the row groups that `groups` wants to `each`, with the position of the first.
    fn scan(
        &self,
        file: &DataFile,
        schema: &SchemaRef,
        groups: impl Fn(&RowGroupMetaData) -> bool,
        mut each: impl FnMut(usize, RecordBatch) -> Result<(), DataFileError>,
    ) -> Result<(), DataFileError> {
        let (handle, metadata) = file.open(PageIndexPolicy::Skip)?;
        let mut first = 0;
        for (number, group) in metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or_default();
            if groups(group) {
                let handle = handle.try_clone().map_err(|cause| file.unopened(cause))?;
                let wanted = Wanted {
                    group: Some(number),
                    rows: None,
                    columns: mask(&metadata, schema),
                    at_a_time: BATCH_ROWS,
                };
                let reader = handle.batches(metadata.clone(), wanted);
                let reader = reader.map_err(|cause| file.unreadable(cause))?;
                let mut at = first;
                for batch in reader {
                    let batch = batch
                        .and_then(|batch| columns::conform(&batch, schema))
                        .map_err(|cause| file.undecodable(cause))?;
                    let count = batch.num_rows();
                    each(at, batch)?;
                    at += count;
                }
            }
            first += rows;
        }
        Ok(())
    }

    /// Hands the rows at `positions`, which are in order, to `each`.
    fn read_rows(
        &self,
        file: &DataFile,
        schema: &SchemaRef,
        positions: &[(usize, usize)],
        mut each: impl FnMut(RecordBatch) -> Result<(), DataFileError>,
    ) -> Result<(), DataFileError> {
        let (handle, metadata) = file.open(PageIndexPolicy::Optional)?;
        let rows = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let selection = RowSelection::from_consecutive_ranges(runs(positions).into_iter(), rows);
        let wanted = Wanted {
            group: None,
            rows: Some(selection),
            columns: mask(&metadata, schema),
            at_a_time: BATCH_ROWS,
        };
        let reader = handle.batches(metadata, wanted);
        for batch in reader.map_err(|cause| file.unreadable(cause))? {
            let batch = batch
                .and_then(|batch| columns::conform(&batch, schema))
                .map_err(|cause| file.undecodable(cause))?;
            each(batch)?;
        }
        Ok(())
    }
}

/// A lookup under way.
struct Search<'a> {
    /// By key, whose it is.
    index: HashMap<Row<'a>, usize>,
    /// The best place of each key so far.
    places: Vec<Option<Place>>,
    pick: &'a Pick,
}

impl Search<'_> {
    /// Takes in rows of a file; the first of them is at position `first`.
    fn take(
        &mut self,
        found: &arrow::row::Rows,
        picked: &Picked<'_>,
        file: usize,
        first: usize,
    ) -> Result<(), DataFileError> {
        for (row, key) in found.iter().enumerate() {
            let at = self.index.get(&key).filter(|_| picked.counts(row));
            let Some(place) = at.and_then(|at| self.places.get_mut(*at)) else {
                continue;
            };
            let candidate = Place {
                file,
                row: first + row,
                record_id: picked.record_id(row),
            };
            match place {
                Some(_) if !matches!(self.pick, Pick::Latest(_)) => {
                    return Err(DataFileError::Twice("the table"));
                }
                Some(best) if best.record_id >= candidate.record_id => {}
                _ => *place = Some(candidate),
            }
        }
        Ok(())
    }
}

/// The column that decides which row of a key counts.
enum Picked<'a> {
    Any,
    Where(&'a arrow::array::BooleanArray),
    Latest(&'a arrow::array::Int64Array),
}

impl<'a> Picked<'a> {
    /// `columns` are those after the key.
    fn of(columns: &'a [ArrayRef], pick: &Pick) -> Self {
        let column = columns.first();
        match pick {
            Pick::Only => Self::Any,
            Pick::Where(_) => column
                .and_then(|column| column.as_boolean_opt())
                .map_or(Self::Any, Self::Where),
            Pick::Latest(_) => column
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .map_or(Self::Any, Self::Latest),
        }
    }

    fn counts(&self, row: usize) -> bool {
        match self {
            Self::Where(flags) => flags.is_valid(row) && flags.value(row),
            Self::Any | Self::Latest(_) => true,
        }
    }

    fn record_id(&self, row: usize) -> i64 {
        match self {
            Self::Latest(ids) => ids.value(row),
            Self::Any | Self::Where(_) => 0,
        }
    }
}

/// By file, the positions found in it and whose they are, in the order of positions.
fn by_file(places: &[Option<Place>]) -> BTreeMap<usize, Vec<(usize, usize)>> {
    let mut files: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(place) = place {
            files.entry(place.file).or_default().push((place.row, at));
        }
    }
    for positions in files.values_mut() {
        positions.sort_unstable();
    }
    files
}

/// Positions that follow each other, as ranges.
fn runs(positions: &[(usize, usize)]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (position, _) in positions {
        match runs.last_mut() {
            Some(run) if run.end == *position => run.end += 1,
            _ => runs.push(*position..position + 1),
        }
    }
    runs
}

fn project(schema: &Schema, names: &[String]) -> SchemaRef {
    let fields: Vec<_> = names
        .iter()
        .filter_map(|name| {
            schema
                .fields()
                .find(name)
                .map(|(_, field)| Arc::clone(field))
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn mask(metadata: &ArrowReaderMetadata, schema: &Schema) -> ProjectionMask {
    let file = metadata.parquet_schema();
    let roots = file
        .root_schema()
        .get_fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| schema.fields().find(field.name()).is_some())
        .map(|(root, _)| root);
    ProjectionMask::roots(file, roots)
}
