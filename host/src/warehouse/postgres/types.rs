//! Which PostgreSQL type holds which Arrow type exactly.

use arrow::datatypes::{DataType, TimeUnit};
use tokio_postgres::types::Type;

use crate::warehouse::copy::Wire;

/// PostgreSQL's limit for a declared `numeric(precision, scale)`.
const NUMERIC_DIGITS: i32 = 1000;

/// A column type of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnType {
    /// As it is declared: `numeric(10,2)`.
    pub(super) sql: String,
    /// How its values are sent; `None` for types that nothing is loaded into.
    pub(super) wire: Option<Wire>,
}

/// The type of a column that we create, or why there is none.
pub(super) fn declare(data_type: &DataType) -> Result<ColumnType, String> {
    let (sql, wire) = match data_type {
        DataType::List(field) | DataType::LargeList(field) => {
            let element = scalar(field.data_type())
                .ok_or_else(|| format!("has no exact type for {data_type}"))?;
            return Ok(ColumnType {
                sql: format!("{}[]", element.0),
                wire: Some(Wire::Array {
                    element: Box::new(element.1),
                    oid: element.2.oid(),
                }),
            });
        }
        DataType::Time64(TimeUnit::Nanosecond) | DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            return Err(format!(
                "has no exact type for {data_type}: PostgreSQL keeps microseconds"
            ));
        }
        _ => {
            let scalar =
                scalar(data_type).ok_or_else(|| format!("has no exact type for {data_type}"))?;
            (scalar.0, scalar.1)
        }
    };
    Ok(ColumnType {
        sql,
        wire: Some(wire),
    })
}

