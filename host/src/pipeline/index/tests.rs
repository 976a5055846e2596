use super::*;
use crate::zone::memory::MemoryZone;
use arrow::array::{Int32Array, Int64Array};
use arrow::datatypes::{Int32Type, Int64Type};

fn key_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]))
}

fn digest(id: i32) -> Digest128 {
    super::super::rows::Digester::new(&key_schema(), &["id".into()])
        .and_then(|digester| digester.keys(&key(id)))
        .unwrap()[0]
}

fn key(id: i32) -> RecordBatch {
    RecordBatch::try_new(key_schema(), vec![Arc::new(Int32Array::from(vec![id]))]).unwrap()
}

fn version(n: u8) -> Digest128 {
    [n; 16]
}

/// An index after landings that each say, by key, the version or that the key is gone.
async fn landed(landings: &[&[(i32, Option<u8>)]]) -> Result<Index> {
    let zone: Arc<dyn Zone> = Arc::new(MemoryZone::default());
    let mut index = Index::new(zone.clone(), key_schema(), Vec::new());
    for (number, landing) in landings.iter().enumerate() {
        let mut sorter = Sorter::new(&key_schema());
        for (id, row) in *landing {
            let row = row.map(|row| [version(row)]);
            sorter.add(&[digest(*id)], row.as_ref().map(|row| &row[..]), &key(*id))?;
        }
        let added = sorter
            .finish(zone.clone(), &format!("{number}/index"))
            .await?;
        index.segments = index.merged(added, &format!("{number}/folded")).await?;
    }
    Ok(index)
}

async fn live(index: &Index, ids: std::ops::Range<i32>) -> Vec<(i32, u8)> {
    let keys: Vec<Digest128> = ids.clone().map(digest).collect();
    let found = index.look_up(&keys).await.unwrap();
    ids.filter_map(|id| found.get(&digest(id)).map(|row| (id, row[0])))
        .collect()
}

#[tokio::test]
async fn a_later_landing_wins_and_a_key_that_is_gone_is_not_live() {
    let index = landed(&[
        &[(1, Some(1)), (2, Some(1)), (3, Some(1))],
        &[(2, Some(2)), (3, None)],
    ])
    .await
    .unwrap();
    assert_eq!(live(&index, 0..5).await, vec![(1, 1), (2, 2)]);
    let whole = index.partition(0, 1).await.unwrap();
    assert_eq!(whole.len(), 2);
}

#[tokio::test]
async fn a_key_that_comes_back_is_live_again() {
    let index = landed(&[&[(1, Some(1))], &[(1, None)], &[(1, Some(1))]])
        .await
        .unwrap();
    assert_eq!(live(&index, 0..3).await, vec![(1, 1)]);
}

#[tokio::test]
async fn many_small_landings_leave_few_segments_and_lose_nothing() {
    let first: Vec<_> = (0..1_000).map(|id| (id, Some(1))).collect();
    let mut landings: Vec<Vec<(i32, Option<u8>)>> = vec![first];
    landings.extend((0..100).map(|n| vec![(n * 7, Some(2)), (n * 7 + 1, None)]));
    let landings: Vec<&[(i32, Option<u8>)]> = landings.iter().map(Vec::as_slice).collect();
    let index = landed(&landings).await.unwrap();
    assert!(
        index.segments.len() <= 5,
        "{} segments",
        index.segments.len()
    );
    let expected: Vec<(i32, u8)> = (0..1_000)
        .filter(|id| !(*id < 700 && id % 7 == 1))
        .map(|id| (id, if id < 700 && id % 7 == 0 { 2 } else { 1 }))
        .collect();
    assert_eq!(live(&index, 0..1_000).await, expected);
    let live: usize = {
        let mut live = 0;
        for partition in 0..8 {
            live += index.partition(partition, 8).await.unwrap().len();
        }
        live
    };
    assert_eq!(live, expected.len());
}

#[tokio::test]
async fn the_columns_of_keys_come_back_for_deletions() {
    let index = landed(&[&[(1, Some(1)), (2, Some(1))], &[(2, Some(2))]])
        .await
        .unwrap();
    let keys = index
        .keys_of([digest(2)].into_iter().collect())
        .await
        .unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].column(0).as_primitive::<Int32Type>().values(), &[2]);
}

#[tokio::test]
async fn two_rows_of_one_key_in_one_landing_are_refused() {
    let error = landed(&[&[(1, Some(1)), (1, Some(2))]])
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "two rows have the same key");
}

/// Entries of the ids from 0 on, in another order and in batches, into a segment.
async fn sorted(ids: i32, twice: bool) -> Result<IndexSegment> {
    let zone: Arc<dyn Zone> = Arc::new(MemoryZone::default());
    let digester = super::super::rows::Digester::new(&key_schema(), &["id".into()])?;
    let mut sorter = Sorter::new(&key_schema());
    let mut order: Vec<i32> = (0..ids).rev().collect();
    order.extend(twice.then_some(7));
    for ids in order.chunks(8_192) {
        let ids = Int32Array::from(ids.to_vec());
        let keys = RecordBatch::try_new(key_schema(), vec![Arc::new(ids)]).unwrap();
        let digests = digester.keys(&keys)?;
        sorter.add(&digests, Some(&digests), &keys)?;
    }
    let segment = sorter.finish(zone.clone(), "index").await?;
    let index = Index::new(zone, key_schema(), vec![segment.clone()]);
    let live = index.partition(0, 1).await?;
    assert_eq!(live.len(), ids as usize);
    assert!(live.iter().all(|(key, row)| key == row));
    Ok(segment)
}

#[tokio::test]
async fn more_entries_than_are_held_in_memory_are_one_sorted_segment() {
    let segment = sorted(300_000, false).await.unwrap();
    assert_eq!(segment.rows(), 300_000);
    let ranges: Vec<(&str, &str)> = segment
        .parts
        .iter()
        .map(|part| (part.first.as_str(), part.last.as_str()))
        .collect();
    assert_eq!(ranges.len(), 2);
    assert!(ranges.iter().all(|(first, last)| first < last));
    assert!(ranges[0].1 < ranges[1].0);
}

#[tokio::test]
async fn two_rows_of_one_key_are_refused_among_many() {
    let error = sorted(300_000, true).await.err().unwrap();
    assert_eq!(error.to_string(), "two rows have the same key");
}

#[tokio::test]
async fn keys_that_were_written_narrow_are_read_wide() {
    let narrow = landed(&[&[(1, Some(1)), (2, Some(1)), (3, Some(1))]]).await;
    let Index { zone, segments, .. } = narrow.unwrap();
    let wide: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let index = Index::new(zone.clone(), wide.clone(), segments);
    let keys = index.keys_of([digest(2)].into()).await.unwrap();
    let ids = keys[0].column(0).as_primitive::<Int64Type>();
    assert_eq!(ids.values(), &[2]);
    let gone = Arc::new(Int64Array::from(vec![2]));
    let gone = RecordBatch::try_new(wide.clone(), vec![gone]).unwrap();
    let mut sorter = Sorter::new(&wide);
    sorter.add(&[digest(2)], None, &gone).unwrap();
    let added = sorter.finish(zone.clone(), "wide/index").await.unwrap();
    let folded = index.merged(added, "wide/folded").await.unwrap();
    assert_eq!(folded.len(), 1, "both are in one segment");
    let index = Index::new(zone, wide, folded);
    let live = index.look_up(&[digest(1), digest(2), digest(3)]).await;
    assert_eq!(live.unwrap().len(), 2);
}
