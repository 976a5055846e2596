use super::*;
use crate::table::{Column, Fidelity, KeyOrigin, TableKind, TableName};
use crate::zone::memory::MemoryZone;
use arrow::array::{AsArray as _, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use arrow::record_batch::RecordBatch;

fn column(name: &str, data_type: DataType) -> Column {
    Column {
        name: name.into(),
        source_type: data_type.to_string(),
        data_type,
        nullable: true,
        fidelity: Fidelity::Exact,
    }
}

fn table() -> Table {
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

fn rows(rows: &[(i32, &str)]) -> BatchStream {
    let batches: Vec<_> = rows
        .chunks(3)
        .map(|rows| {
            let ids = Int32Array::from_iter_values(rows.iter().map(|r| r.0));
            let names = StringArray::from_iter_values(rows.iter().map(|r| r.1));
            Ok(
                RecordBatch::try_new(table().schema(), vec![Arc::new(ids), Arc::new(names)])
                    .unwrap(),
            )
        })
        .collect();
    Box::pin(futures::stream::iter(batches))
}

/// A zone and the index after what was landed in it.
struct Landings {
    zone: Arc<dyn Zone>,
    index: Vec<IndexSegment>,
    number: u32,
}

impl Landings {
    fn new() -> Self {
        Self {
            zone: Arc::new(MemoryZone::default()),
            index: Vec::new(),
            number: 0,
        }
    }

    fn next(&mut self) -> Landing {
        self.number += 1;
        let table = table();
        let index = Index::new(self.zone.clone(), table.key_schema(), self.index.clone());
        let prefix = format!("t/{}", self.number);
        Landing::new(
            self.zone.clone(),
            prefix,
            &table,
            index,
            Box::new(|_, _| {}),
        )
        .unwrap()
    }

    async fn end(&mut self, landing: Landing) -> Landed {
        let landed = landing.finish().await.unwrap();
        self.index = landed.index.clone();
        landed
    }

    async fn ids(&self, objects: &[Object]) -> Vec<i32> {
        let objects = objects.iter().map(|o| (o.key.clone(), o.sha256)).collect();
        let batches: Vec<RecordBatch> =
            crate::zone::parquet::read(self.zone.clone(), objects, None)
                .try_collect()
                .await
                .unwrap();
        let ids = batches
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int32Type>().values().to_vec());
        ids.collect()
    }
}

#[tokio::test]
async fn a_compare_lands_only_differences_and_deletes_as_keys() {
    let mut landings = Landings::new();
    let mut first = landings.next();
    first
        .land_all(rows(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]))
        .await
        .unwrap();
    landings.end(first).await;

    let mut second = landings.next();
    second
        .land_differences(rows(&[(1, "a"), (2, "B"), (4, "d"), (5, "e")]))
        .await
        .unwrap();
    let landed = landings.end(second).await;
    assert_eq!(landings.ids(&landed.changed).await, vec![2, 5]);
    assert_eq!(landings.ids(&landed.deleted).await, vec![3]);
    let counts = Counts {
        read: 4,
        new: 1,
        changed: 1,
        deleted: 1,
    };
    assert_eq!(landed.counts, counts);
}

#[tokio::test]
async fn an_idle_compare_leaves_no_object() {
    let mut landings = Landings::new();
    let mut first = landings.next();
    first.land_all(rows(&[(1, "a")])).await.unwrap();
    landings.end(first).await;
    let before = landings.zone.list("").await.unwrap().len();
    let mut second = landings.next();
    second.land_differences(rows(&[(1, "a")])).await.unwrap();
    landings.end(second).await;
    assert_eq!(landings.zone.list("").await.unwrap().len(), before);
}

#[tokio::test]
async fn candidates_that_equal_their_latest_version_are_dropped() {
    let mut landings = Landings::new();
    let mut first = landings.next();
    first.land_all(rows(&[(1, "a"), (2, "b")])).await.unwrap();
    landings.end(first).await;
    let mut second = landings.next();
    second
        .land_candidates(rows(&[(2, "b"), (1, "x"), (9, "new")]))
        .await
        .unwrap();
    let landed = landings.end(second).await;
    assert_eq!(landings.ids(&landed.changed).await, vec![1, 9]);
    // Back to the earlier value: a change like any other.
    let mut third = landings.next();
    third.land_candidates(rows(&[(1, "a")])).await.unwrap();
    let landed = landings.end(third).await;
    assert_eq!(landings.ids(&landed.changed).await, vec![1]);
}

#[tokio::test]
async fn a_compare_in_partitions_finds_the_same() {
    let before: Vec<(i32, &str)> = (0..500).map(|id| (id, "a")).collect();
    let after: Vec<(i32, &str)> = (0..600)
        .filter(|id| id % 10 != 3 || *id >= 500)
        .map(|id| (id, if id % 10 == 5 { "b" } else { "a" }))
        .collect();
    let mut landings = Landings::new();
    let mut first = landings.next();
    first.land_all(rows(&before)).await.unwrap();
    landings.end(first).await;
    let mut second = landings.next();
    let after = second.digested(rows(&after));
    let spilled = second.spill(after, 7).await.unwrap();
    for (partition, batches) in spilled.into_iter().enumerate() {
        let deletes = Deletes::WhatIsNotSeen;
        second
            .compare_partition(batches, partition, 7, deletes)
            .await
            .unwrap();
    }
    let landed = landings.end(second).await;
    let counts = Counts {
        read: 550,
        new: 100,
        changed: 50,
        deleted: 50,
    };
    assert_eq!(landed.counts, counts);
}

#[tokio::test]
async fn a_table_without_a_key_is_landed_whole_when_its_content_changed() {
    let mut landings = Landings::new();
    let first = landings
        .next()
        .land_content(rows(&[(1, "a"), (1, "a")]), None)
        .await
        .unwrap();
    assert!(first.replaces);
    let before = first.content.as_deref();
    let same = landings
        .next()
        .land_content(rows(&[(1, "a"), (1, "a")]), before)
        .await
        .unwrap();
    assert!(!same.replaces && same.changed.is_empty());
    let fewer = landings
        .next()
        .land_content(rows(&[(1, "a")]), before)
        .await
        .unwrap();
    assert!(fewer.replaces);
}

#[tokio::test]
async fn rows_in_another_type_are_landed_again_although_their_digests_are_the_same() {
    let mut landings = Landings::new();
    let mut first = landings.next();
    first.land_all(rows(&[(1, "a"), (2, "b")])).await.unwrap();
    landings.end(first).await;
    let mut second = landings.next();
    second.land_anew();
    second
        .land_differences(rows(&[(1, "a"), (3, "c")]))
        .await
        .unwrap();
    let landed = landings.end(second).await;
    assert!(landed.replaces);
    let counts = Counts {
        read: 2,
        new: 1,
        changed: 1,
        deleted: 1,
    };
    assert_eq!(landed.counts, counts);
}
