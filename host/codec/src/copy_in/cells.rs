//! One value after the other, as the server wants the bytes of its column.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use bytes::{BufMut, BytesMut};

use super::{Wire, numeric};

/// PostgreSQL counts days and microseconds from 2000-01-01, Arrow from 1970-01-01.
pub(super) const EPOCH_DAYS: i32 = 10_957;
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The days and microseconds (from 2000-01-01) that PostgreSQL takes: 4713 BC to 5874897 AD for a date, to
/// 294276 AD for a timestamp. `infinity` lies outside and has no Arrow value.
pub(super) const DAYS: std::ops::Range<i32> = -2_451_545..2_145_031_949;
pub(super) const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// A day; PostgreSQL has the time 24:00:00.
pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// Writes the bytes of one value that is not NULL, or says what is wrong with it.
pub(super) type Cell<'a> =
    Box<dyn Fn(usize, &mut BytesMut) -> Result<(), &'static str> + Send + Sync + 'a>;

pub(super) fn put_cell(
    array: &dyn Array,
    write: &Cell<'_>,
    row: usize,
    out: &mut BytesMut,
) -> Result<(), &'static str> {
    if array.is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    write(row, out)?;
    let length = i32::try_from(out.len() - at - 4).map_err(|_| "a value of more than 2 GiB")?;
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// How the values of `array` are written as `wire`; `None` when they cannot be exactly.
pub(super) fn cells<'a>(array: &'a ArrayRef, wire: &'a Wire) -> Option<Cell<'a>> {
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            (*wire == Wire::Bool).then(|| -> Cell<'a> {
                Box::new(move |row, out| {
                    out.put_u8(values.value(row).into());
                    Ok(())
                })
            })
        }
        DataType::Int8 => integers::<Int8Type>(array, wire),
        DataType::Int16 => integers::<Int16Type>(array, wire),
        DataType::Int32 => integers::<Int32Type>(array, wire),
        DataType::Int64 => integers::<Int64Type>(array, wire),
        DataType::UInt8 => integers::<UInt8Type>(array, wire),
        DataType::UInt16 => integers::<UInt16Type>(array, wire),
        DataType::UInt32 => integers::<UInt32Type>(array, wire),
        DataType::UInt64 => integers::<UInt64Type>(array, wire),
        DataType::Float32 | DataType::Float64 => floats(array, wire),
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, *scale, wire),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, *scale, wire),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, *scale, wire),
        DataType::Decimal256(_, scale) => wide_decimals(array, *scale, wire),
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            texts(move |row| values.value(row), wire)
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            texts(move |row| values.value(row), wire)
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            texts(move |row| values.value(row), wire)
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            bytes(move |row| values.value(row), wire)
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            bytes(move |row| values.value(row), wire)
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            bytes(move |row| values.value(row), wire)
        }
        DataType::FixedSizeBinary(length) => {
            let values = array.as_fixed_size_binary();
            match wire {
                Wire::Uuid if *length == 16 => bytes(move |row| values.value(row), &Wire::Bytea),
                _ => bytes(move |row| values.value(row), wire),
            }
        }
        DataType::Date32 => dates(array, wire),
        DataType::Time32(_) | DataType::Time64(_) => times(array, wire),
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.is_some(), wire),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let span = move |row: usize| {
                let offsets = lists.value_offsets();
                span(offsets.get(row), offsets.get(row + 1))
            };
            arrays(lists.values(), span, wire)
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            let span = move |row: usize| {
                let offsets = lists.value_offsets();
                span(offsets.get(row), offsets.get(row + 1))
            };
            arrays(lists.values(), span, wire)
        }
        _ => None,
    }
}

fn integers<'a, T>(array: &'a ArrayRef, wire: &'a Wire) -> Option<Cell<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = array.as_primitive::<T>();
    matches!(
        wire,
        Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Numeric { .. }
    )
    .then(|| -> Cell<'a> {
        Box::new(move |row, out| put_integer(values.value(row).into(), wire, out))
    })
}

