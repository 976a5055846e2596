use super::*;
use crate::zone::Zone;
use crate::zone::local::LocalZone;
use arrow::array::{Array as _, AsArray as _, Int32Array, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use futures::TryStreamExt as _;
use std::sync::Arc;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

fn rows(ids: std::ops::Range<i32>) -> RecordBatch {
    let names: StringArray = ids
        .clone()
        .map(|n| (n % 3 != 0).then(|| format!("n{n}")))
        .collect();
    let ids = Int32Array::from_iter_values(ids);
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

fn zone() -> (tempfile::TempDir, Arc<dyn Zone>) {
    let folder = tempfile::tempdir().unwrap();
    let zone = Arc::new(LocalZone::new(folder.path()));
    (folder, zone)
}

fn verified(parts: &[Part]) -> Vec<Verified> {
    parts.iter().map(|p| (p.key.clone(), p.sha256)).collect()
}

#[tokio::test]
async fn rows_come_back_in_order_over_several_parts() {
    let (_folder, zone) = zone();
    let mut writer = PartWriter::new(zone.clone(), "t/part", schema()).with_part_rows(100);
    for start in (0..1_000).step_by(50) {
        writer.write(&rows(start..start + 50)).await.unwrap();
    }
    let parts = writer.finish().await.unwrap();
    assert_eq!(parts.len(), 10);
    let batches: Vec<_> = read(zone, verified(&parts), None)
        .try_collect()
        .await
        .unwrap();
    let ids: Vec<i32> = batches
        .iter()
        .flat_map(|b| b.column(0).as_primitive::<Int32Type>().values().to_vec())
        .collect();
    assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_rows_give_the_same_bytes() {
    let (_folder, zone) = zone();
    let mut digests = Vec::new();
    for prefix in ["a", "b"] {
        let mut writer = PartWriter::new(zone.clone(), prefix, schema());
        writer.write(&rows(0..500)).await.unwrap();
        digests.push(writer.finish().await.unwrap()[0].sha256);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn without_rows_there_is_no_object() {
    let (_folder, zone) = zone();
    let mut writer = PartWriter::new(zone.clone(), "t", schema());
    writer.write(&rows(0..0)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), vec![]);
    assert_eq!(zone.list("").await.unwrap(), vec![]);
}

#[tokio::test]
async fn a_damaged_object_is_refused_before_it_is_decoded() {
    let (folder, zone) = zone();
    let mut writer = PartWriter::new(zone.clone(), "t", schema());
    writer.write(&rows(0..500)).await.unwrap();
    let parts = writer.finish().await.unwrap();
    let path = folder.path().join(&parts[0].key);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let read: Result<Vec<_>, _> = read(zone, verified(&parts), None).try_collect().await;
    assert!(matches!(read, Err(ZoneError::Damaged { .. })));
}

#[tokio::test]
async fn only_the_columns_that_were_asked_for_are_read() {
    let (_folder, zone) = zone();
    let mut writer = PartWriter::new(zone.clone(), "t", schema());
    writer.write(&rows(0..5)).await.unwrap();
    let parts = writer.finish().await.unwrap();
    let columns = Some(vec!["name".to_owned()]);
    let batches: Vec<_> = read(zone, verified(&parts), columns)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(batches[0].num_columns(), 1);
    assert_eq!(batches[0].column(0).null_count(), 2);
}

/// What Parquet's own writer makes of the batches on one thread.
fn on_one_thread(settings: Settings, batches: &[RecordBatch]) -> Vec<u8> {
    let properties = settings.properties(&batches[0]);
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn lanes_write_the_bytes_of_one_thread_with_the_settings_of_every_version() {
    let batches: Vec<RecordBatch> = (0..150_000)
        .step_by(7_500)
        .map(|from| rows(from..from + 7_500))
        .collect();
    for settings in [Settings::First, Settings::Second] {
        let (folder, zone) = zone();
        let mut writer = PartWriter::new(zone.clone(), "t", schema()).with_settings(settings);
        for batch in &batches {
            writer.write(batch).await.unwrap();
        }
        let parts = writer.finish().await.unwrap();
        let written = std::fs::read(folder.path().join(&parts[0].key)).unwrap();
        let name = settings.name();
        assert!(
            written == on_one_thread(settings, &batches),
            "{name} differs"
        );
        let back: Vec<_> = read(zone, verified(&parts), None)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(
            back.iter().map(RecordBatch::num_rows).sum::<usize>(),
            150_000
        );
        assert_eq!(Settings::named(name), Some(settings));
    }
    assert_eq!(Settings::named("parquet-3"), None);
}

#[test]
fn a_text_gets_a_dictionary_when_its_values_repeat() {
    let column = parquet::schema::types::ColumnPath::from("name");
    let of = |values: Vec<Option<&str>>| {
        let names = StringArray::from(values);
        let ids = Int32Array::from_iter_values(0..names.len() as i32);
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(names)]).unwrap();
        Settings::Second
            .properties(&batch)
            .dictionary_enabled(&column)
    };
    assert!(of([Some("a"), Some("b"), None].repeat(8)));
    assert!(!of(vec![
        Some("a"),
        Some("b"),
        Some("c"),
        Some("d"),
        Some("a")
    ]));
    assert!(!of(vec![None; 9]));
}
