//! Lineage in the words of OpenLineage: run events with the facets `schema` and `columnLineage`.
//!
//! Datasets are named after the specification's rules for naming, so that they meet those of other producers: a table of
//! PostgreSQL by host, port, database and schema; a file by its path. Where a URL cannot be resolved here, the names of
//! the project file stand for it.

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::report::{ColumnLineage, LineageReport, Maker, Origin, TableLineage};
use crate::config::{Plan, Secret};
use crate::connection::postgres::PgUrl;
use crate::digest::Digest;
use crate::run::RunId;

const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const SCHEMA: &str =
    "https://openlineage.io/spec/facets/1-0-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet";
const COLUMN_LINEAGE: &str = "https://openlineage.io/spec/facets/1-0-1/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet";
/// Ours: which code it was.
const MODULE: &str = "urn:tidemill:facet:module:1";
/// The schema of PostgreSQL that tables are in whose names say none.
const PUBLIC: &str = "public";

/// A namespace, and what the names in it begin with.
struct Place {
    namespace: String,
    prefix: String,
    /// Of PostgreSQL the schema of tables whose names say none.
    schema: Option<String>,
    /// What stands between the parts of a name.
    separator: &'static str,
}

/// The start and the end of the newest run of every table.
pub(super) fn events(plan: &Plan, report: &LineageReport) -> Vec<Value> {
    let warehouse = warehouse(plan);
    let tables = report.tables.iter();
    let events = tables.filter_map(|table| {
        let maker = table.makers.last()?;
        let run = maker.run.as_ref()?;
        let source = source(plan, &maker.source);
        let inputs = inputs(&source, maker);
        let outputs = json!([output(&source, &warehouse, table, maker)]);
        Some([
            event("START", plan, run, table, maker, &json!([]), &json!([])),
            event("COMPLETE", plan, run, table, maker, &inputs, &outputs),
        ])
    });
    events.flatten().collect()
}

fn event(
    kind: &str,
    plan: &Plan,
    run: &RunId,
    table: &TableLineage,
    maker: &Maker,
    inputs: &Value,
    outputs: &Value,
) -> Value {
    let module = &maker.module;
    json!({
        "eventType": kind,
        "eventTime": began(run, maker).to_rfc3339_opts(SecondsFormat::Millis, true),
        "producer": producer(),
        "schemaURL": EVENT,
        "run": {"runId": run_id(run, table, maker)},
        "job": {
            "namespace": plan.name,
            "name": table.table,
            "facets": {
                "tidemill_module": {
                    "_producer": producer(),
                    "_schemaURL": MODULE,
                    "name": module.name,
                    "version": module.version,
                    "digest": format!("sha256:{}", module.digest),
                    "run": run.as_str(),
                    "landing": maker.last_landing,
                },
            },
        },
        "inputs": inputs,
        "outputs": outputs,
    })
}

fn inputs(source: &Place, maker: &Maker) -> Value {
    let inputs = maker.inputs.iter().map(|input| {
        let columns = input.columns.iter();
        let fields = columns.map(|column| json!({"name": column.name, "type": column.data_type}));
        json!({
            "namespace": source.namespace,
            "name": source.name(&input.table),
            "facets": {"schema": schema(fields.collect())},
        })
    });
    inputs.collect()
}

fn output(source: &Place, warehouse: &Place, table: &TableLineage, maker: &Maker) -> Value {
    let fields = table.columns.iter().map(|column| match &column.data_type {
        Some(data_type) => json!({"name": column.name, "type": data_type}),
        None => json!({"name": column.name}),
    });
    let inputs: Vec<Value> = maker
        .inputs
        .iter()
        .flat_map(|input| {
            let name = source.name(&input.table);
            input.columns.iter().map(move |column| {
                json!({"namespace": source.namespace, "name": name, "field": column.name})
            })
        })
        .collect();
    let is_made = |column: &&ColumnLineage| column.origin == Origin::Module;
    let columns = table.columns.iter().filter(is_made);
    let lineage: serde_json::Map<String, Value> = columns
        .map(|column| (column.name.clone(), json!({"inputFields": inputs})))
        .collect();
    json!({
        "namespace": warehouse.namespace,
        "name": warehouse.name(&table.table),
        "facets": {
            "schema": schema(fields.collect()),
            "columnLineage": {
                "_producer": producer(),
                "_schemaURL": COLUMN_LINEAGE,
                "fields": lineage,
            },
        },
    })
}

