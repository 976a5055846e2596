//! A batch with the digests of its rows, and the ways it is taken apart.

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;

use super::{Change, LandingError};
use crate::error::Result;
use crate::pipeline::index::partition_of;
use crate::pipeline::rows::{Digest128, Digester, RowsError};

/// Digested batches in the order of the source.
pub(super) type DigestedStream = BoxStream<'static, Result<Digested>>;

/// A batch with one key and one row digest per row.
pub(super) struct Digested {
    pub(super) batch: RecordBatch,
    pub(super) keys: Vec<Digest128>,
    pub(super) rows: Vec<Digest128>,
}

impl Digested {
    pub(super) fn new(digester: &Digester, batch: RecordBatch) -> Result<Self> {
        Ok(Self::of(digester, batch)?)
    }

    fn of(digester: &Digester, batch: RecordBatch) -> Result<Self, RowsError> {
        Ok(Self {
            keys: digester.keys(&batch)?,
            rows: digester.rows(&batch)?,
            batch,
        })
    }

    /// The rows of which something became.
    pub(super) fn filtered(&self, changes: &[Option<Change>]) -> Result<Self, LandingError> {
        let mask: BooleanArray = changes
            .iter()
            .map(|change| Some(change.is_some()))
            .collect();
        let kept = |digests: &[Digest128]| {
            let both = digests.iter().zip(changes);
            both.filter(|(_, change)| change.is_some())
                .map(|(digest, _)| *digest)
                .collect()
        };
        Ok(Self {
            batch: filter_record_batch(&self.batch, &mask).map_err(LandingError::Rows)?,
            keys: kept(&self.keys),
            rows: kept(&self.rows),
        })
    }

    /// The rows by the partition that their keys fall into, the partitions that have any.
    pub(super) fn partitioned(
        &self,
        partitions: usize,
    ) -> Result<Vec<(usize, Self)>, LandingError> {
        let places: Vec<usize> = self
            .keys
            .iter()
            .map(|key| partition_of(key, partitions))
            .collect();
        let place = |row: &u32| places.get(*row as usize).copied().unwrap_or_default();
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        order.sort_by_key(place);
        let runs: Vec<(usize, usize)> = order
            .chunk_by(|a, b| place(a) == place(b))
            .map(|run| (run.first().map_or(0, place), run.len()))
            .collect();
        let taken = |digests: &[Digest128]| -> Vec<Digest128> {
            let rows = order.iter().map(|row| digests.get(*row as usize).copied());
            rows.map(Option::unwrap_or_default).collect()
        };
        let (keys, rows) = (taken(&self.keys), taken(&self.rows));
        let batch = take_record_batch(&self.batch, &UInt32Array::from(order))
            .map_err(LandingError::Rows)?;
        let mut from = 0;
        let parts = runs.into_iter().map(|(partition, length)| {
            let here = from..from + length;
            from += length;
            let part = Self {
                batch: batch.slice(here.start, length),
                keys: keys.get(here.clone()).unwrap_or_default().to_vec(),
                rows: rows.get(here).unwrap_or_default().to_vec(),
            };
            (partition, part)
        });
        Ok(parts.collect())
    }
}