fn put_integer(value: i128, wire: &Wire, out: &mut BytesMut) -> Result<(), &'static str> {
    match wire {
        Wire::Int2 => out.put_i16(
            value
                .try_into()
                .map_err(|_| "an integer beyond the range of smallint")?,
        ),
        Wire::Int4 => out.put_i32(
            value
                .try_into()
                .map_err(|_| "an integer beyond the range of integer")?,
        ),
        Wire::Int8 => out.put_i64(
            value
                .try_into()
                .map_err(|_| "an integer beyond the range of bigint")?,
        ),
        _ => numeric::put(value < 0, value.unsigned_abs(), 0, out),
    }
    Ok(())
}

fn floats<'a>(array: &'a ArrayRef, wire: &'a Wire) -> Option<Cell<'a>> {
    Some(match (array.data_type(), wire) {
        (DataType::Float32, Wire::Float4) => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| {
                out.put_f32(values.value(row));
                Ok(())
            })
        }
        (DataType::Float32, Wire::Float8) => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| {
                out.put_f64(values.value(row).into());
                Ok(())
            })
        }
        (DataType::Float64, Wire::Float8) => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| {
                out.put_f64(values.value(row));
                Ok(())
            })
        }
        _ => return None,
    })
}

fn decimals<'a, T>(array: &'a ArrayRef, scale: i8, wire: &'a Wire) -> Option<Cell<'a>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = array.as_primitive::<T>();
    match wire {
        Wire::Numeric { scale: kept } if keeps(*kept, scale) => Some(Box::new(move |row, out| {
            let value: i128 = values.value(row).into();
            numeric::put(value < 0, value.unsigned_abs(), scale, out);
            Ok(())
        })),
        Wire::Int2 | Wire::Int4 | Wire::Int8 if scale == 0 => Some(Box::new(move |row, out| {
            put_integer(values.value(row).into(), wire, out)
        })),
        _ => None,
    }
}

fn wide_decimals<'a>(array: &'a ArrayRef, scale: i8, wire: &'a Wire) -> Option<Cell<'a>> {
    let values = array.as_primitive::<Decimal256Type>();
    match wire {
        Wire::Numeric { scale: kept } if keeps(*kept, scale) => Some(Box::new(move |row, out| {
            let value = values.value(row);
            let magnitude = value
                .checked_abs()
                .ok_or("a number of more than 76 digits")?;
            numeric::put(value.is_negative(), magnitude, scale, out);
            Ok(())
        })),
        _ => None,
    }
}

/// Whether a column that keeps `kept` digits after the point loses none of `scale`.
fn keeps(kept: Option<i32>, scale: i8) -> bool {
    kept.is_none_or(|kept| kept >= i32::from(scale))
}

fn texts<'a>(
    value: impl Fn(usize) -> &'a str + Send + Sync + 'a,
    wire: &'a Wire,
) -> Option<Cell<'a>> {
    const ZERO: &str = "a text with a zero byte, which PostgreSQL cannot store";
    match wire {
        Wire::Text | Wire::Jsonb => Some(Box::new(move |row, out| {
            let text = value(row).as_bytes();
            if text.contains(&0) {
                return Err(ZERO);
            }
            if *wire == Wire::Jsonb {
                out.put_u8(1); // the version of jsonb's binary form
            }
            out.put_slice(text);
            Ok(())
        })),
        Wire::Uuid => Some(Box::new(move |row, out| {
            let uuid = parse_uuid(value(row)).ok_or("a text that is not a UUID")?;
            out.put_u128(uuid);
            Ok(())
        })),
        _ => None,
    }
}

/// Thirty-two hexadecimal digits, grouped by hyphens as 8-4-4-4-12 or not at all.
fn parse_uuid(text: &str) -> Option<u128> {
    let digits: String = match text.len() {
        32 => text.into(),
        36 if text
            .bytes()
            .enumerate()
            .all(|(i, byte)| matches!(i, 8 | 13 | 18 | 23) == (byte == b'-')) =>
        {
            text.split('-').collect()
        }
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok()
}

fn bytes<'a>(
    value: impl Fn(usize) -> &'a [u8] + Send + Sync + 'a,
    wire: &Wire,
) -> Option<Cell<'a>> {
    (*wire == Wire::Bytea).then(|| -> Cell<'a> {
        Box::new(move |row, out| {
            out.put_slice(value(row));
            Ok(())
        })
    })
}

