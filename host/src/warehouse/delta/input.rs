//! Inputs: the bytes of a data file, on a disk or in a bucket, and the rows that are decoded from them.
//!
//! A file in a bucket that is small comes in one answer and is kept for as long as its table is loaded: it is looked at
//! several times. Of a large one the end is read, and then the columns of the row groups that are wanted, side by side.
//! Decoding is synchronous and runs on the blocking pool, where waiting for an answer stops nobody else.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use super::location::{Bucket, Location};

/// Files up to this size come whole. A table has some dozens of them before they are written into one.
const WHOLE: u64 = 512 * 1024;
/// What is read of the end of a large file, in which the description of its row groups begins.
const END: usize = 64 * 1024;

/// Where a data file is, its size, and its bytes once they were read whole.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) place: Location,
    bytes: u64,
    whole: Arc<OnceLock<Bytes>>,
}

/// The bytes of a data file.
pub(super) enum Input {
    File(File),
    Whole(Bytes),
    Object(Box<Object>),
}

/// An object of which pieces are read.
#[derive(Debug, Clone)]
pub(super) struct Object {
    at: Bucket,
    bytes: u64,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let read = self.at.objects.get_range(&self.at.prefix, range);
        read.map_err(|error| ParquetError::External(error.into()))
            .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let read = self.at.objects.get_ranges(&self.at.prefix, &ranges).await;
            read.map_err(|error| ParquetError::External(error.into()))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let pages = |policy: fn(&ArrowReaderOptions) -> PageIndexPolicy| {
                options.map_or(PageIndexPolicy::Skip, policy)
            };
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new()
                .with_column_index_policy(pages(ArrowReaderOptions::column_index_policy))
                .with_offset_index_policy(pages(ArrowReaderOptions::offset_index_policy))
                .with_prefetch_hint(Some(END));
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

/// Which rows and columns are decoded, and how many at a time.
pub(super) struct Wanted {
    /// Row groups; all where there are none.
    pub(super) group: Option<usize>,
    pub(super) rows: Option<RowSelection>,
    pub(super) columns: ProjectionMask,
    pub(super) at_a_time: usize,
}

/// Rows of a data file.
pub(super) enum Batches {
    Here(ParquetRecordBatchReader),
    Far(BoxStream<'static, Result<RecordBatch, ParquetError>>),
}

impl Source {
    pub(super) fn new(place: Location, bytes: u64) -> Self {
        Self {
            place,
            bytes,
            whole: Arc::default(),
        }
    }

    /// Opens it, on the blocking pool.
    pub(super) fn open(&self) -> io::Result<Input> {
        match &self.place {
            Location::Folder(path) => Ok(Input::File(File::open(path)?)),
            Location::Bucket(object) => Handle::current().block_on(self.open_object(object)),
        }
    }

    async fn open_object(&self, object: &Bucket) -> io::Result<Input> {
        if self.bytes > WHOLE {
            return Ok(Input::Object(Box::new(self.reader(object))));
        }
        if let Some(whole) = self.whole.get() {
            return Ok(Input::Whole(whole.clone()));
        }
        let read = async { object.objects.get(&object.prefix).await?.bytes().await };
        let bytes = read.await.map_err(io::Error::from)?;
        Ok(Input::Whole(self.whole.get_or_init(|| bytes).clone()))
    }

    fn reader(&self, object: &Bucket) -> Object {
        Object {
            at: object.clone(),
            bytes: self.bytes,
        }
    }

    /// All its rows, for whoever is not on the blocking pool.
    pub(super) async fn rows(
        &self,
    ) -> Result<BoxStream<'static, Result<RecordBatch, ParquetError>>, RowsError> {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        Ok(match &self.place {
            Location::Folder(path) => {
                let file = tokio::fs::File::open(path).await?;
                let rows = ParquetRecordBatchStreamBuilder::new_with_options(file, options);
                rows.await?.build()?.boxed()
            }
            Location::Bucket(object) => {
                let reader = self.reader(object);
                let rows = ParquetRecordBatchStreamBuilder::new_with_options(reader, options);
                rows.await?.build()?.boxed()
            }
        })
    }
}

/// Why a file's rows cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    #[error(transparent)]
    Open(#[from] io::Error),
    #[error(transparent)]
    Read(#[from] ParquetError),
}

impl Input {
    /// What the file says of itself.
    pub(super) fn metadata(
        &mut self,
        options: ArrowReaderOptions,
    ) -> Result<ArrowReaderMetadata, ParquetError> {
        match self {
            Self::File(file) => ArrowReaderMetadata::load(file, options),
            Self::Whole(bytes) => ArrowReaderMetadata::load(bytes, options),
            Self::Object(object) => {
                let loading = ArrowReaderMetadata::load_async(object.as_mut(), options);
                Handle::current().block_on(loading)
            }
        }
    }

    /// The same bytes a second time.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(file.try_clone()?),
            Self::Whole(bytes) => Self::Whole(bytes.clone()),
            Self::Object(object) => Self::Object(object.clone()),
        })
    }

    /// Its rows, on the blocking pool.
    pub(super) fn batches(
        self,
        metadata: ArrowReaderMetadata,
        wanted: Wanted,
    ) -> Result<Batches, ParquetError> {
        Ok(match self {
            Self::File(file) => {
                let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
                Batches::Here(wanted.of(rows).build()?)
            }
            Self::Whole(bytes) => {
                let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
                Batches::Here(wanted.of(rows).build()?)
            }
            Self::Object(object) => {
                let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(*object, metadata);
                let rows = wanted.of(rows).build()?;
                Batches::Far(rows.boxed())
            }
        })
    }
}

impl Wanted {
    fn of<T>(self, mut rows: ArrowReaderBuilder<T>) -> ArrowReaderBuilder<T> {
        if let Some(group) = self.group {
            rows = rows.with_row_groups(vec![group]);
        }
        if let Some(selection) = self.rows {
            rows = rows.with_row_selection(selection);
        }
        rows.with_projection(self.columns)
            .with_batch_size(self.at_a_time)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Here(rows) => rows.next(),
            Self::Far(rows) => {
                let next = Handle::current().block_on(rows.next());
                next.map(|rows| rows.map_err(ArrowError::from))
            }
        }
    }
}
