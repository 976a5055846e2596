//! Rows at the edges of what a module declares that it reads.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use super::draft::{Draft, DraftInput, key, places};
use crate::cases::{self, CaseContext};
use crate::contract::{Delivery, Description, Role};

/// Generated inputs of a module, besides the one without any rows.
const ROUNDS: u64 = 8;
/// The most rows of one of its inputs.
const MOST_ROWS: u64 = 12;

/// Numbers that are the same for the same seed: a linear generator with its high bits mixed in, which is enough to vary
/// rows, so no crate is needed for it.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 32) % bound.max(1)
    }

    fn one<'v>(&mut self, values: &'v [String]) -> Option<&'v String> {
        let at = self.below(values.len() as u64);
        values.get(usize::try_from(at).ok()?)
    }
}

/// Values of a column: its edges, and what stands in the cases, so that joins find something and codes are known.
struct Pool {
    values: Vec<String>,
}

/// Generated inputs: none, every edge once, and mixes of edges with known values, with and without keys that come twice.
pub(super) fn generated(described: &Description, known: &[Draft], seed: u64) -> Vec<Draft> {
    let context = known
        .first()
        .map(|draft| draft.context.clone())
        .unwrap_or_default();
    let pools: Vec<Vec<Pool>> = described
        .inputs
        .iter()
        .enumerate()
        .map(|(number, input)| {
            let fields = input.schema.fields().iter().enumerate();
            fields
                .map(|(column, field)| Pool::of(field, number, column, known))
                .collect()
        })
        .collect();
    let mut drafts = vec![empty(described, &context)];
    drafts.push(draft(described, &context, false, |number, _| {
        let pools = pools.get(number).map(Vec::as_slice).unwrap_or_default();
        let most = pools
            .iter()
            .map(|pool| pool.values.len())
            .max()
            .unwrap_or(0);
        let at = |pool: &Pool, row: usize| {
            let values = &pool.values;
            values
                .get(row % values.len().max(1))
                .cloned()
                .unwrap_or_else(|| "null".into())
        };
        (0..most)
            .map(|row| pools.iter().map(|pool| at(pool, row)).collect())
            .collect()
    }));
    for round in 0..ROUNDS {
        let mut dice = Dice::new(seed.wrapping_add(round));
        let twice = round % 4 == 3;
        drafts.push(draft(described, &context, twice, |number, deleted| {
            let pools = pools.get(number).map(Vec::as_slice).unwrap_or_default();
            let rows = if deleted {
                dice.below(4)
            } else {
                1 + dice.below(MOST_ROWS)
            };
            let mut made: Vec<Vec<String>> = Vec::new();
            for _ in 0..rows {
                let cell = |pool: &Pool| {
                    dice.one(&pool.values)
                        .cloned()
                        .unwrap_or_else(|| "null".into())
                };
                made.push(pools.iter().map(cell).collect());
            }
            made
        }));
    }
    drafts
}

fn empty(described: &Description, context: &CaseContext) -> Draft {
    Draft {
        context: context.clone(),
        inputs: described
            .inputs
            .iter()
            .map(|_| DraftInput::default())
            .collect(),
        twice: false,
    }
}

/// A draft of what `rows` gives for each input, of which keys that came before are left out unless they may come twice.
fn draft(
    described: &Description,
    context: &CaseContext,
    twice: bool,
    mut rows: impl FnMut(usize, bool) -> Vec<Vec<String>>,
) -> Draft {
    let mut draft = empty(described, context);
    draft.twice = twice;
    for (number, (input, declared)) in draft.inputs.iter_mut().zip(&described.inputs).enumerate() {
        let places = places(&declared.schema, &declared.key);
        let mut seen = BTreeSet::new();
        // Keys that come twice are a matter of the rows that are streamed: a lookup without a key is no lookup.
        let free = twice && declared.role == Role::Streamed;
        input.rows = rows(number, false)
            .into_iter()
            .filter(|row| {
                let key: Vec<String> = key(row, &places).into_iter().map(str::to_owned).collect();
                let whole = !key.iter().any(|part| part == "null");
                match (whole, declared.role) {
                    (false, Role::Lookup) => false,
                    (false, Role::Streamed) => true,
                    (true, _) => seen.insert(key.clone()) || free || key.is_empty(),
                }
            })
            .collect();
        if declared.delivery == Delivery::Changes && !places.is_empty() {
            let keys = rows(number, true).into_iter().map(|row| {
                let key = key(&row, &places);
                key.into_iter().map(str::to_owned).collect::<Vec<_>>()
            });
            input.deleted = keys
                .filter(|key| !key.iter().any(|part| part == "null") && seen.insert(key.clone()))
                .collect();
        }
    }
    draft
}

