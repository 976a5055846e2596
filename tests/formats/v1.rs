//! Format version 1, as tidemill 0.1.0 wrote it. Nothing here changes but the addition of what was forgotten.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int32Type};
use futures::TryStreamExt as _;
use serde_json::Value;
use tidemill::config::{self, Cursor, Environment, When};
use tidemill::contract::LoadMode;
use tidemill::manifest::{LandingManifest, Manifest, ManifestLog, Object, ProcessedManifest};
use tidemill::registry::{Pick, Registry, Wanted};
use tidemill::sandbox::{Limits, Sandbox};
use tidemill::table::{Fidelity, KeyOrigin, TableKind};
use tidemill::watermark::{CompareReason, CursorValue, Position, Watermark, Window};
use tidemill::zone::{Zone, parquet};
use tidemill_tests::project::Project;

use crate::fixture::{self, zone};

const VERSION: &str = "v1";
/// The digest of the list of digests: who changes the fixture has to change this, and must not.
const SUMS: &str = "e29fa232dadb6b163df550af11dce41e29eb9e11cdb95b95317a04e42adc2ef7";

const RUNS: [&str; 3] = [
    "20261121T153937194Z-22d122d3",
    "20261121T153940870Z-08823792",
    "20261121T153947268Z-097a2c88",
];

/// What the program makes of a document of the fixture, by way of a log in which it has the number that it says.
async fn document<M: Manifest>(name: &str) -> Result<M> {
    let project = Project::empty()?;
    let folder = project.path().join("lake/zone/_manifests");
    std::fs::create_dir_all(&folder)?;
    let document = fixture::folder(VERSION).join("documents").join(name);
    let document = std::fs::read(document)?;
    let said: serde_json::Value = serde_json::from_slice(&document)?;
    let number = said.get("sequence").and_then(serde_json::Value::as_u64);
    let number = number.context("a number")?;
    std::fs::write(folder.join(format!("{number:010}.json")), document)?;
    let log = ManifestLog::new(zone(&project, "zone"), "");
    Ok(log.read(number).await?)
}

#[test]
fn nobody_has_changed_the_fixture() -> Result<()> {
    fixture::ensure_unchanged(VERSION, SUMS)
}

#[test]
fn the_project_file_means_what_it_meant() -> Result<()> {
    let file = fixture::folder(VERSION).join("documents/everything.toml");
    let variables = [("SECRET", "s3cret"), ("HOME", "/home/ada")];
    let plan = config::load(&file, &variables.into_iter().collect::<Environment>(), &[])?;
    assert_eq!(plan.name, "everything");
    assert_eq!(plan.zones.processed, "file://./lake/processed");
    let totesys = plan.sources.get("totesys").context("a source")?;
    assert_eq!(
        totesys.url.expose()?,
        "postgresql://ada:s3cret@db.example:5432/totesys?sslmode=verify-full"
    );
    let by_column = Cursor::Column {
        name: "last_updated".into(),
        overlap: std::time::Duration::from_secs(150),
    };
    assert_eq!(totesys.cursor_of("sales_order"), &by_column);
    assert_eq!(totesys.cursor_of("hr.staff"), &Cursor::Snapshot);
    assert!(totesys.takes("sales_order") && totesys.takes("hr.staff") && !totesys.takes("design"));
    assert_eq!(
        totesys.reconcile,
        Some(std::time::Duration::from_secs(7 * 86_400))
    );
    let cars = plan.sources.get("cars").context("a source")?;
    assert_eq!(cars.reconcile, None);
    assert_eq!(plan.warehouse.url.expose()?, "delta://./warehouse");
    assert_eq!(plan.warehouse.options.schema, "star");
    let staff = plan.transforms.get("dim_staff").context("a transform")?;
    let wanted: Wanted = staff.module.parse()?;
    assert!(matches!(&wanted.pick, Pick::Range(range) if range.to_string() == "^1.2"));
    assert_eq!(plan.limits.memory_bytes, 256 * 1024 * 1024);
    assert_eq!(plan.limits.log_lines, 1000);
    let hours = plan.schedule.get("office-hours").context("a schedule")?;
    assert!(matches!(&hours.when, When::Cron { zone, .. } if zone.name() == "Europe/London"));
    assert!(hours.reconcile);
    let nightly = plan.schedule.get("nightly").context("a schedule")?;
    assert!(matches!(&nightly.when, When::Every(day) if day.as_secs() == 86_400));
    Ok(())
}

