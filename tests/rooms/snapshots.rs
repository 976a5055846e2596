//! What the rooms of the sources read from a snapshot.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use tidemill::source::{Discovered, Selection, Snapshot, SourceError};
use tidemill::table::Table;

/// A table as the snapshot lists it.
pub(crate) async fn found(snapshot: &dyn Snapshot, name: &str) -> Discovered {
    let tables = snapshot.tables().await.expect("it lists");
    tables
        .into_iter()
        .find(|found| found.table.name.as_str() == name)
        .expect(name)
}

pub(crate) async fn table(snapshot: &dyn Snapshot, name: &str) -> Table {
    found(snapshot, name).await.table
}

/// All rows of a selection, which came in batches of a bounded size.
pub(crate) async fn read(
    snapshot: &dyn Snapshot,
    table: &Table,
    selection: &Selection,
) -> Result<RecordBatch, SourceError> {
    let batches: Vec<RecordBatch> = snapshot.read(table, selection).await?.try_collect().await?;
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8_192));
    Ok(concat_batches(&table.schema(), &batches).expect("one schema"))
}
