//! `lineage`: which columns of the sources may be in which columns of the warehouse.

use std::fmt::Write as _;

use clap::Args;

use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{Columns, Paint};
use crate::contract::{Delivery, Role};
use crate::pipeline::lineage::report::{
    ColumnLineage, InputLineage, LineageReport, Maker, Origin, TableLineage,
};

/// Show which columns of the sources may be in a column of the warehouse, and through which module.
///
/// A module is given the columns that it declares and no others: a column that is not shown here is in no
/// column of the table. What a module does with those that it is given happens inside of it, so each of
/// them may be in each of its columns. Nothing but the lake is read: no source and no warehouse is asked.
///
/// With --output openlineage these are run events of OpenLineage, one JSON value a line: of every table the
/// start and the end of the newest run that made it, with its schema and the lineage of its columns.
///
/// Example: tidemill lineage dim_staff.location
#[derive(Debug, Args)]
pub(super) struct Lineage {
    /// The table or view of the warehouse, or one of its columns [default: all tables].
    #[arg(value_name = "TABLE[.COLUMN]")]
    wanted: Option<String>,
}

impl Lineage {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let pipeline = call.pipeline().await?;
        let report = pipeline.lineage(self.wanted.as_deref()).await?;
        let text = match &self.wanted {
            Some(_) => one(&report, call.paint()),
            None => all(&report, call.paint()),
        };
        let events = pipeline.lineage_events(&report);
        let lines = events.iter().map(|event| format!("{event}\n")).collect();
        Ok(Answer {
            events: Some(lines),
            ..Answer::new(text, &report)
        })
    }
}

fn all(report: &LineageReport, paint: Paint) -> String {
    if report.tables.is_empty() {
        return "no tables yet\n".into();
    }
    let mut columns = Columns::new(&["table", "module", "digest", "made", "sees"]);
    for table in &report.tables {
        let Some(maker) = newest(table) else { continue };
        let inputs = maker
            .inputs
            .iter()
            .map(|i| format!("{}.{}", maker.source, i.table));
        columns.row([
            table.table.clone(),
            format!("{} {}", maker.module.name, maker.module.version),
            maker.module.digest.short(),
            landings(maker),
            inputs.collect::<Vec<_>>().join(", "),
        ]);
    }
    columns.render(paint)
}

/// What made the newest rows, or would make the first.
fn newest(table: &TableLineage) -> Option<&Maker> {
    table.makers.last().or(table.next.as_ref())
}

fn one(report: &LineageReport, paint: Paint) -> String {
    let mut text = String::new();
    for table in &report.tables {
        let name = paint.strong(&table.table);
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{name}  {}", table.mode);
        for maker in table.makers.iter().rev() {
            self::maker(&mut text, maker, "made by", paint);
        }
        if let Some(next) = &table.next {
            self::maker(&mut text, next, "next by", paint);
        }
        text.push('\n');
        text.push_str(&columns(table, paint));
        if !table.views.is_empty() {
            let views: Vec<&str> = table.views.iter().map(|view| view.name.as_str()).collect();
            let _ = writeln!(text, "\nalso read as {}", views.join(", "));
        }
        let _ = writeln!(text, "\n{}", paint.faint(&report.certain));
    }
    text
}

fn maker(text: &mut String, maker: &Maker, how: &str, paint: Paint) {
    let _ = writeln!(text, "{how} {}, {}", maker.module, landings(maker));
    for input in &maker.inputs {
        let _ = writeln!(text, "  {}", seen(&maker.source, input, paint));
    }
}

fn landings(maker: &Maker) -> String {
    match (maker.first_landing, maker.last_landing) {
        (Some(first), Some(last)) if first != last => format!("landings {first} to {last}"),
        (Some(only), _) => format!("landing {only}"),
        _ => "nothing yet".into(),
    }
}

fn seen(source: &str, input: &InputLineage, paint: Paint) -> String {
    let names = input.columns.iter().map(|column| match column.sensitive {
        true => paint.doubtful(format!("{} (sensitive)", column.name)),
        false => column.name.clone(),
    });
    let role = match input.role {
        Role::Streamed => "streamed",
        Role::Lookup => "looked up",
    };
    let delivery = match input.delivery {
        Delivery::Changes => "what changed",
        Delivery::Current => "the current rows",
    };
    let names: Vec<String> = names.collect();
    format!(
        "from {source}.{} ({role}, {delivery}): {}",
        input.table,
        names.join(", ")
    )
}

fn columns(table: &TableLineage, paint: Paint) -> String {
    let mut columns = Columns::new(&["column", "type", "filled by"]);
    for column in &table.columns {
        let key = if column.key { " (key)" } else { "" };
        columns.row([
            format!("{}{key}", column.name),
            column.data_type.clone().unwrap_or_else(|| "–".into()),
            origin(column).to_owned(),
        ]);
        if table.columns.len() == 1 {
            for from in &column.from {
                columns.note(paint.faint(format!("may hold {from}")));
            }
        }
    }
    columns.render(paint)
}

fn origin(column: &ColumnLineage) -> &'static str {
    match column.origin {
        Origin::Module => "the module, from any column that it sees",
        Origin::RecordId => "the warehouse: the number of the version",
        Origin::Validity => "the warehouse: when the version was current",
        Origin::Provenance => "tidemill: which run, module and landing made the row",
    }
}
