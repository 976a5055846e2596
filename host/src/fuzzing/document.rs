//! JSON documents as fuzzers make them: any bytes, or a real document with edits.
//!
//! Bytes alone hardly ever get past "unknown field" or "missing field". So an input whose first byte is [`EDITS`] is a
//! list of edits to a real document, and any other input is the document itself.

use arbitrary::{Result, Unstructured};
use serde_json::{Number, Value};

/// What an input begins with that is a list of edits. No JSON does.
pub(super) const EDITS: u8 = 0x01;

/// Edits of one document at most; more would only make it unreadable.
const MOST_EDITS: usize = 8;

/// The document that `input` means, beginning from one of `originals`.
pub(super) fn document(input: &[u8], originals: &[&str]) -> Vec<u8> {
    match input.split_first() {
        Some((&EDITS, edits)) => {
            edited(&mut Unstructured::new(edits), originals).unwrap_or_default()
        }
        _ => input.to_vec(),
    }
}

/// Every key and every short text of `originals`, as JSON writes them.
pub(super) fn words(originals: &[&str]) -> Vec<String> {
    let mut words = Vec::new();
    for original in originals {
        collect(&read(original), &mut words);
    }
    words.sort();
    words.dedup();
    words
}

fn collect(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            words.push(format!("\"{key}\":"));
            collect(value, words);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::String(text) if text.len() <= 32 => words.push(format!("\"{text}\"")),
        _ => {}
    }
}

fn read(original: &str) -> Value {
    serde_json::from_str(original).expect("originals are JSON")
}

fn edited(input: &mut Unstructured<'_>, originals: &[&str]) -> Result<Vec<u8>> {
    let mut document = read(input.choose(originals)?);
    for _ in 0..MOST_EDITS {
        if input.is_empty() {
            break;
        }
        let nodes = count(&document);
        let place = input.int_in_range(0..=nodes - 1)?;
        let other = nth(&mut document, &mut input.int_in_range(0..=nodes - 1)?).cloned();
        if let Some(node) = nth(&mut document, &mut { place }) {
            edit(input, node, other.unwrap_or_default())?;
        }
    }
    Ok(serde_json::to_vec(&document).expect("a value is JSON"))
}

fn edit(input: &mut Unstructured<'_>, node: &mut Value, other: Value) -> Result<()> {
    match (input.int_in_range(0..=5_u8)?, node) {
        (0, node) => *node = scalar(input)?,
        (1, node) => *node = other,
        (2, Value::Object(entries)) => {
            let keys: Vec<String> = entries.keys().cloned().collect();
            if !keys.is_empty() {
                entries.remove(input.choose(&keys)?);
            }
        }
        (3, Value::Object(entries)) => {
            entries.insert(text(input)?, other);
        }
        (2, Value::Array(items)) => drop(items.pop()),
        (_, Value::Array(items)) => items.push(other),
        (_, node) => *node = scalar(input)?,
    }
    Ok(())
}

/// A value that is at an edge of its type more often than not.
fn scalar(input: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match input.int_in_range(0..=6_u8)? {
        0 => Value::Null,
        1 => Value::Bool(input.arbitrary()?),
        2 => Value::from(*input.choose(&[0, 1, u64::MAX, u64::MAX - 1, 1 << 32])?),
        3 => Value::from(input.arbitrary::<i64>()?),
        4 => Number::from_f64(input.arbitrary()?).map_or(Value::Null, Value::Number),
        _ => Value::String(text(input)?),
    })
}

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    let length = input.int_in_range(0..=255_usize)?.min(input.len());
    Ok(String::from_utf8_lossy(input.bytes(length)?).into_owned())
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(entries) => entries.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// The node that comes after `skip` others, counted from the top.
fn nth<'v>(value: &'v mut Value, skip: &mut usize) -> Option<&'v mut Value> {
    if *skip == 0 {
        return Some(value);
    }
    *skip -= 1;
    match value {
        Value::Object(entries) => entries.values_mut().find_map(|value| nth(value, skip)),
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, skip)),
        _ => None,
    }
}
