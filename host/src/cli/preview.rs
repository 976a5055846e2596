//! `preview`: a table's module on the first rows.

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::text::{Paint, counted};
use crate::export;
use crate::pipeline::report::RejectReason;

/// Run a warehouse table's module on the first rows of its input. Nothing is written.
///
/// Of columns that are marked sensitive the module is given stand-ins: the same ones for the same values.
///
/// Example: tidemill preview fact_sales_order --rows 20
#[derive(Debug, Args)]
pub(super) struct Preview {
    /// The warehouse table, as the project file names it.
    table: String,
    /// How many rows of the input the module is given.
    #[arg(long, default_value_t = 10, value_name = "N")]
    rows: usize,
}

/// What the module made and refused, as programs read it.
#[derive(Serialize)]
struct Previewed<'p> {
    table: &'p str,
    rows: Box<RawValue>,
    rejects: &'p [RejectReason],
    stand_ins: &'p [String],
}

impl Preview {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let pipeline = call.pipeline().await?;
        let (batches, rejects, stand_ins) = pipeline.preview(&self.table, self.rows).await?;
        let mut text = match batches.first() {
            Some(first) => format!("{}\n", export::table(first.schema(), &batches)?),
            None => "no rows\n".into(),
        };
        text.push_str(&refused(&rejects, call.paint()));
        if !stand_ins.is_empty() {
            let columns = stand_ins.join(", ");
            let note = format!("the module was given stand-ins for what is sensitive: {columns}");
            text.push_str(&format!("{}\n", call.paint().faint(note)));
        }
        let facts = Previewed {
            table: &self.table,
            rows: export::json(&batches)?,
            rejects: &rejects,
            stand_ins: &stand_ins,
        };
        let exit = match rejects.is_empty() {
            true => Exit::Done,
            false => Exit::Flawed,
        };
        Ok(Answer::new(text, &facts).ending(exit))
    }
}

fn refused(rejects: &[RejectReason], paint: Paint) -> String {
    rejects
        .iter()
        .map(|reason| {
            let rows = counted(reason.rows, "row", "rows");
            let line = format!("{rows} rejected, {}: {}", reason.code, reason.message);
            format!("{}\n", paint.doubtful(line))
        })
        .collect()
}
