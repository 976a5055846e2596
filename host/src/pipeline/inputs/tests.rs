use super::*;
use crate::contract::Delivery;
use crate::contract::Role;
use crate::error::{Classify as _, ErrorKind};
use crate::manifest::FORMAT;
use crate::manifest::{CurrentRows, LandedTable, LandingManifest, ManifestLog};
use crate::run::RunId;
use crate::table::TableName;
use crate::table::{Column, Fidelity, KeyOrigin, Table, TableKind};
use crate::watermark::{Position, Reached};
use crate::zone::memory::MemoryZone;
use crate::zone::parquet::PartWriter;
use arrow::array::ArrayRef;
use arrow::array::{AsArray as _, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use arrow::datatypes::{Int32Type, Schema};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

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
    /// How far the next landing is.
    reached: Option<Reached>,
}

impl Zones {
    fn new() -> Self {
        Self {
            zone: Arc::new(MemoryZone::default()),
            tables: Vec::new(),
            reached: None,
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
            reached: self.reached.clone(),
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

#[tokio::test]
async fn a_table_that_is_landed_in_parts_is_whole_with_the_last_of_them() {
    let mut zones = Zones::new();
    let reached = |whole| {
        Some(Reached {
            file: 1,
            whole,
            begun: Some(whole),
        })
    };
    for (number, rows) in [[(1, "a")], [(2, "b")], [(3, "c")]].iter().enumerate() {
        zones.reached = reached(number as u64 + 1).filter(|_| number < 2);
        zones.land(rows, &[], false).await;
        let complete = zones.landings().complete("t", Delivery::Current, 1).await;
        match number {
            2 => assert_eq!(complete.unwrap(), 3),
            _ => assert_eq!(
                complete.unwrap_err().to_string(),
                "the module reads all of the table `t`, of which a part has been landed"
            ),
        }
    }
    let landings = zones.landings();
    for (landing, delivery, complete) in [
        (1, Delivery::Changes, 1),
        (2, Delivery::Current, 3),
        (3, Delivery::Current, 3),
    ] {
        assert_eq!(
            landings.complete("t", delivery, landing).await.unwrap(),
            complete
        );
    }
}
