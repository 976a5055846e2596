//! How each type of PostgreSQL is landed: the fidelity matrix of this source.
//!
//! A type that is exact has one Arrow value for every value that a table normally holds. What such a type
//! can hold besides and Arrow cannot stops the table with an error that names the column, because landing
//! something else would be a silent change: `NaN` in `numeric(p,s)`; `infinity` and years after 294 246 in
//! dates and timestamps; `24:00:00`. Rejected: landing these columns as text for the sake of values that
//! hardly any table has, which would cost every module its typed column.
//!
//! Where a table has them, the project file can have its column landed as text instead.
//!
//! Every other type is landed as the text that the server itself writes for it, and says why. Arrays are among
//! them, for a column of arrays may hold any number of dimensions and any lower bound in each row, and lists hold
//! neither: `'[2:3]={1,2}'` is not `[1, 2]`. Rejected: lists for the arrays that look like lists, which would
//! stop a table on the first one that does not.
//!
//! An object identifier with a name (`regclass`) is landed as its number: the name depends on the search path and
//! on who renamed what since, and neither writes a row.

use arrow::datatypes::{DataType, TimeUnit};
use tidemill_codec::copy_out::Form;
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
    /// What makes it a type.
    pub(super) kind: TypeKind,
}

/// What makes a type one, as far as it matters how its values are landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TypeKind {
    /// Code of the server or of an extension.
    Base,
    Array,
    Enum,
    Composite,
    /// A range, or several.
    Range,
}

impl TypeKind {
    /// `pg_type.typtype` and whether `pg_type.typcategory` is that of arrays.
    pub(super) fn of(typtype: &str, is_array: bool) -> Self {
        match typtype {
            "e" => Self::Enum,
            "c" => Self::Composite,
            "r" | "m" => Self::Range,
            _ if is_array => Self::Array,
            _ => Self::Base,
        }
    }
}

/// How the server sends the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wire {
    /// In the type's binary form, which is that of the landed type.
    #[default]
    Binary,
    /// As the text that a cast makes of it, because its binary form is another.
    Cast,
    /// As the text that its output function writes, where a cast makes another.
    Output(&'static str),
    /// As the text of the number it is.
    Number,
    /// As the 16 bytes of a uuid, of which we write the text: the server would take three times as long.
    Uuid,
    /// As the text of a jsonb behind the version of its form.
    Jsonb,
}

impl Wire {
    /// What the values look like when they come.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Uuid => Form::Uuid,
            Self::Jsonb => Form::Jsonb,
            Self::Binary | Self::Cast | Self::Output(_) | Self::Number => Form::Plain,
        }
    }

    /// What the server is asked for, as an item of a select list; `column` is an identifier in SQL.
    pub(super) fn asked(self, column: &str) -> String {
        match self {
            Self::Binary | Self::Uuid | Self::Jsonb => column.to_owned(),
            Self::Cast => format!("{column}::pg_catalog.text"),
            Self::Output(function) => {
                format!("pg_catalog.textin(pg_catalog.{function}({column}))")
            }
            Self::Number => format!("{column}::pg_catalog.numeric::pg_catalog.text"),
        }
    }
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
        Self::declared(reason, Wire::Cast)
    }

    fn declared(reason: &str, wire: Wire) -> Self {
        Self {
            data_type: DataType::Utf8,
            fidelity: Fidelity::Text(reason.to_owned()),
            wire,
        }
    }
}

/// How values of `base` are landed.
pub(super) fn landing(base: BaseType) -> Landing {
    match base.kind {
        // The binary form of an enum and of a name is their text.
        TypeKind::Enum => return Landing::exact_text(Wire::Binary),
        TypeKind::Array => {
            return Landing::text("an array may have any dimensions and bounds in every row");
        }
        TypeKind::Composite => return Landing::text("a composite has no Arrow type"),
        TypeKind::Range => return Landing::text("a range has no Arrow type"),
        TypeKind::Base => {}
    }
    let Some(known) = Type::from_oid(base.oid) else {
        return Landing::text("a type of an extension has no Arrow type");
    };
    let micros = TimeUnit::Microsecond;
    match known.name() {
        "bool" => Landing::exact(DataType::Boolean),
        "int2" => Landing::exact(DataType::Int16),
        "int4" => Landing::exact(DataType::Int32),
        // Object and transaction ids have 32 bits and no sign.
        "int8" | "oid" | "xid" | "cid" | "regclass" | "regcollation" | "regconfig"
        | "regdictionary" | "regnamespace" | "regoper" | "regoperator" | "regproc"
        | "regprocedure" | "regrole" | "regtype" => Landing::exact(DataType::Int64),
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
        // Its text has the signs and separators of the locale, and so many places too.
        "money" => Landing::declared(
            "its decimal places depend on the server's locale",
            Wire::Number,
        ),
        // The cast would add a netmask that is not shown otherwise.
        "inet" => Landing::declared(
            "a network address has no Arrow type",
            Wire::Output("inet_out"),
        ),
        "cidr" | "macaddr" | "macaddr8" => Landing::text("a network address has no Arrow type"),
        // The cast would keep the declaration of an encoding that the text no longer has.
        "xml" => Landing::declared("XML has no Arrow type", Wire::Output("xml_out")),
        "bit" | "varbit" => Landing::text("a bit string has no Arrow type"),
        "point" | "line" | "lseg" | "box" | "path" | "polygon" | "circle" => {
            Landing::text("a geometric figure has no Arrow type")
        }
        "tsvector" | "tsquery" => Landing::text("a text search has no Arrow type"),
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
            kind: TypeKind::Base,
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
            Type::TS_VECTOR,
            Type::POINT,
            Type::CHAR,
            Type::MONEY,
            Type::INET,
        ] {
            let landing = landed(known.oid(), -1);
            assert_eq!(landing.data_type, DataType::Utf8);
            assert_ne!(landing.wire, Wire::Binary);
            assert!(matches!(landing.fidelity, Fidelity::Text(reason) if !reason.is_empty()));
        }
        for kind in [TypeKind::Array, TypeKind::Composite, TypeKind::Range] {
            let landing = landing(BaseType {
                oid: 1_000_000,
                modifier: -1,
                kind,
            });
            assert!(matches!(landing.fidelity, Fidelity::Text(reason) if !reason.is_empty()));
        }
    }

    #[test]
    fn blanks_of_a_character_column_are_kept() {
        assert_eq!(landed(Type::BPCHAR.oid(), 9).wire, Wire::Binary);
    }
}
