//! `discover`: what a source holds.

use clap::Args;
use serde::Serialize;

use super::UsageError;
use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{self, Columns, Paint, count, counted};
use crate::config::Plan;
use crate::source::{self, Discovered, SourceOptions};
use crate::table::{Fidelity, Table};
use crate::vault::Vault;
use crate::watermark::CompareReason;

/// List the tables, columns, types and keys of a source. Needs no project: a URL is enough.
///
/// For each table it says whether tidemill can find changes by itself, and which columns could serve as
/// a cursor.
///
/// Example: tidemill discover sqlite://./totesys.sqlite
#[derive(Debug, Args)]
pub(super) struct Discover {
    /// Where the source is.
    url: Option<String>,
    /// A source of the project, by name; not needed when there is only one.
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    source: Option<String>,
}

impl Discover {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let (url, options) = match self.url {
            Some(url) => (url, SourceOptions::default()),
            None => {
                let plan = call.plan().await?;
                let named = choose(&plan, self.source.as_deref())?;
                let vault = Vault::new(plan.vault.clone());
                let url = vault.reveal(&named.url).await?;
                (url, named.options.clone())
            }
        };
        let source = source::open(&url, &options)?;
        let found = source.discover().await?;
        let facts = Found {
            target: source.target(),
            tables: found.iter().map(FoundTable::from).collect(),
        };
        Ok(Answer::new(
            told(source.target(), &found, call.paint()),
            &facts,
        ))
    }
}

fn choose<'p>(
    plan: &'p Plan,
    name: Option<&str>,
) -> Result<&'p crate::config::SourcePlan, UsageError> {
    let names = || plan.sources.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut sources = plan.sources.values();
    match (name, sources.next(), sources.next()) {
        (Some(name), ..) => plan.sources.get(name).ok_or_else(|| UsageError::Choice {
            what: format!("the project has no source `{name}`"),
            hint: format!("it has: {}", names()),
        }),
        (None, Some(only), None) => Ok(only),
        (None, None, _) => Err(UsageError::Choice {
            what: "the project has no source".into(),
            hint: "name a URL: tidemill discover postgresql://user@host/database".into(),
        }),
        (None, Some(_), Some(_)) => Err(UsageError::Choice {
            what: "the project has several sources".into(),
            hint: format!("name one with --source: {}", names()),
        }),
    }
}

/// What was found, as programs read it.
#[derive(Serialize)]
struct Found<'f> {
    target: &'f str,
    tables: Vec<FoundTable<'f>>,
}

#[derive(Serialize)]
struct FoundTable<'f> {
    #[serde(flatten)]
    table: &'f Table,
    rows_estimate: Option<u64>,
    bytes_estimate: Option<u64>,
    cursor_candidates: &'f [source::CursorCandidate],
    /// Whether changes are found without comparing every row.
    finds_changes: bool,
    /// Why they are not.
    compares_because: Option<&'f CompareReason>,
}

impl<'f> From<&'f Discovered> for FoundTable<'f> {
    fn from(found: &'f Discovered) -> Self {
        Self {
            table: &found.table,
            rows_estimate: found.rows_estimate,
            bytes_estimate: found.bytes_estimate,
            cursor_candidates: &found.cursor_candidates,
            finds_changes: found.changes.is_ok(),
            compares_because: found.changes.as_ref().err(),
        }
    }
}

fn told(target: &str, found: &[Discovered], paint: Paint) -> String {
    let tables = counted(found.len() as u64, "table", "tables");
    let mut text = format!(
        "{}  {tables}\n{}",
        paint.strong(target),
        overview(found, paint)
    );
    for table in found {
        text.push_str(&format!(
            "\n{}\n{}",
            paint.strong(&table.table.name),
            columns(&table.table, paint)
        ));
    }
    text
}

fn overview(found: &[Discovered], paint: Paint) -> String {
    let mut columns = Columns::new(&[
        "table",
        "key",
        ">rows",
        ">size",
        "changes",
        "cursor columns",
    ]);
    for found in found {
        let cursors = found.cursor_candidates.iter().map(|candidate| {
            let index = if candidate.indexed { "" } else { " (no index)" };
            format!("{}{index}", candidate.column)
        });
        columns.row([
            found.table.name.to_string(),
            match found.table.key.is_empty() {
                true => "none".into(),
                false => found.table.key.join(", "),
            },
            found
                .rows_estimate
                .map_or("?".into(), |rows| format!("~{}", count(rows))),
            found.bytes_estimate.map_or("?".into(), text::size),
            changes(&found.changes),
            cursors.collect::<Vec<_>>().join(", "),
        ]);
    }
    columns.render(paint)
}

/// How changes are found where the project file does not say otherwise.
fn changes(changes: &Result<(), CompareReason>) -> String {
    match changes {
        Ok(()) => "found by snapshot".into(),
        Err(reason) => format!("found by full compare: {reason}"),
    }
}

fn columns(table: &Table, paint: Paint) -> String {
    let mut columns = Columns::new(&["column", "type", "landed as", "null"]);
    for column in &table.columns {
        columns.row([
            column.name.clone(),
            column.source_type.clone(),
            column.data_type.to_string(),
            match column.nullable {
                true => "yes".into(),
                false => "no".into(),
            },
        ]);
        if let Fidelity::Text(reason) = &column.fidelity {
            columns.note(paint.doubtful(format!("landed as text: {reason}")));
        }
    }
    columns.render(paint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TableName;

    fn found() -> Vec<Discovered> {
        let table = serde_json::from_value(serde_json::json!({
            "name": "staff",
            "kind": "plain",
            "columns": [
                {"name": "staff_id", "source_type": "integer", "data_type": "Int32",
                 "nullable": false, "fidelity": {"kind": "exact"}},
                {"name": "badge", "source_type": "int4range", "data_type": "Utf8",
                 "nullable": true, "fidelity": {"kind": "text", "reason": "Arrow has no ranges"}},
            ],
            "key": ["staff_id"],
            "key_origin": "primary",
        }));
        let table: Table = table.expect("a table");
        let view = Table {
            name: TableName::new("staff_view"),
            key: vec![],
            ..table.clone()
        };
        vec![
            Discovered {
                table,
                identity: None,
                rows_estimate: Some(9_845),
                bytes_estimate: Some(1_310_720),
                cursor_candidates: vec![source::CursorCandidate {
                    column: "last_updated".into(),
                    indexed: false,
                    nullable: false,
                }],
                changes: Ok(()),
            },
            Discovered {
                table: view,
                identity: None,
                rows_estimate: None,
                bytes_estimate: None,
                cursor_candidates: vec![],
                changes: Err(CompareReason::NoRowVersions),
            },
        ]
    }

    #[test]
    fn a_source_is_told_with_its_columns() {
        insta::assert_snapshot!(told("db:5432/totesys", &found(), Paint::new(false)));
    }

    #[test]
    fn a_source_as_json_keeps_its_schema() {
        let found = found();
        let facts = Found {
            target: "db:5432/totesys",
            tables: found.iter().map(FoundTable::from).collect(),
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&facts).expect("JSON"));
    }
}
