//! `query`: SQL against the warehouse.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::UsageError;
use super::answer::Answer;
use super::invocation::{Invocation, Output};
use super::text::counted;
use crate::export::{self, ExportError, Format};

/// Ask the warehouse a question in SQL. Only published tables are read, and nothing is written.
///
/// Example: tidemill query "SELECT currency_code, count(*) FROM fact_sales_order_current
/// JOIN dim_currency USING (currency_id) GROUP BY 1" --format csv
#[derive(Debug, Args)]
pub(super) struct Query {
    /// The question, in the SQL of the warehouse.
    sql: String,
    /// How the rows are written [default: by the ending of the file, else table, or json with --output json].
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Write to this file instead of stdout. It appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// A format as a flag names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// Aligned columns, for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One array of objects.
    Json,
    /// Parquet with zstd.
    Parquet,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Table => Self::Table,
            FormatName::Csv => Self::Csv,
            FormatName::Json => Self::Json,
            FormatName::Parquet => Self::Parquet,
        }
    }
}

impl Query {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let format = format(self.format, self.output_file.as_deref(), call.output());
        if let Some(file) = &self.output_file {
            let file = call.folder().join(file);
            return to_file(&self.sql, format, &file, call).await;
        }
        if format == Format::Parquet && std::io::stdout().is_terminal() {
            return Err(UsageError::Choice {
                what: "Parquet is not for a terminal".into(),
                hint: "name a file with --output-file, or choose another --format".into(),
            }
            .into());
        }
        let (schema, batches) = call.pipeline().await?.query(&self.sql).await?;
        let mut out = std::io::BufWriter::new(std::io::stdout());
        let written = export::write(format, schema, batches, &mut out).await;
        let flushed = out.flush().map_err(ExportError::Write);
        match written.and_then(|_| Ok(flushed?)) {
            Err(error) if !is_closed_pipe(&error) => Err(error),
            _ => Ok(Answer::written()),
        }
    }
}

/// What the flag says, else the file's ending, else what the program answers in.
fn format(asked: Option<FormatName>, file: Option<&Path>, output: Output) -> Format {
    let ending = file
        .and_then(Path::extension)
        .and_then(|ending| ending.to_str());
    match (asked, ending, output) {
        (Some(asked), _, _) => asked.into(),
        (None, Some("csv"), _) => Format::Csv,
        (None, Some("json"), _) => Format::Json,
        (None, Some("parquet"), _) => Format::Parquet,
        (None, _, Output::Json | Output::OpenLineage) => Format::Json,
        (None, _, Output::Text) => Format::Table,
    }
}

/// Writes beside the file and renames: a reader never sees half of an answer.
async fn to_file(
    sql: &str,
    format: Format,
    file: &Path,
    call: &Invocation,
) -> crate::Result<Answer> {
    let failed = |cause| UsageError::File {
        file: file.display().to_string(),
        cause,
    };
    let (schema, batches) = call.pipeline().await?.query(sql).await?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut partial = tempfile::Builder::new()
        .prefix(".tidemill-query-")
        .tempfile_in(folder)
        .map_err(failed)?;
    let rows = {
        let mut out = std::io::BufWriter::new(partial.as_file_mut());
        let rows = export::write(format, schema, batches, &mut out).await?;
        out.flush().map_err(failed)?;
        rows
    };
    partial.persist(file).map_err(|error| failed(error.error))?;
    let text = format!("{} in {}\n", counted(rows, "row", "rows"), file.display());
    let facts = serde_json::json!({"rows": rows, "file": file.display().to_string()});
    Ok(Answer::new(text, &facts))
}

/// Whether the reader has gone (`tidemill query … | head`).
fn is_closed_pipe(error: &crate::Error) -> bool {
    matches!(
        error.downcast_ref::<ExportError>(),
        Some(ExportError::Write(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_ending_over_the_answer() {
        let csv = Some(Path::new("a.csv"));
        let other = Some(Path::new("a.txt"));
        assert_eq!(
            format(Some(FormatName::Json), csv, Output::Text),
            Format::Json
        );
        assert_eq!(format(None, csv, Output::Json), Format::Csv);
        assert_eq!(format(None, other, Output::Json), Format::Json);
        assert_eq!(format(None, None, Output::Text), Format::Table);
    }
}