#[tokio::test]
async fn every_landing_manifest_is_read_and_would_be_written_again_as_it_is() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let log = ManifestLog::<LandingManifest>::new(zone(&project, "ingestion"), "totesys");
    for (number, run) in (1..).zip(RUNS) {
        let manifest = log.read(number).await?;
        assert_eq!(manifest.run.as_str(), run);
        assert_eq!((manifest.format, manifest.sequence), (1, number));
        let file = format!("lake/ingestion/totesys/_manifests/{number:010}.json");
        same_json(&project, &file, &manifest)?;
    }
    let second = log.read(2).await?;
    assert_eq!(
        second.logical_time.to_rfc3339(),
        "2026-11-21T15:39:40.896+00:00"
    );
    let payment = second.tables.get("payment").context("payment landed")?;
    assert_eq!(payment.position, Position::Sqlite);
    let no_cursor = Window::Compare {
        reason: CompareReason::NoCursor,
    };
    assert_eq!(payment.window, Some(no_cursor));
    assert_eq!(
        (
            payment.changed_rows(),
            payment.deleted_rows(),
            payment.live_rows
        ),
        (1, 1, 2)
    );
    assert_eq!((payment.changed_in, payment.changed_before), (2, Some(1)));
    let folded = payment.index.first().context("an index")?;
    assert_eq!(folded.rows(), 2);
    let note = second.tables.get("note").context("note landed")?;
    assert_eq!(
        note.content.as_deref(),
        Some("2:7ffc00e1183e2dffe0b720f81c7fc743")
    );
    assert_eq!(note.table.key_origin, KeyOrigin::None);
    Ok(())
}

/// What a landing manifest may hold and this project does not: a PostgreSQL source, every window, every type.
#[tokio::test]
async fn everything_that_a_landing_manifest_may_say_is_understood() -> Result<()> {
    let manifest: LandingManifest = document("landing.json").await?;
    let table = |name: &str| manifest.tables.get(name).with_context(|| name.to_owned());
    let payment = table("payment")?;
    let position = Position::Postgres {
        system_identifier: Some("7350000000000000001".into()),
        timeline: Some(1),
        database: "totesys".into(),
        snapshot: "745:747:745".into(),
        xmin: 745,
        xmax: 747,
    };
    assert_eq!(payment.position, position);
    let watermark = Watermark {
        column: "last_updated".into(),
        value: CursorValue::Timestamp(1_731_000_000_000_000),
    };
    assert_eq!(payment.watermark, Some(watermark));
    let kinds = ["w_first", "w_none", "w_replace", "w_cursor", "w_zoned"]
        .map(|n| table(n).map(|t| t.table.kind));
    let [plain, partitioned, view, materialized, foreign] = kinds;
    assert_eq!(
        [plain?, partitioned?, view?, materialized?, foreign?],
        [
            TableKind::Plain,
            TableKind::Partitioned,
            TableKind::View,
            TableKind::MaterializedView,
            TableKind::Foreign
        ]
    );
    assert_eq!(
        manifest
            .waiting
            .iter()
            .map(|t| t.as_str())
            .collect::<Vec<_>>(),
        ["hr.leave"]
    );
    let staff = table("hr.staff")?;
    let identity = staff.identity.as_ref().context("an identity")?;
    let grade = identity.columns.get("grade").context("a column")?;
    assert_eq!((identity.relation, grade.number), (16_402, 4));
    assert_eq!(
        grade.made_of.context("a digest")?.to_string(),
        "ef".repeat(32)
    );
    assert_eq!(
        staff.dropped.first().context("a column")?.source_type,
        "grade"
    );
    let tags = table("department")?
        .table
        .columns
        .iter()
        .find(|c| c.name == "tags");
    assert_eq!(tags.context("tags")?.data_type.to_string(), "List(Utf8)");
    let text = table("department")?
        .table
        .columns
        .iter()
        .find(|c| c.fidelity != Fidelity::Exact);
    assert_eq!(
        text.context("a text")?.fidelity,
        Fidelity::Text("an enum of the source".into())
    );
    Ok(())
}