fn scalar(data_type: &DataType) -> Option<(String, Wire, Type)> {
    let plain = |sql: &str, wire, oid| Some((sql.to_owned(), wire, oid));
    match data_type {
        DataType::Boolean => plain("boolean", Wire::Bool, Type::BOOL),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => {
            plain("smallint", Wire::Int2, Type::INT2)
        }
        DataType::Int32 | DataType::UInt16 => plain("integer", Wire::Int4, Type::INT4),
        DataType::Int64 | DataType::UInt32 => plain("bigint", Wire::Int8, Type::INT8),
        DataType::UInt64 => numeric(20, 0),
        DataType::Float32 => plain("real", Wire::Float4, Type::FLOAT4),
        DataType::Float64 => plain("double precision", Wire::Float8, Type::FLOAT8),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => numeric((*precision).into(), (*scale).into()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            plain("text", Wire::Text, Type::TEXT)
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => plain("bytea", Wire::Bytea, Type::BYTEA),
        DataType::Date32 => plain("date", Wire::Date, Type::DATE),
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => plain(
            "time without time zone",
            Wire::Time { digits: 6 },
            Type::TIME,
        ),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => None,
        DataType::Timestamp(_, zone) => {
            let zoned = zone.is_some();
            let wire = Wire::Timestamp { zoned, digits: 6 };
            match zoned {
                true => plain("timestamp with time zone", wire, Type::TIMESTAMPTZ),
                false => plain("timestamp without time zone", wire, Type::TIMESTAMP),
            }
        }
        _ => None,
    }
}

/// A scale outside 0 to precision is legal in Arrow, and in PostgreSQL only from 15 on: the digits are
/// declared so that older servers hold the same numbers.
fn numeric(precision: i32, scale: i32) -> Option<(String, Wire, Type)> {
    let kept = scale.max(0);
    let digits = (precision + (-scale).max(0)).max(kept);
    (digits <= NUMERIC_DIGITS).then(|| {
        (
            format!("numeric({digits},{kept})"),
            Wire::Numeric { scale: Some(kept) },
            Type::NUMERIC,
        )
    })
}

/// What the catalog says of a type, domains resolved.
#[derive(Debug, Clone)]
pub(super) struct CatalogType {
    pub(super) oid: u32,
    pub(super) name: String,
    /// `pg_type.typtype`: `b` base, `e` enum …
    pub(super) kind: String,
}

/// How values of a type of the catalog are sent, with the modifier of their column.
pub(super) fn wire(of: &CatalogType, element: Option<&CatalogType>, modifier: i32) -> Option<Wire> {
    if let Some(element) = element {
        return Some(Wire::Array {
            oid: element.oid,
            element: Box::new(wire(element, None, modifier)?),
        });
    }
    if of.kind == "e" {
        return Some(Wire::Text);
    }
    let digits = u32::try_from(modifier).unwrap_or(6);
    Some(match Type::from_oid(of.oid) {
        Some(Type::BOOL) => Wire::Bool,
        Some(Type::INT2) => Wire::Int2,
        Some(Type::INT4) => Wire::Int4,
        Some(Type::INT8) => Wire::Int8,
        Some(Type::FLOAT4) => Wire::Float4,
        Some(Type::FLOAT8) => Wire::Float8,
        Some(Type::NUMERIC) => Wire::Numeric {
            scale: numeric_digits(modifier).map(|(_, scale)| scale),
        },
        Some(Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::JSON) => Wire::Text,
        Some(Type::JSONB) => Wire::Jsonb,
        Some(Type::UUID) => Wire::Uuid,
        Some(Type::BYTEA) => Wire::Bytea,
        Some(Type::DATE) => Wire::Date,
        Some(Type::TIME) => Wire::Time { digits },
        Some(Type::TIMESTAMP) => Wire::Timestamp {
            zoned: false,
            digits,
        },
        Some(Type::TIMESTAMPTZ) => Wire::Timestamp {
            zoned: true,
            digits,
        },
        // An extension's type has no fixed oid; its binary form is its text.
        None if of.name == "citext" => Wire::Text,
        _ => return None,
    })
}

/// Precision and scale in the modifier of a `numeric` column; `None` when it keeps all digits.
pub(super) fn numeric_digits(modifier: i32) -> Option<(i32, i32)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    // Eleven bits hold the scale, signed since PostgreSQL 15.
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    Some(((packed >> 16) & 0xffff, scale))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;
    use crate::warehouse::copy::encodes;

    #[test]
    fn every_type_we_declare_can_be_sent() {
        let list = |of| DataType::List(Arc::new(Field::new_list_field(of, true)));
        let cases = [
            (DataType::Boolean, "boolean"),
            (DataType::Int8, "smallint"),
            (DataType::UInt32, "bigint"),
            (DataType::UInt64, "numeric(20,0)"),
            (DataType::Decimal128(10, 2), "numeric(10,2)"),
            (DataType::Decimal128(3, -2), "numeric(5,0)"),
            (DataType::Decimal256(5, 7), "numeric(7,7)"),
            (DataType::Utf8View, "text"),
            (DataType::FixedSizeBinary(16), "bytea"),
            (
                DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
                "timestamp with time zone",
            ),
            (list(DataType::Int32), "integer[]"),
            (list(DataType::Decimal128(4, 1)), "numeric(4,1)[]"),
        ];
        for (data_type, sql) in cases {
            let declared = declare(&data_type).expect("it has a type");
            assert_eq!(declared.sql, sql);
            let wire = declared.wire.expect("what we declare we send");
            assert!(encodes(&data_type, &wire), "{data_type}");
        }
    }

    #[test]
    fn what_would_lose_something_has_no_type() {
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert_eq!(
            declare(&nanoseconds).expect_err("nanoseconds are lost"),
            "has no exact type for Timestamp(ns): PostgreSQL keeps microseconds"
        );
        let nested = DataType::new_list(DataType::new_list(DataType::Int8, true), true);
        assert!(declare(&nested).is_err());
        assert!(declare(&DataType::Null).is_err());
    }

    #[test]
    fn a_numeric_modifier_is_read_with_both_signs_of_scale() {
        assert_eq!(numeric_digits(((10 << 16) | 2) + 4), Some((10, 2)));
        assert_eq!(
            numeric_digits(((3 << 16) | (0x7ff & -2)) + 4),
            Some((3, -2))
        );
        assert_eq!(numeric_digits(-1), None);
    }
}
