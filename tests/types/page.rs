//! The page: what was observed, as Markdown, compared with what is written down.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tidemill_tests::binary::workspace;

const PAGE: &str = "host/TYPES.md";

/// Set, it lets a test write its part of the page anew.
const UPDATE: &str = "TIDEMILL_UPDATE";

/// What one source type becomes.
pub(crate) struct Row {
    pub(crate) source: String,
    pub(crate) arrow: String,
    pub(crate) parquet: String,
    pub(crate) delta: String,
    pub(crate) postgres: String,
    /// Why it is text, where it is.
    pub(crate) reason: Option<String>,
}

/// The rows as a table; types that become the same for the same reason share a line.
pub(crate) fn of_rows(rows: &[Row]) -> String {
    let mut exact: Vec<(String, Vec<&str>)> = Vec::new();
    let mut declared: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows {
        let (kind, line) = match &row.reason {
            None => (
                &mut exact,
                format!(
                    "`{}` | `{}` | `{}` | `{}`",
                    row.arrow, row.parquet, row.delta, row.postgres
                ),
            ),
            Some(reason) => (
                &mut declared,
                format!("{reason} | `{}` | `{}`", row.delta, row.postgres),
            ),
        };
        match kind.iter_mut().find(|(known, _)| *known == line) {
            Some((_, sources)) => sources.push(&row.source),
            None => kind.push((line, vec![&row.source])),
        }
    }
    let mut text = String::from(
        "Exact: one value of Arrow for every value of the source, and the other way round.\n\n\
         | source type | Arrow | Parquet | Delta | PostgreSQL |\n|---|---|---|---|---|\n",
    );
    lines(&mut text, &exact);
    text.push_str(
        "\nAs text, and `tidemill plan` says so: the source's own text of the value, which stands for it alone. In Arrow \
         it is `Utf8`, in Parquet `BYTE_ARRAY String`.\n\n\
         | source type | why | Delta | PostgreSQL |\n|---|---|---|---|\n",
    );
    lines(&mut text, &declared);
    text
}

fn lines(text: &mut String, lines: &[(String, Vec<&str>)]) {
    for (line, sources) in lines {
        let sources: Vec<String> = sources.iter().map(|s| format!("`{s}`")).collect();
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {} | {line} |", sources.join(", "));
    }
}

/// Whether the part of the page between the marks of that name is `observed`; written there when that is asked for.
pub(crate) fn check(part: &str, observed: &str) -> Result<()> {
    // Two tests may write their parts at the same time.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = workspace().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| PAGE)?;
    let begin = format!("<!-- observed: {part} -->\n");
    let end = format!("<!-- end: {part} -->");
    let (head, rest) = page
        .split_once(&begin)
        .with_context(|| format!("{PAGE} has no {begin}"))?;
    let (written, tail) = rest
        .split_once(&end)
        .with_context(|| format!("{PAGE} has no {end}"))?;
    let wanted = format!("\n{observed}\n");
    if written != wanted && tidemill_tests::variable(UPDATE).is_some() {
        std::fs::write(&path, format!("{head}{begin}{wanted}{end}{tail}"))?;
        return Ok(());
    }
    ensure!(
        written == wanted,
        "{PAGE} says something else than what was observed; write it anew with {UPDATE}=1\n{observed}"
    );
    Ok(())
}