fn dates<'a>(array: &'a ArrayRef, wire: &Wire) -> Option<Cell<'a>> {
    let values = array.as_primitive::<Date32Type>();
    (*wire == Wire::Date).then(|| -> Cell<'a> {
        Box::new(move |row, out| {
            let days = values
                .value(row)
                .checked_sub(EPOCH_DAYS)
                .filter(|days| DAYS.contains(days))
                .ok_or("a date beyond the range of PostgreSQL")?;
            out.put_i32(days);
            Ok(())
        })
    })
}

fn times<'a>(array: &'a ArrayRef, wire: &Wire) -> Option<Cell<'a>> {
    let Wire::Time { digits } = *wire else {
        return None;
    };
    let put = move |micros: i64, out: &mut BytesMut| {
        if !(0..=DAY_MICROS).contains(&micros) {
            return Err("a time of day beyond 24:00:00");
        }
        out.put_i64(whole(micros, digits)?);
        Ok(())
    };
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            let values = array.as_primitive::<Time32SecondType>();
            Box::new(move |row, out| put(i64::from(values.value(row)) * 1_000_000, out))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            let values = array.as_primitive::<Time32MillisecondType>();
            Box::new(move |row, out| put(i64::from(values.value(row)) * 1_000, out))
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            Box::new(move |row, out| put(values.value(row), out))
        }
        _ => return None,
    })
}

fn timestamps<'a>(
    array: &'a ArrayRef,
    unit: TimeUnit,
    instants: bool,
    wire: &Wire,
) -> Option<Cell<'a>> {
    let Wire::Timestamp { zoned, digits } = *wire else {
        return None;
    };
    if zoned != instants {
        return None;
    }
    let put = move |micros: Option<i64>, out: &mut BytesMut| {
        let micros = micros
            .and_then(|micros| micros.checked_sub(EPOCH_MICROS))
            .filter(|micros| MICROS.contains(micros))
            .ok_or("a timestamp beyond the range of PostgreSQL")?;
        out.put_i64(whole(micros, digits)?);
        Ok(())
    };
    Some(match unit {
        TimeUnit::Second => {
            let values = array.as_primitive::<TimestampSecondType>();
            Box::new(move |row, out| put(values.value(row).checked_mul(1_000_000), out))
        }
        TimeUnit::Millisecond => {
            let values = array.as_primitive::<TimestampMillisecondType>();
            Box::new(move |row, out| put(values.value(row).checked_mul(1_000), out))
        }
        TimeUnit::Microsecond => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row, out| put(Some(values.value(row)), out))
        }
        TimeUnit::Nanosecond => return None,
    })
}

/// `micros`, if a column that keeps `digits` of a second would not round them.
fn whole(micros: i64, digits: u32) -> Result<i64, &'static str> {
    let step = 10_i64.pow(6_u32.saturating_sub(digits));
    if micros % step == 0 {
        Ok(micros)
    } else {
        Err("a time with more digits of a second than its column keeps")
    }
}

fn span<O: Copy + TryInto<usize>>(start: Option<&O>, end: Option<&O>) -> std::ops::Range<usize> {
    let offset = |offset: Option<&O>| offset.and_then(|o| (*o).try_into().ok()).unwrap_or(0);
    offset(start)..offset(end)
}

fn arrays<'a>(
    elements: &'a ArrayRef,
    span: impl Fn(usize) -> std::ops::Range<usize> + Send + Sync + 'a,
    wire: &'a Wire,
) -> Option<Cell<'a>> {
    let Wire::Array { element, oid } = wire else {
        return None;
    };
    if matches!(**element, Wire::Array { .. }) {
        return None;
    }
    let write = cells(elements, element)?;
    Some(Box::new(move |row, out| {
        let span = span(row);
        let length = i32::try_from(span.len()).map_err(|_| "a list of more than 2^31 elements")?;
        out.put_i32(i32::from(length > 0)); // dimensions
        out.put_i32(i32::from(span.clone().any(|i| elements.is_null(i))));
        out.put_u32(*oid);
        if length > 0 {
            out.put_i32(length);
            out.put_i32(1); // the first index
        }
        span.into_iter()
            .try_for_each(|i| put_cell(elements, &write, i, out))
    }))
}
