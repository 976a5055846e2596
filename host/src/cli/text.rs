//! How things are written for people: columns, numbers, durations, colours.

use std::fmt::Display;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use unicode_width::UnicodeWidthStr as _;

use crate::printable;
use crate::watermark::{CursorValue, Watermark, Window};

/// Between two columns.
const GAP: &str = "  ";

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    pub(super) fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    /// What a section is about.
    pub(super) fn strong(self, text: impl Display) -> String {
        self.with(Style::new().bold(), text)
    }

    /// What is there to be looked up.
    pub(super) fn faint(self, text: impl Display) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(super) fn good(self, text: impl Display) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn bad(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// What wants a second look.
    pub(super) fn doubtful(self, text: impl Display) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    fn with(self, style: Style, text: impl Display) -> String {
        let text = printable::whole(&text.to_string());
        match self.coloured {
            true => format!("{style}{text}{style:#}"),
            false => text,
        }
    }
}

/// Which side a column is flush with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows whose cells stand below each other.
#[derive(Debug)]
pub(super) struct Columns {
    heads: Vec<(&'static str, Side)>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// A line below a row that belongs to it.
    Note(String),
}

impl Columns {
    /// Columns of these heads. A head that begins with `>` is flush right, without the sign.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        let head = |head: &&'static str| match head.strip_prefix('>') {
            Some(head) => (head, Side::Right),
            None => (*head, Side::Left),
        };
        Self {
            heads: heads.iter().map(head).collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter();
        let cells = cells.map(|cell| printable::whole(&cell).replace('\n', "\\n"));
        self.rows.push(Row::Cells(cells.collect()));
    }

    /// A line that belongs to the row before.
    pub(super) fn note(&mut self, note: String) {
        self.rows.push(Row::Note(note));
    }

    /// The heads and the rows, each line indented by two blanks.
    pub(super) fn render(&self, paint: Paint) -> String {
        let widths = self.widths();
        let heads = self.heads.iter().map(|(head, _)| *head);
        let mut text = format!("{GAP}{}\n", paint.faint(self.line(heads, &widths)));
        for row in &self.rows {
            let line = match row {
                Row::Cells(cells) => self.line(cells.iter().map(String::as_str), &widths),
                Row::Note(note) => format!("{GAP}{note}"),
            };
            text.push_str(GAP);
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<_> = self.heads.iter().map(|(head, _)| head.width()).collect();
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.width());
                }
            }
        }
        widths
    }

    fn line<'c>(&self, cells: impl Iterator<Item = &'c str>, widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, side)), width) in cells.zip(&self.heads).zip(widths) {
            if !line.is_empty() {
                line.push_str(GAP);
            }
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            match side {
                Side::Left => line.extend([cell, &blanks]),
                Side::Right => line.extend([&blanks, cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A number of rows with its thousands apart: `9,845`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", count(number))
}

/// A size: `1.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// How long something took: `340 ms`, `1.24 s`, `2 m 05 s`.
pub(super) fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.2} s", duration.as_secs_f64()),
        _ => format!("{} m {:02} s", seconds / 60, seconds % 60),
    }
}

/// A point in time, to the second.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What of a table is read, and why.
pub(super) fn window(window: &Window) -> String {
    match window {
        Window::First => "everything, for the first time".into(),
        Window::Rest { .. } => "the rest of the first landing, which is made in parts".into(),
        Window::Snapshot { xmin } => format!("snapshot, since transaction {xmin}"),
        Window::Cursor { from: None, .. } => "cursor, from the beginning".into(),
        Window::Cursor {
            from: Some(from), ..
        } => format!("cursor {}, since {}", from.column, value(&from.value)),
        Window::Compare { reason } => format!("full compare: {reason}"),
        Window::Replace => "everything: there is no key".into(),
    }
}

/// The way a table is read, in one word.
pub(super) fn method(window: &Window) -> &'static str {
    match window {
        Window::First => "first",
        Window::Rest { .. } => "rest",
        Window::Snapshot { .. } => "snapshot",
        Window::Cursor { .. } => "cursor",
        Window::Compare { .. } => "compare",
        Window::Replace => "replace",
    }
}

/// How a cursor moved: `before → after`, or the one value where it stayed.
pub(super) fn moved(before: Option<&Watermark>, after: Option<&Watermark>) -> String {
    let text = |mark: Option<&Watermark>| mark.map_or("–".to_owned(), |mark| value(&mark.value));
    match (before, after) {
        (None, None) => String::new(),
        (before, after) if before == after => text(after),
        (before, after) => format!("{} → {}", text(before), text(after)),
    }
}

fn value(value: &CursorValue) -> String {
    let written = |micros: i64, zone: &str| {
        DateTime::from_timestamp_micros(micros).map_or_else(
            || micros.to_string(),
            |time| format!("{}{zone}", time.format("%Y-%m-%d %H:%M:%S%.3f")),
        )
    };
    match value {
        CursorValue::Integer(number) => number.to_string(),
        CursorValue::Timestamp(micros) => written(*micros, ""),
        CursorValue::TimestampTz(micros) => written(*micros, " UTC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_whatever_the_script() {
        let mut columns = Columns::new(&["table", ">rows", "note"]);
        columns.row(["staff".into(), "20".into(), String::new()]);
        columns.row(["адрес".into(), "9,845".into(), "x".into()]);
        columns.note("a note".into());
        let text = columns.render(Paint::new(false));
        assert_eq!(
            text,
            "  table   rows  note\n  staff     20\n  адрес  9,845  x\n    a note\n"
        );
    }

    #[test]
    fn nobodys_name_moves_the_cursor() {
        let name = "a\u{1b}[2Jb\r\u{202e}c\u{9b}d";
        let escaped = "a\\u{1b}[2Jb\\r\\u{202e}c\\u{9b}d";
        assert_eq!(printable::whole(name), escaped);
        assert_eq!(printable::whole("two\nlines"), "two\nlines");
        assert_eq!(Paint::new(false).bad(name), escaped);
        let mut columns = Columns::new(&["table"]);
        columns.row([format!("{name}\n")]);
        let text = columns.render(Paint::new(false));
        assert_eq!(text, format!("  table\n  {escaped}\\n\n"));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        assert_eq!(Paint::new(false).bad("x"), "x");
        assert!(Paint::new(true).bad("x").starts_with('\u{1b}'));
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn durations_keep_three_digits_or_so() {
        assert_eq!(elapsed(Duration::from_millis(340)), "340 ms");
        assert_eq!(elapsed(Duration::from_millis(1_240)), "1.24 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 m 05 s");
    }

    #[test]
    fn a_cursor_shows_where_it_went() {
        let mark = |micros| {
            Some(Watermark {
                column: "last_updated".into(),
                value: CursorValue::Timestamp(micros),
            })
        };
        assert_eq!(
            moved(mark(0).as_ref(), mark(1_500_000).as_ref()),
            "1970-01-01 00:00:00.000 → 1970-01-01 00:00:01.500"
        );
        assert_eq!(
            moved(mark(0).as_ref(), mark(0).as_ref()),
            "1970-01-01 00:00:00.000"
        );
        assert_eq!(moved(None, None), "");
    }
}