impl Pool {
    fn of(field: &Field, input: usize, column: usize, known: &[Draft]) -> Self {
        let mut values = edges(field.data_type());
        for draft in known {
            let rows = draft
                .inputs
                .get(input)
                .map(|input| input.rows.as_slice())
                .unwrap_or_default();
            values.extend(
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .take(8)
                    .cloned(),
            );
        }
        let mut values: Vec<String> = values
            .iter()
            .filter_map(|value| plain(field, value))
            .collect();
        let mut seen = BTreeSet::new();
        values.retain(|value| seen.insert(value.clone()));
        Self { values }
    }
}

/// What a value is made when it does not matter: the simplest first.
pub(super) fn simplest(field: &Field) -> Vec<String> {
    let values = edges(field.data_type()).into_iter();
    let values = values.filter_map(|value| plain(field, &value));
    let mut values: Vec<String> = values.take(1).collect();
    if field.is_nullable() {
        values.insert(0, "null".to_owned());
    }
    values
}

/// A value in the one way in which cases are written, so that equal values have equal texts; `None` where the column
/// cannot have it.
fn plain(field: &Field, value: &str) -> Option<String> {
    let column = cases::value::column(field, &[value]).ok()?;
    Some(cases::value::json(&column, 0))
}

fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn numbers<N: ToString>(values: [N; 5]) -> Vec<String> {
    let quoted = values
        .iter()
        .map(|value| format!("\"{}\"", value.to_string()));
    quoted.chain(["null".to_owned()]).collect()
}

/// Edges of a type as a case writes them, the plainest first.
fn edges(data_type: &DataType) -> Vec<String> {
    match data_type {
        DataType::Boolean => owned(&["false", "true", "null"]),
        DataType::Int8 => numbers([0, 1, -1, i8::MAX, i8::MIN]),
        DataType::Int16 => numbers([0, 1, -1, i16::MAX, i16::MIN]),
        DataType::Int32 => numbers([0, 1, -1, i32::MAX, i32::MIN]),
        DataType::Int64 => numbers([0, 1, -1, i64::MAX, i64::MIN]),
        DataType::UInt8 => numbers([0, 1, 2, u8::MAX - 1, u8::MAX]),
        DataType::UInt16 => numbers([0, 1, 2, u16::MAX - 1, u16::MAX]),
        DataType::UInt32 => numbers([0, 1, 2, u32::MAX - 1, u32::MAX]),
        DataType::UInt64 => numbers([0, 1, 2, u64::MAX - 1, u64::MAX]),
        DataType::Float16 => owned(&["0.0", "-0.0", "65504.0", "\"NaN\"", "\"-Infinity\"", "null"]),
        DataType::Float32 | DataType::Float64 => owned(&[
            "0.0",
            "-0.0",
            "1e38",
            "-1e-38",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\"",
            "null",
        ]),
        DataType::Utf8 | DataType::LargeUtf8 => texts(),
        DataType::Binary | DataType::LargeBinary => {
            owned(&["\"\"", "\"00\"", "\"ff00ff\"", "null"])
        }
        DataType::FixedSizeBinary(size) => {
            let size = usize::try_from(*size).unwrap_or_default();
            vec![
                format!("\"{}\"", "00".repeat(size)),
                format!("\"{}\"", "ff".repeat(size)),
                "null".into(),
            ]
        }
        DataType::Decimal32(digits, places)
        | DataType::Decimal64(digits, places)
        | DataType::Decimal128(digits, places)
        | DataType::Decimal256(digits, places) => decimals(*digits, *places),
        DataType::Date32 => {
            let mut days = owned(&[
                "\"1970-01-01\"",
                "\"0001-01-01\"",
                "\"9999-12-31\"",
                "\"2024-02-29\"",
                "null",
            ]);
            days.extend([i32::MIN.to_string(), i32::MAX.to_string()]);
            days
        }
        DataType::Date64 => owned(&["\"1970-01-01\"", "\"0001-01-01\"", "\"9999-12-31\"", "null"]),
        DataType::Time32(_) | DataType::Time64(_) => {
            owned(&["\"00:00:00\"", "\"23:59:59\"", "\"12:34:56\"", "null"])
        }
        DataType::Timestamp(unit, zone) => {
            let z = if zone.is_some() { "Z" } else { "" };
            let t = if zone.is_some() { "T" } else { " " };
            let mut times: Vec<String> = [
                "1970-01-01 00:00:00",
                "1969-12-31 23:59:59",
                "2024-02-29 12:00:00",
            ]
            .iter()
            .map(|time| format!("\"{}{z}\"", time.replace(' ', t)))
            .collect();
            times.push("null".into());
            // What is beyond these ends no source has.
            if *unit == TimeUnit::Microsecond {
                times.extend([i64::MIN.to_string(), i64::MAX.to_string()]);
            }
            times
        }
        DataType::Duration(_) => owned(&["0", "-1", "9007199254740992", "null"]),
        DataType::Interval(IntervalUnit::YearMonth) => owned(&["0", "-14", "null"]),
        DataType::Interval(IntervalUnit::DayTime) => owned(&["[0, 0]", "[-1, 5]", "null"]),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            owned(&["[0, 0, 0]", "[1, -2, 3]", "null"])
        }
        DataType::List(item) | DataType::LargeList(item) => {
            let items = edges(item.data_type());
            let items = items
                .into_iter()
                .filter(|value| item.is_nullable() || value != "null");
            let items: Vec<String> = items.take(3).collect();
            vec![
                "[]".into(),
                format!("[{}]", items.join(", ")),
                "null".into(),
            ]
        }
        DataType::FixedSizeList(item, size) => {
            let one = simplest(item).pop().unwrap_or_default();
            let items = vec![one; usize::try_from(*size).unwrap_or_default()];
            vec![format!("[{}]", items.join(", ")), "null".into()]
        }
        DataType::Struct(parts) => {
            let parts = parts.iter().map(|part| {
                let value = simplest(part).pop().unwrap_or_default();
                format!("{}: {value}", serde_json::Value::from(part.name().as_str()))
            });
            vec![
                format!("{{{}}}", parts.collect::<Vec<_>>().join(", ")),
                "null".into(),
            ]
        }
        DataType::Map(..) => owned(&["[]", "null"]),
        _ => owned(&["null"]),
    }
}