#[tokio::test]
async fn every_window_is_what_it_was() -> Result<()> {
    let manifest: LandingManifest = document("landing.json").await?;
    let compare = |reason| Some(Window::Compare { reason });
    let from = |column: &str, value| Watermark {
        column: column.into(),
        value,
    };
    for (name, window) in [
        ("w_none", None),
        ("w_first", Some(Window::First)),
        ("w_replace", Some(Window::Replace)),
        ("hr.staff", Some(Window::Snapshot { xmin: 745 })),
        (
            "w_cursor",
            Some(Window::Cursor {
                from: None,
                overlap: 0,
            }),
        ),
        (
            "department",
            Some(Window::Cursor {
                from: Some(from("id", CursorValue::Integer(7))),
                overlap: 120,
            }),
        ),
        (
            "w_zoned",
            Some(Window::Cursor {
                from: Some(from("at", CursorValue::TimestampTz(-1))),
                overlap: 120_000_000,
            }),
        ),
        (
            "payment",
            compare(CompareReason::CountDiffers {
                source: 14_091,
                landed: 14_093,
            }),
        ),
        ("w_asked", compare(CompareReason::Asked)),
        ("w_due", compare(CompareReason::Due)),
        ("w_no_cursor", compare(CompareReason::NoCursor)),
        ("w_other_system", compare(CompareReason::OtherSystem)),
        ("w_ids_went_back", compare(CompareReason::IdsWentBack)),
        ("w_too_old", compare(CompareReason::TooOld)),
        ("w_schema_changed", compare(CompareReason::SchemaChanged)),
        ("w_other_table", compare(CompareReason::OtherTable)),
        ("w_no_row_versions", compare(CompareReason::NoRowVersions)),
        ("w_method_changed", compare(CompareReason::MethodChanged)),
    ] {
        let landed = manifest.tables.get(name).with_context(|| name.to_owned())?;
        assert_eq!(landed.window, window, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn every_processed_manifest_is_read_and_would_be_written_again_as_it_is() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let log = ManifestLog::<ProcessedManifest>::new(zone(&project, "processed"), "");
    for (number, run) in (1..).zip(RUNS) {
        let manifest = log.read(number).await?;
        assert_eq!((manifest.run.as_str(), manifest.landing), (run, number));
        let file = format!("lake/processed/_manifests/{number:010}.json");
        same_json(&project, &file, &manifest)?;
    }
    let second = log.read(2).await?;
    let payment = second.tables.get("fact_payment").context("it was made")?;
    assert_eq!(payment.output.mode, LoadMode::AppendVersions);
    assert_eq!(
        payment.output.record_id.as_deref(),
        Some("payment_record_id")
    );
    assert_eq!(
        payment.output.schema().field(7).data_type().to_string(),
        "Decimal128(10, 2)"
    );
    assert_eq!((payment.rows_in, payment.fuel), (2, 519_172));
    let through = second.through.get("dim_staff").context("it was made")?;
    assert_eq!((through.source.as_str(), through.landing), ("totesys", 2));
    let other: ProcessedManifest = document("processed.json").await?;
    let modes: Vec<LoadMode> = other
        .tables
        .values()
        .map(|table| table.output.mode)
        .collect();
    assert_eq!(
        modes,
        [
            LoadMode::Scd2,
            LoadMode::Upsert,
            LoadMode::Overwrite,
            LoadMode::AppendVersions
        ]
    );
    Ok(())
}

/// What was read is written as the JSON that was there.
fn same_json<M: Manifest>(project: &Project, file: &str, manifest: &M) -> Result<()> {
    let there: Value = serde_json::from_slice(&std::fs::read(project.path().join(file))?)?;
    assert_eq!(serde_json::to_value(manifest)?, there, "{file}");
    Ok(())
}

#[tokio::test]
async fn landed_and_processed_objects_hold_the_rows_they_held() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let (landed, made) = (zone(&project, "ingestion"), zone(&project, "processed"));
    let landing = ManifestLog::<LandingManifest>::new(landed.clone(), "totesys")
        .read(2)
        .await?;
    let payment = landing.tables.get("payment").context("payment landed")?;
    let changed = rows(&landed, &payment.changed).await?;
    assert_eq!(changed.schema(), payment.table.schema());
    assert_eq!(
        values(&changed)?,
        "1 | 2024-01-02T09:08:07.006 | 2024-01-05T07:55:11 | 11 | 5 | 12345678.90 | 1 | 1 | true | 2024-01-05"
    );
    let amounts = changed.column(5).as_primitive::<Decimal128Type>();
    assert_eq!(amounts.value(0), 1_234_567_890);
    let gone = rows(&landed, &payment.deleted).await?;
    assert_eq!(gone.column(0).as_primitive::<Int32Type>().values(), &[2]);
    let first = ManifestLog::<LandingManifest>::new(landed.clone(), "totesys")
        .read(1)
        .await?;
    let note = first.tables.get("note").context("note landed")?;
    assert_eq!(
        values(&rows(&landed, &note.changed).await?)?,
        "first | 0.5 | 00ff | 2024-01-02T09:08:07Z\nsecond |  |  | "
    );
    let processed = ManifestLog::<ProcessedManifest>::new(made.clone(), "");
    let second = processed.read(2).await?;
    let staff = second.tables.get("dim_staff").context("it was made")?;
    assert_eq!(
        values(&rows(&made, &staff.rows).await?)?,
        "1 | Zoë | O'Keefe | Sales | Manchester | zoe@example\n2 | Bram | Two | Leds | Leeds | bram@example"
    );
    let payment = second.tables.get("fact_payment").context("it was made")?;
    assert_eq!(values(&rows(&made, &payment.retractions).await?)?, "2");
    let first = processed.read(1).await?;
    let payment = first.tables.get("fact_payment").context("it was made")?;
    assert_eq!(
        values(&rows(&made, &payment.rejects).await?)?,
        "payment | 2 | bad-date | payment.payment_date is \"never\", not a calendar date as YYYY-MM-DD | \
         {\"payment_id\":3,\"created_at\":\"2024-01-03T23:59:59.999\",\"last_updated\":\"2024-01-03T23:59:59.999\",\
         \"transaction_id\":13,\"counterparty_id\":5,\"payment_amount\":99.50,\"currency_id\":3,\"payment_type_id\":1,\
         \"paid\":true,\"payment_date\":\"never\"}"
    );
    Ok(())
}

async fn rows(zone: &Arc<dyn Zone>, objects: &[Object]) -> Result<RecordBatch> {
    let named = objects
        .iter()
        .map(|object| (object.key.clone(), object.sha256));
    let batches: Vec<RecordBatch> = parquet::read(zone.clone(), named.collect(), None)
        .try_collect()
        .await?;
    let schema = batches.first().context("rows")?.schema();
    let all = arrow::compute::concat_batches(&schema, &batches)?;
    assert_eq!(
        all.num_rows() as u64,
        objects.iter().map(|object| object.rows).sum::<u64>()
    );
    Ok(all)
}

/// The rows as text: a line each, values between bars, nothing for NULL.
fn values(batch: &RecordBatch) -> Result<String> {
    let columns = batch.columns().iter();
    let columns = columns
        .map(|column| {
            Ok(arrow::util::display::ArrayFormatter::try_new(
                column,
                &Default::default(),
            )?)
        })
        .collect::<Result<Vec<_>>>()?;
    let line = |row| {
        columns
            .iter()
            .map(|c| c.value(row).to_string())
            .collect::<Vec<_>>()
            .join(" | ")
    };
    Ok((0..batch.num_rows())
        .map(line)
        .collect::<Vec<_>>()
        .join("\n"))
}

#[tokio::test]
async fn the_registry_gives_what_was_promoted() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let registry = Registry::new(zone(&project, "modules"));
    let history = registry.history().await?;
    assert_eq!(history.len(), 2);
    let promotion = registry
        .active("dim-staff")
        .await?
        .context("it was promoted")?;
    assert_eq!((promotion.format, promotion.sequence), (1, 1));
    assert_eq!(
        (promotion.who.as_str(), promotion.why.as_str()),
        ("ada", "the first version")
    );
    assert_eq!(promotion.when.to_rfc3339(), "2024-01-01T00:00:00+00:00");
    assert_eq!(promotion.previous, None);
    let module = registry.resolve("dim-staff@1").await?;
    assert_eq!(
        module.digest.to_string(),
        "48509d00c0fbb842849c6cdfbecc7e30a5ef113d8cdfc5148609bcf848d1e8e3"
    );
    let stored = registry.fetch(&module).await?;
    assert_eq!(stored.record.component.bytes, 1_013_053);
    let output = &stored.record.descriptor.output;
    assert_eq!(
        (output.table.as_str(), output.mode),
        ("dim_staff", LoadMode::Overwrite)
    );
    Ok(())
}

