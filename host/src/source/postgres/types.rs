//! How each type of PostgreSQL is landed: the fidelity matrix of this source.
//!
//! A type that is exact has one Arrow value for every value that a table normally holds. What such a type
//! can hold besides and Arrow cannot stops the table with an error that names the column, because landing
//! something else would be a silent change: `NaN` in `numeric(p,s)`; `infinity` and years after 294 246 in
//! dates and timestamps; `24:00:00`. Rejected: landing these columns as text for the sake of values that
//! hardly any table has, which would cost every module its typed column.
//!
//! Every other type is landed as the text that the server itself writes for it, and says why.

use arrow::datatypes::{DataType, TimeUnit};
use tokio_postgres::types::Type;

use crate::table::Fidelity;

/// The most digits of an Arrow decimal of 128 and of 256 bits.
const DECIMAL_128_DIGITS: u8 = 38;
const DECIMAL_256_DIGITS: u8 = 76;

/// A type of the server with its domains resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct BaseType {
    /// Its object id. Those of built-in types never change.
    pub(super) oid: u32,
    /// Its modifier: precision and scale of a numeric; -1 without.
    pub(super) modifier: i32,
    /// Whether it is an enum.
    pub(super) is_enum: bool,
}

/// How the server sends the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wire {
    /// In the type's binary form, which is that of the landed type.
    #[default]
    Binary,
    /// As the text that the server writes for it, because its binary form is another.
    Cast,
    /// As the 16 bytes of a uuid, of which we write the text: the server would take three times as long.
    Uuid,
    /// As the text of a jsonb behind the version of its form.
    Jsonb,
}

/// How a type is landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Landing {
    pub(super) data_type: DataType,
    pub(super) fidelity: Fidelity,
    pub(super) wire: Wire,
}

impl Landing {
    fn exact(data_type: DataType) -> Self {
        Self {
            data_type,
            fidelity: Fidelity::Exact,
            wire: Wire::Binary,
        }
    }

    /// Landed as text that stands for exactly one value.
    fn exact_text(wire: Wire) -> Self {
        Self {
            data_type: DataType::Utf8,
            fidelity: Fidelity::Exact,
            wire,
        }
    }

    fn text(reason: &str) -> Self {
        Self {
            data_type: DataType::Utf8,
            fidelity: Fidelity::Text(reason.to_owned()),
            wire: Wire::Cast,
        }
    }
}

/// How values of `base` are landed.
pub(super) fn landing(base: BaseType) -> Landing {
    // The binary form of an enum and of a name is their text.
    if base.is_enum {
        return Landing::exact_text(Wire::Binary);
    }
    let Some(known) = Type::from_oid(base.oid) else {
        return Landing::text("a type of its own has no Arrow type");
    };
    let micros = TimeUnit::Microsecond;
    match known.name() {
        "bool" => Landing::exact(DataType::Boolean),
        "int2" => Landing::exact(DataType::Int16),
        "int4" => Landing::exact(DataType::Int32),
        // An oid has 32 bits and no sign.
        "int8" | "oid" => Landing::exact(DataType::Int64),
        "float4" => Landing::exact(DataType::Float32),
        "float8" => Landing::exact(DataType::Float64),
        "numeric" => numeric(base.modifier),
        // The cast of char(n) to text would strip its blanks.
        "text" | "varchar" | "bpchar" | "json" => Landing::exact(DataType::Utf8),
        // The canonical text of a uuid is one to one and what people search for; 16 bytes are neither.
        "uuid" => Landing::exact_text(Wire::Uuid),
        "jsonb" => Landing::exact_text(Wire::Jsonb),
        "name" => Landing::exact_text(Wire::Binary),
        "bytea" => Landing::exact(DataType::Binary),
        "date" => Landing::exact(DataType::Date32),
        "time" => Landing::exact(DataType::Time64(micros)),
        "timestamp" => Landing::exact(DataType::Timestamp(micros, None)),
        "timestamptz" => Landing::exact(DataType::Timestamp(micros, Some("UTC".into()))),
        "timetz" => Landing::text("a time of day with a zone has no Arrow type"),
        "interval" => Landing::text("months, days and microseconds do not convert into each other"),
        "money" => Landing::text("its decimal places depend on the server's locale"),
        "inet" | "cidr" | "macaddr" | "macaddr8" => {
            Landing::text("a network address has no Arrow type")
        }
        "xml" => Landing::text("XML has no Arrow type"),
        "bit" | "varbit" => Landing::text("a bit string has no Arrow type"),
        name if name.starts_with('_') => {
            Landing::text("an array may have any dimensions and bounds in every row")
        }
        name if name.ends_with("range") => Landing::text("a range has no Arrow type"),
        name => Landing::text(&format!("{name} has no Arrow type")),
    }
}

