//! The report of a shadow run as one page: no script, no picture, nothing from elsewhere.

use std::fmt::Write as _;

use super::{change, cost, hidden, is_other, landings, shown};
use crate::pipeline::shadow::report::{RowDifferences, RowExample, ShadowReport};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1a2530}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;margin:.5rem 0}\
th,td{padding:.25rem .75rem;border-bottom:1px solid #d5dde3;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}code{font-family:ui-monospace,monospace}\
td code{overflow-wrap:anywhere}th,td.n{white-space:nowrap}\
.differs{color:#9a4a00}.same{color:#1c6b3a}.note{color:#55646f}\
del{background:#fde8e4;text-decoration:none}ins{background:#e2f4e7;text-decoration:none}";

/// The page.
pub(super) fn page(report: &ShadowReport) -> String {
    let (class, verdict) = match report.differs {
        true => ("differs", "They differ."),
        false => ("same", "They make the same."),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Shadow of {table}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Shadow of <code>{table}</code></h1>\n<p class=\"{class}\"><strong>{verdict}</strong> {landings}.</p>\n\
         <p class=\"note\">Inputs: {inputs}.</p>\n",
        table = escaped(&report.table),
        landings = escaped(&capital(&landings(report))),
        inputs = escaped(&report.inputs),
    );
    if let Some(hidden) = hidden(report) {
        let note = escaped(&capital(&hidden));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "<p class=\"note\">{note}.</p>");
    }
    sides(&mut page, report);
    counts(&mut page, report);
    columns(&mut page, report);
    examples(
        &mut page,
        "Rows that only the candidate makes",
        &report.rows.added_examples,
    );
    examples(
        &mut page,
        "Rows that only the active version makes",
        &report.rows.dropped_examples,
    );
    examples(
        &mut page,
        "Keys that only the candidate takes back",
        &report.retractions.added_examples,
    );
    examples(
        &mut page,
        "Keys that only the active version takes back",
        &report.retractions.dropped_examples,
    );
    rejects(&mut page, report);
    page.push_str("</body>\n</html>\n");
    page
}

fn sides(page: &mut String, report: &ShadowReport) {
    page.push_str(
        "<table>\n<tr><th></th><th>module</th><th>digest</th><th>rows in</th><th>rows out</th><th>fuel</th>\
         <th>time</th><th>memory</th></tr>\n",
    );
    for (name, side) in [("active", &report.active), ("candidate", &report.candidate)] {
        let module = &side.module;
        let _ = write!(
            page,
            "<tr><th>{name}</th><td>{}@{}</td><td><code>{}</code></td>",
            escaped(&module.name),
            escaped(&module.version),
            module.digest
        );
        for number in cost(side) {
            let _ = write!(page, "<td class=\"n\">{}</td>", escaped(&number));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    for skipped in &report.skipped {
        let _ = writeln!(
            page,
            "<p class=\"differs\">Landing {} was left out, {} cannot be run on it: {}</p>",
            skipped.landing,
            escaped(&skipped.module.to_string()),
            escaped(&skipped.reason)
        );
    }
}

fn counts(page: &mut String, report: &ShadowReport) {
    page.push_str(
        "<table>\n<tr><th></th><th>alike</th><th>added</th><th>dropped</th><th>changed</th></tr>\n",
    );
    let mut line = |name: &str, rows: &RowDifferences| {
        let _ = writeln!(
            page,
            "<tr><th>{name}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>",
            rows.same, rows.added, rows.dropped, rows.changed
        );
    };
    line("rows", &report.rows);
    line("retractions", &report.retractions);
    let rejects = &report.rejects;
    let _ = writeln!(
        page,
        "<tr><th>refused</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td></td></tr>\n\
         </table>",
        rejects.same, rejects.added, rejects.dropped
    );
}

fn columns(page: &mut String, report: &ShadowReport) {
    for column in report.columns.iter().filter(|column| is_other(column)) {
        let _ = writeln!(
            page,
            "<h2><code>{}</code> {}</h2>",
            escaped(&column.name),
            change(column)
        );
        if column.examples.is_empty() {
            continue;
        }
        page.push_str(
            "<table>\n<tr><th>landing</th><th>key</th><th>active</th><th>candidate</th></tr>\n",
        );
        for example in &column.examples {
            let _ = writeln!(
                page,
                "<tr><td class=\"n\">{}</td><td>{}</td><td><del>{}</del></td><td><ins>{}</ins></td></tr>",
                example.landing,
                escaped(&example.key.join(", ")),
                escaped(&shown(example.active.as_ref())),
                escaped(&shown(example.candidate.as_ref()))
            );
        }
        page.push_str("</table>\n");
    }
}

fn examples(page: &mut String, title: &str, examples: &[RowExample]) {
    let Some(first) = examples.first() else {
        return;
    };
    let _ = write!(page, "<h2>{title}</h2>\n<table>\n<tr><th>landing</th>");
    for (name, _) in &first.values {
        let _ = write!(page, "<th>{}</th>", escaped(name));
    }
    page.push_str("</tr>\n");
    for example in examples {
        let _ = write!(page, "<tr><td class=\"n\">{}</td>", example.landing);
        for (_, value) in &example.values {
            let _ = write!(page, "<td>{}</td>", escaped(&shown(value.as_ref())));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn rejects(page: &mut String, report: &ShadowReport) {
    let rejects = &report.rejects;
    if rejects.codes.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Refused rows</h2>\n<table>\n<tr><th>code</th><th>active</th><th>candidate</th></tr>\n",
    );
    for code in &rejects.codes {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(&code.code),
            code.active,
            code.candidate
        );
    }
    page.push_str("</table>\n");
    for example in &rejects.examples {
        let by = if example.by_candidate {
            "candidate"
        } else {
            "active version"
        };
        let _ = writeln!(
            page,
            "<p>Only the {by} refuses row {} of <code>{}</code> in landing {}: {}</p>",
            example.row,
            escaped(&example.table),
            example.landing,
            escaped(&example.message)
        );
    }
}

/// Values of others must not become part of the page.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
