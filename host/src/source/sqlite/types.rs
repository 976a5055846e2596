//! How declared types of SQLite are landed.
//!
//! SQLite checks no types: a column holds whatever was put in. The declared type says what the rows are meant
//! to hold; a value that is something else stops the table with an error that names it, unless the project file
//! has the column landed as text. Names are read as PostgreSQL and MySQL read them, except that `int` and
//! `integer` have the 64 bits that SQLite gives them. A column without a type, or of a type with another name, is
//! landed as text.

use arrow::datatypes::{DataType, TimeUnit};

use crate::table::Fidelity;

/// The most digits of an Arrow decimal of 128 and of 256 bits.
const DECIMAL_128_DIGITS: u8 = 38;
const DECIMAL_256_DIGITS: u8 = 76;

/// What a column declared as `declared` is landed as.
pub(super) fn landing(declared: &str) -> (DataType, Fidelity) {
    let (name, arguments) = parse(declared);
    if let Some(signed) = name
        .strip_suffix(" unsigned")
        .or(name.strip_prefix("unsigned "))
        && is_integer(signed)
    {
        return (DataType::Int64, Fidelity::Exact);
    }
    let micros = TimeUnit::Microsecond;
    let data_type = match name.as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" | "tinyint" => DataType::Int16,
        "int4" | "mediumint" => DataType::Int32,
        "int" | "integer" | "bigint" | "big int" | "int8" => DataType::Int64,
        "real" | "float" | "float4" | "float8" | "double" | "double precision" => DataType::Float64,
        "numeric" | "decimal" => return decimal(&arguments),
        "text" | "tinytext" | "mediumtext" | "longtext" | "clob" | "varchar"
        | "character varying" | "varying character" | "char" | "character" | "nchar"
        | "native character" | "nvarchar" | "bpchar" => DataType::Utf8,
        "blob" | "tinyblob" | "mediumblob" | "longblob" | "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "time" | "time without time zone" => DataType::Time64(micros),
        "timestamp" | "timestamp without time zone" | "datetime" => {
            DataType::Timestamp(micros, None)
        }
        "timestamptz" | "timestamp with time zone" => {
            DataType::Timestamp(micros, Some("UTC".into()))
        }
        "" => return text("a column without a type holds values of any type"),
        _ => return text("SQLite does not know the type and holds values of any type in it"),
    };
    (data_type, Fidelity::Exact)
}

/// Whether it is a whole number; without its sign, it needs more bits than its name says.
fn is_integer(name: &str) -> bool {
    matches!(
        name,
        "tinyint"
            | "smallint"
            | "int2"
            | "mediumint"
            | "int"
            | "int4"
            | "integer"
            | "bigint"
            | "big int"
            | "int8"
    )
}

fn text(reason: &str) -> (DataType, Fidelity) {
    (DataType::Utf8, Fidelity::Text(reason.to_owned()))
}

fn decimal(arguments: &[String]) -> (DataType, Fidelity) {
    let number = |place: usize| arguments.get(place).map(|text| text.parse::<u8>());
    let (precision, scale) = match (number(0), number(1), arguments.len()) {
        (None, ..) => return text("a numeric without a precision may have any number of digits"),
        (Some(Ok(precision)), None, 1) => (precision, 0),
        (Some(Ok(precision)), Some(Ok(scale)), 2) if scale <= precision => (precision, scale),
        _ => return text("its precision and scale cannot be understood"),
    };
    match (precision, i8::try_from(scale)) {
        (1..=DECIMAL_128_DIGITS, Ok(scale)) => {
            (DataType::Decimal128(precision, scale), Fidelity::Exact)
        }
        (1..=DECIMAL_256_DIGITS, Ok(scale)) => {
            (DataType::Decimal256(precision, scale), Fidelity::Exact)
        }
        _ => text("it has more digits than an Arrow decimal"),
    }
}

/// The name without its arguments, in lower case with single blanks, and the arguments:
/// `TIMESTAMP (3) without time zone` is `timestamp without time zone` and `3`.
fn parse(declared: &str) -> (String, Vec<String>) {
    let (name, arguments) = match declared.split_once('(') {
        None => (declared.to_owned(), Vec::new()),
        Some((before, rest)) => {
            let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
            let arguments = inside.split(',').map(|a| a.trim().to_owned()).collect();
            (format!("{before} {after}"), arguments)
        }
    };
    let words: Vec<String> = name.split_whitespace().map(str::to_lowercase).collect();
    (words.join(" "), arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read_as_postgresql_reads_them() {
        let micros = TimeUnit::Microsecond;
        for (declared, data_type) in [
            ("INTEGER", DataType::Int64),
            ("int4", DataType::Int32),
            ("UNSIGNED BIG INT", DataType::Int64),
            ("smallint(5) unsigned", DataType::Int64),
            ("VARYING CHARACTER(255)", DataType::Utf8),
            ("Decimal(10, 2)", DataType::Decimal128(10, 2)),
            ("NUMERIC(50)", DataType::Decimal256(50, 0)),
            ("character  varying(3)", DataType::Utf8),
            (
                "timestamp(3) without time zone",
                DataType::Timestamp(micros, None),
            ),
            (
                "TIMESTAMP WITH TIME ZONE",
                DataType::Timestamp(micros, Some("UTC".into())),
            ),
        ] {
            assert_eq!(
                landing(declared),
                (data_type, Fidelity::Exact),
                "{declared}"
            );
        }
    }

    #[test]
    fn what_cannot_be_relied_on_is_declared_text() {
        for declared in [
            "",
            "PaymentTypeName",
            "numeric",
            "numeric(2,3)",
            "numeric(99)",
            "json",
        ] {
            let (data_type, fidelity) = landing(declared);
            assert_eq!(data_type, DataType::Utf8);
            assert!(matches!(fidelity, Fidelity::Text(_)), "{declared}");
        }
    }
}