/// Texts that are no trouble, and texts that are: beginnings of injections, escapes, other scripts, dates that are none.
fn texts() -> Vec<String> {
    let texts = [
        "",
        "a",
        " ",
        "NULL",
        "O'Keefe",
        "\"; DROP TABLE t; --",
        "\\",
        "a,b\tc\nd\r",
        "\u{0}",
        "\u{202e}abc",
        "Zürich 🦀 e\u{301}",
        "2024-02-29",
        "2023-02-29",
        "0001-01-01",
        "9999-12-31",
        "10000-01-01",
        "1",
        "-0",
    ];
    let long = "ä".repeat(1_000);
    let written = texts.iter().copied().chain([long.as_str()]);
    let written = written.map(|text| serde_json::Value::from(text).to_string());
    written.chain(["null".to_owned()]).collect()
}

fn decimals(digits: u8, places: i8) -> Vec<String> {
    let nines = "9".repeat(usize::from(digits));
    let largest = match usize::try_from(places) {
        Ok(0) => nines,
        Ok(places) if places < nines.len() => {
            let (whole, fraction) = nines.split_at(nines.len() - places);
            format!("{whole}.{fraction}")
        }
        Ok(places) => format!("0.{}{nines}", "0".repeat(places - nines.len())),
        Err(_) => format!("{nines}{}", "0".repeat(usize::from(places.unsigned_abs()))),
    };
    vec![
        "\"0\"".into(),
        format!("\"{largest}\""),
        format!("\"-{largest}\""),
        "null".into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::value;

    #[test]
    fn every_edge_is_a_value_of_its_type() {
        use std::sync::Arc;
        let item = Arc::new(Field::new("item", DataType::Int32, false));
        for data_type in [
            DataType::Boolean,
            DataType::Int8,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt64,
            DataType::Float16,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Binary,
            DataType::FixedSizeBinary(3),
            DataType::Decimal128(10, 2),
            DataType::Decimal128(5, 5),
            DataType::Decimal128(5, -2),
            DataType::Decimal32(3, 0),
            DataType::Decimal256(76, 76),
            DataType::Date32,
            DataType::Date64,
            DataType::Time32(TimeUnit::Second),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
            DataType::Duration(TimeUnit::Second),
            DataType::Interval(IntervalUnit::YearMonth),
            DataType::Interval(IntervalUnit::DayTime),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::List(item.clone()),
            DataType::FixedSizeList(item.clone(), 2),
            DataType::Struct(vec![item].into()),
        ] {
            let field = Field::new("c", data_type, true);
            let edges = edges(field.data_type());
            assert!(edges.len() > 1 && edges.first().is_some_and(|edge| edge != "null"));
            let cells: Vec<&str> = edges.iter().map(String::as_str).collect();
            let read = value::column(&field, &cells);
            assert!(read.is_ok(), "{}: {read:?}", field.data_type());
        }
    }
}