fn schema(fields: Vec<Value>) -> Value {
    json!({"_producer": producer(), "_schemaURL": SCHEMA, "fields": fields})
}

fn producer() -> String {
    format!("urn:tidemill:{}", env!("CARGO_PKG_VERSION"))
}

/// When the run began: its id says it.
fn began(run: &RunId, maker: &Maker) -> DateTime<Utc> {
    let begun = run.as_str().split('-').next().unwrap_or_default();
    match NaiveDateTime::parse_from_str(begun, "%Y%m%dT%H%M%S%3fZ") {
        Ok(begun) => begun.and_utc(),
        Err(_) => maker.logical_time.unwrap_or_default(),
    }
}

/// The same UUID whenever the same run of the same table is told: of version 8, the bits taken from a digest.
fn run_id(run: &RunId, table: &TableLineage, maker: &Maker) -> String {
    let landing = maker.last_landing.unwrap_or_default().to_be_bytes();
    let parts = [run.as_str().as_bytes(), table.table.as_bytes(), &landing];
    let digest = Digest::of_parts(parts);
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *digest.as_bytes();
    let (g, i) = ((g & 0x0f) | 0x80, (i & 0x3f) | 0x80);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    [
        hex(&[a, b, c, d]),
        hex(&[e, f]),
        hex(&[g, h]),
        hex(&[i, j]),
        hex(&[k, l, m, n, o, p]),
    ]
    .join("-")
}

impl Place {
    fn name(&self, table: &str) -> String {
        let schema = self.schema.as_deref().filter(|_| !table.contains('.'));
        let parts = [Some(self.prefix.as_str()), schema, Some(table)];
        let parts: Vec<&str> = parts.into_iter().flatten().collect();
        parts.join(self.separator)
    }
}

fn source(plan: &Plan, name: &str) -> Place {
    let url = plan.sources.get(name).map(|source| &source.url);
    let known = url.and_then(|url| postgres(url, PUBLIC).or_else(|| file(url)));
    known.unwrap_or_else(|| Place {
        namespace: format!("tidemill://{}", plan.name),
        prefix: name.to_owned(),
        schema: None,
        separator: ".",
    })
}

fn warehouse(plan: &Plan) -> Place {
    let url = &plan.warehouse.url;
    if let Some(place) = postgres(url, &plan.warehouse.options.schema) {
        return place;
    }
    let folder = url
        .expose()
        .ok()
        .and_then(|url| url.strip_prefix("delta://"));
    let folder = folder.map(|folder| plan.base.join(folder.strip_prefix("./").unwrap_or(folder)));
    let folder = folder.and_then(|folder| std::path::absolute(folder).ok());
    Place {
        namespace: "file".into(),
        prefix: folder.map_or_else(|| "warehouse".into(), |f| f.display().to_string()),
        schema: None,
        separator: "/",
    }
}

/// `postgres://host:port`, and the database.
fn postgres(url: &Secret, schema: &str) -> Option<Place> {
    let parsed = PgUrl::parse(url.expose().ok()?).ok()?;
    let (host, database) = parsed.target().rsplit_once('/')?;
    // A socket's folder and a list of hosts are no authority of a URI.
    let is_authority = !host.starts_with('/') && !host.contains([',', ' ']);
    is_authority.then(|| Place {
        namespace: format!("postgres://{host}"),
        prefix: database.to_owned(),
        schema: Some(schema.to_owned()),
        separator: ".",
    })
}