fn numeric(modifier: i32) -> Landing {
    let Some(packed) = modifier.checked_sub(4).filter(|packed| *packed >= 0) else {
        return Landing::text("numeric without a precision may have any number of digits");
    };
    let precision = packed >> 16;
    // Eleven bits with a sign; before PostgreSQL 15 the same place held 0 to 1000.
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let (Ok(precision), Ok(scale)) = (u8::try_from(precision), i8::try_from(scale)) else {
        return Landing::text("it has more digits than an Arrow decimal");
    };
    if scale < 0 || u8::try_from(scale).is_ok_and(|scale| scale > precision) {
        return Landing::text("its scale lies outside its precision");
    }
    match precision {
        1..=DECIMAL_128_DIGITS => Landing::exact(DataType::Decimal128(precision, scale)),
        ..=DECIMAL_256_DIGITS => Landing::exact(DataType::Decimal256(precision, scale)),
        _ => Landing::text("it has more digits than an Arrow decimal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landed(oid: u32, modifier: i32) -> Landing {
        landing(BaseType {
            oid,
            modifier,
            is_enum: false,
        })
    }

    /// As `numerictypmodin` packs it.
    fn modifier(precision: i32, scale: i32) -> i32 {
        ((precision << 16) | (scale & 0x7ff)) + 4
    }

    #[test]
    fn a_numeric_is_exact_as_long_as_arrow_has_the_digits() {
        for (precision, scale, expected) in [
            (10, 2, Some(DataType::Decimal128(10, 2))),
            (38, 38, Some(DataType::Decimal128(38, 38))),
            (39, 0, Some(DataType::Decimal256(39, 0))),
            (76, 10, Some(DataType::Decimal256(76, 10))),
            (77, 0, None),
            (1000, 500, None),
            (4, -2, None),
            (2, 4, None),
        ] {
            let landing = landed(Type::NUMERIC.oid(), modifier(precision, scale));
            let exact = (landing.fidelity == Fidelity::Exact).then_some(landing.data_type);
            assert_eq!(exact, expected, "numeric({precision},{scale})");
        }
        let unbounded = landed(Type::NUMERIC.oid(), -1);
        assert!(matches!(unbounded.fidelity, Fidelity::Text(_)));
    }

    #[test]
    fn what_is_not_exact_says_why() {
        for known in [
            Type::INTERVAL,
            Type::INT4_ARRAY,
            Type::TSTZ_RANGE,
            Type::INT4MULTI_RANGE,
            Type::TS_VECTOR,
            Type::POINT,
            Type::CHAR,
        ] {
            let landing = landed(known.oid(), -1);
            assert_eq!(landing.data_type, DataType::Utf8);
            assert_eq!(landing.wire, Wire::Cast);
            assert!(matches!(landing.fidelity, Fidelity::Text(reason) if !reason.is_empty()));
        }
    }

    #[test]
    fn blanks_of_a_character_column_are_kept() {
        assert_eq!(landed(Type::BPCHAR.oid(), 9).wire, Wire::Binary);
    }
}
