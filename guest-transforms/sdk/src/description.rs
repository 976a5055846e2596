//! What a module says of itself: its inputs, its output and its properties.
//!
//! These are the records of `wit/transform.wit` with Arrow fields in place of encoded schemas. Name and version
//! are not here: `export!` adds those of the guest's crate, or the name that [`Transform::name`](crate::Transform::name)
//! gives.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What of a table an input receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The rows that changed in one landing, and the keys that were deleted.
    Changes,
    /// The latest row of every key over everything landed so far.
    Current,
}

/// When an input arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whole, before any streamed input.
    Lookup,
    /// Chunk by chunk, after every lookup.
    Streamed,
}

/// How the warehouse applies the rows of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// A row replaces the row of the same key; a retracted key is removed.
    Upsert,
    /// A row that differs from the latest version of its key is a new version; a retracted key ends it.
    AppendVersions,
    /// The table equals the rows of the run.
    Overwrite,
    /// A row that differs closes the open version of its key and opens another.
    Scd2,
}

/// One input of a module. Its columns are everything of the table that the module may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The table in the landing zone.
    pub table: String,
    /// The columns that the module may see, the key's first. All may be NULL: what a source declares is no
    /// promise, so the module itself refuses a NULL where none may be.
    pub columns: Vec<Field>,
    /// The names of the columns that identify a row.
    pub key: Vec<String>,
    /// What it receives.
    pub delivery: Delivery,
    /// When it arrives.
    pub role: Role,
}

impl Input {
    /// The rows of a table that changed, and the keys that were deleted.
    pub fn changes(table: &str) -> Self {
        Self::new(table, Delivery::Changes)
    }

    /// The latest row of every key of a table.
    pub fn current(table: &str) -> Self {
        Self::new(table, Delivery::Current)
    }

    fn new(table: &str, delivery: Delivery) -> Self {
        Self {
            table: table.to_owned(),
            columns: Vec::new(),
            key: Vec::new(),
            delivery,
            role: Role::Streamed,
        }
    }

    /// Adds a column that identifies a row.
    #[must_use]
    pub fn key(mut self, column: Field) -> Self {
        self.key.push(column.name().clone());
        self.column(column)
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, column: Field) -> Self {
        self.columns.push(column.with_nullable(true));
        self
    }

    /// The same input, arriving whole before the streamed ones.
    #[must_use]
    pub fn as_lookup(mut self) -> Self {
        self.role = Role::Lookup;
        self
    }

    /// The schema of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.clone()))
    }

    /// The schema of its deleted keys: the key columns, in key order.
    pub fn key_schema(&self) -> SchemaRef {
        project(&self.columns, &self.key)
    }
}

/// The output of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The table in the warehouse.
    pub table: String,
    /// Its columns, without those that the warehouse adds.
    pub columns: Vec<Field>,
    /// The names of the columns that are unique over the rows of one run.
    pub primary_key: Vec<String>,
    /// How the warehouse applies it.
    pub mode: LoadMode,
}

impl Output {
    /// An output without columns yet.
    pub fn new(table: &str, mode: LoadMode) -> Self {
        Self {
            table: table.to_owned(),
            columns: Vec::new(),
            primary_key: Vec::new(),
            mode,
        }
    }

    /// Adds a column of the primary key.
    #[must_use]
    pub fn key(mut self, column: Field) -> Self {
        self.primary_key.push(column.name().clone());
        self.required(column)
    }

    /// Adds a column that always has a value.
    #[must_use]
    pub fn required(mut self, column: Field) -> Self {
        self.columns.push(column.with_nullable(false));
        self
    }

    /// Adds a column that may be NULL.
    #[must_use]
    pub fn optional(mut self, column: Field) -> Self {
        self.columns.push(column.with_nullable(true));
        self
    }

    /// The schema of its rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.clone()))
    }

    /// The schema of its retractions: the primary key, in key order.
    pub fn key_schema(&self) -> SchemaRef {
        project(&self.columns, &self.primary_key)
    }
}

/// What a module says of itself, but for the name and the version of its crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its inputs, in the order of their numbers.
    pub inputs: Vec<Input>,
    /// Its output.
    pub output: Output,
    /// Everything else, by name. Known: [`RECORD_ID`], [`ALIAS`].
    pub properties: Vec<(String, String)>,
}

/// The property that names the serial column the warehouse adds to an `append-versions` output.
pub const RECORD_ID: &str = "record-id";
/// The property that names a view over the output under a second name.
pub const ALIAS: &str = "alias";

/// A whole number of 32 bits.
pub fn integer(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

/// A whole number of 64 bits.
pub fn big_integer(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// A text.
pub fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// True or false.
pub fn boolean(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

/// An exact decimal number: `digits` in all, `after_point` of them after the point.
pub fn decimal(name: &str, digits: u8, after_point: i8) -> Field {
    Field::new(name, DataType::Decimal128(digits, after_point), true)
}

/// A calendar date.
pub fn date(name: &str) -> Field {
    Field::new(name, DataType::Date32, true)
}

/// A time of day, to the microsecond.
pub fn time(name: &str) -> Field {
    Field::new(name, DataType::Time64(TimeUnit::Microsecond), true)
}

/// A date and a time of day without a time zone, to the microsecond.
pub fn timestamp(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), true)
}

fn project(columns: &[Field], names: &[String]) -> SchemaRef {
    let fields: Vec<Field> = names
        .iter()
        .filter_map(|name| columns.iter().find(|column| column.name() == name))
        .cloned()
        .collect();
    Arc::new(Schema::new(fields))
}