fn file(url: &Secret) -> Option<Place> {
    let path = url.expose().ok()?.strip_prefix("sqlite://")?;
    Some(Place {
        namespace: "file".into(),
        prefix: path.to_owned(),
        schema: None,
        separator: "/",
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};
    use crate::contract::ModuleRef;

    const PROJECT: &str = "name = \"shop\"\n\
        [source.a]\nurl = \"postgresql://ada:lovelace@db.example:6432/totesys?sslmode=require\"\n\
        [source.b]\nurl = \"sqlite:///srv/shop.db\"\n\
        [source.c]\nurl = \"${env:NOT_SET}\"\n\
        [source.d]\nurl = \"postgresql://ada@%2Frun%2Fpostgresql/totesys\"\n";

    fn plan(warehouse: &str) -> Plan {
        let file = Path::new("tidemill.toml");
        let text = format!("{PROJECT}{warehouse}");
        config::parse(
            &text,
            file,
            Path::new("/project"),
            &Environment::default(),
            &[],
        )
        .expect("a good project")
    }

    fn named(place: &Place, table: &str) -> (String, String) {
        (place.namespace.clone(), place.name(table))
    }

    #[test]
    fn a_dataset_is_named_by_where_it_is_and_never_with_a_password() {
        let plan = plan("");
        for (name, table, namespace, dataset) in [
            (
                "a",
                "staff",
                "postgres://db.example:6432",
                "totesys.public.staff",
            ),
            (
                "a",
                "hr.staff",
                "postgres://db.example:6432",
                "totesys.hr.staff",
            ),
            ("b", "staff", "file", "/srv/shop.db/staff"),
            ("c", "staff", "tidemill://shop", "c.staff"),
            ("d", "staff", "tidemill://shop", "d.staff"),
            ("gone", "staff", "tidemill://shop", "gone.staff"),
        ] {
            let place = source(&plan, name);
            assert_eq!(named(&place, table), (namespace.into(), dataset.into()));
        }
    }

    #[test]
    fn the_warehouse_is_a_folder_or_a_schema() {
        let folder = named(&warehouse(&plan("")), "dim_staff");
        assert_eq!(
            folder,
            ("file".into(), "/project/warehouse/dim_staff".into())
        );
        let server = plan("[warehouse]\nurl = \"postgresql://dw/star\"\nschema = \"sales\"");
        let server = named(&warehouse(&server), "dim_staff");
        assert_eq!(
            server,
            ("postgres://dw:5432".into(), "star.sales.dim_staff".into())
        );
    }

    #[test]
    fn a_run_has_one_id_per_table_and_the_time_in_its_name() {
        let run = RunId::from("20261121T093000123Z-1f2e3d4c".to_owned());
        let module = ModuleRef {
            name: "dim-staff".into(),
            version: "1.0.0".into(),
            digest: Digest::of("module"),
        };
        let maker = Maker::of(module, "a".into());
        let table = |name: &str| TableLineage {
            table: name.into(),
            mode: crate::contract::LoadMode::Upsert,
            makers: Vec::new(),
            next: None,
            columns: Vec::new(),
            views: Vec::new(),
        };
        let time = began(&run, &maker).to_rfc3339_opts(SecondsFormat::Millis, true);
        assert_eq!(time, "2026-11-21T09:30:00.123Z");
        let id = run_id(&run, &table("dim_staff"), &maker);
        assert_eq!(id, run_id(&run, &table("dim_staff"), &maker));
        assert_ne!(id, run_id(&run, &table("dim_date"), &maker));
        let bytes = id.as_bytes();
        assert_eq!((bytes.len(), bytes[14]), (36, b'8'));
        assert!(b"89ab".contains(&bytes[19]), "{id}");
    }
}
