//! Values as a case writes them, both ways.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field};

const NULL: &str = "NULL";

/// The cells of a line `| a | b |`, without the blanks around them.
pub(super) fn cells(line: &str) -> Result<Vec<String>, String> {
    let inner = line
        .trim()
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'))
        .ok_or("a row of a table begins and ends with a bar")?;
    let mut cells = vec![String::new()];
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped_bar = character == '\\' && characters.next_if_eq(&'|').is_some();
        match (character, cells.last_mut()) {
            ('|', _) => cells.push(String::new()),
            (_, Some(cell)) if escaped_bar => cell.push('|'),
            (other, Some(cell)) => cell.push(other),
            (_, None) => {}
        }
    }
    Ok(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

/// The value of a cell; `None` is NULL.
pub(super) fn value(cell: &str) -> Result<Option<String>, String> {
    if cell == NULL {
        return Ok(None);
    }
    if cell.is_empty() {
        return Err("an empty cell says nothing: write NULL or \"\"".to_owned());
    }
    let Some(inner) = cell.strip_prefix('"') else {
        return Ok(Some(cell.to_owned()));
    };
    let inner = inner
        .strip_suffix('"')
        .ok_or_else(|| format!("{cell} opens a quote and does not close it"))?;
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => text.push(match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(plain @ ('"' | '\\')) => plain,
                _ => {
                    return Err(format!(
                        "{cell} has an escape that is none of \\\" \\\\ \\n \\r \\t"
                    ));
                }
            }),
            (plain, false) => text.push(plain),
        }
    }
    Ok(Some(text))
}

/// The array of a column from its values as texts.
pub(super) fn column(field: &Field, values: Vec<Option<String>>) -> Result<ArrayRef, String> {
    let texts: ArrayRef = Arc::new(StringArray::from(values));
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&texts, field.data_type(), &strict)
        .map_err(|error| format!("in column {}: {error}", field.name()))
}

/// The rows of a batch, each value as a case would write it.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = FormatOptions::new().with_null(NULL);
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    (0..batch.num_rows())
        .map(|row| {
            let values = batch.columns().iter().zip(&columns);
            values
                .map(|(column, formatter)| match column.data_type() {
                    DataType::Utf8 if column.is_valid(row) => {
                        Ok(quoted_if_needed(column.as_string::<i32>().value(row)))
                    }
                    _ => formatter.value(row).try_to_string(),
                })
                .collect()
        })
        .collect()
}

fn quoted_if_needed(text: &str) -> String {
    let plain = !text.is_empty()
        && text != NULL
        && text.trim() == text
        && !text.starts_with('"')
        && !text.contains(['\n', '\r', '\t']);
    if plain {
        return text.replace('|', "\\|");
    }
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '|' => quoted.push_str("\\|"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_written_so_that_it_is_read_back() {
        for text in [
            "",
            "NULL",
            "null",
            " blank ",
            "O'Keefe",
            "a, b",
            "a|b",
            "\"a\"",
            "a\"b",
            "a\\b",
            "\\|",
            "line\nline",
            "tab\t",
            "Zürich",
            "007",
            "\\",
            "\"",
            "|",
        ] {
            let line = format!("| 1 | {} |", quoted_if_needed(text));
            let cells = cells(&line).unwrap();
            assert_eq!(cells.len(), 2, "{line}");
            assert_eq!(value(&cells[1]).unwrap().as_deref(), Some(text), "{line}");
        }
    }

    #[test]
    fn null_is_not_a_text() {
        assert_eq!(value("NULL").unwrap(), None);
        assert_eq!(value("\"NULL\"").unwrap().as_deref(), Some("NULL"));
        assert_eq!(value("\"\"").unwrap().as_deref(), Some(""));
        assert!(value("").is_err());
        assert!(value("\"open").is_err());
        assert!(value("\"\\x\"").is_err());
    }
}