#[tokio::test]
async fn a_signed_record_with_parameters_is_read() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let record = project
        .path()
        .join("lake/modules/dim-staff/1.0.0/module.json");
    std::fs::copy(
        fixture::folder(VERSION).join("documents/module.json"),
        record,
    )?;
    let registry = Registry::new(zone(&project, "modules"));
    let error = registry
        .read("dim-staff", "1.0.0")
        .await
        .expect_err("its parameters are not there");
    assert!(error.to_string().contains("not usable"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_component_of_contract_1_0_0_is_loaded_and_says_what_it_said() -> Result<()> {
    let project = fixture::project(VERSION)?;
    let registry = Registry::new(zone(&project, "modules"));
    let cache = project.path().join("cache");
    let sandbox = Sandbox::new(Limits::default(), &cache)?;
    for name in ["dim-staff", "fact-payment"] {
        let stored = registry.read(name, "1.0.0").await?;
        let module = sandbox.load(&stored.component, &stored.parameters)?;
        assert_eq!(module.reference(), &stored.module());
        assert_eq!(
            module.description().output.table,
            stored.record.descriptor.output.table
        );
        let inputs = module.description().inputs.iter().map(|input| &input.table);
        let recorded = stored
            .record
            .descriptor
            .inputs
            .iter()
            .map(|input| &input.table);
        assert!(inputs.eq(recorded), "{name}");
    }
    Ok(())
}
