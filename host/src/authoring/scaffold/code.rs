//! `src/lib.rs` of a new module.

use std::fmt::Write as _;

use arrow::datatypes::DataType;

use super::{COLUMN_BYTES, Scaffold, ScaffoldError, word};
use crate::table::{Column, Fidelity, Table};

/// What is to be made of which column, worked out once for the code and for the first case.
#[derive(Debug)]
pub(super) struct Made<'a> {
    /// One per table, in their order.
    pub(super) inputs: Vec<MadeInput<'a>>,
    /// The columns of the output, its key first.
    pub(super) columns: Vec<MadeColumn<'a>>,
    /// Columns that the SDK has no word for, with their types.
    pub(super) left_out: Vec<String>,
}

/// A table that is read.
#[derive(Debug)]
pub(super) struct MadeInput<'a> {
    pub(super) table: &'a Table,
    /// What its variable is called.
    variable: String,
    /// The column of the first table that is its key, where it is looked up in.
    joined_by: Option<&'a Column>,
}

/// A column of the output.
#[derive(Debug)]
pub(super) struct MadeColumn<'a> {
    /// Its name in the warehouse.
    pub(super) name: String,
    /// The number of the input.
    pub(super) input: usize,
    /// The column there.
    pub(super) from: &'a Column,
    pub(super) manner: Manner,
}

/// How a column is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Key,
    Required,
    Optional,
}

impl Manner {
    fn method(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Required => "required",
            Self::Optional => "optional",
        }
    }
}

impl<'a> Made<'a> {
    pub(super) fn of(scaffold: &'a Scaffold) -> Result<Self, ScaffoldError> {
        let mut made = Self {
            inputs: Vec::new(),
            columns: Vec::new(),
            left_out: Vec::new(),
        };
        for table in &scaffold.tables {
            made.add(scaffold, table)?;
        }
        Ok(made)
    }

    fn add(&mut self, scaffold: &'a Scaffold, table: &'a Table) -> Result<(), ScaffoldError> {
        let name = table.name.as_str();
        if self
            .inputs
            .iter()
            .any(|input| input.table.name == table.name)
        {
            return Err(ScaffoldError::Twice(name.to_owned()));
        }
        if table.key.is_empty() {
            return Err(ScaffoldError::NoKey(
                name.to_owned(),
                scaffold.source.clone(),
            ));
        }
        for column in table.columns.iter().filter(|c| table.key.contains(&c.name)) {
            if word(column).is_none() || column.name.len() > COLUMN_BYTES {
                return Err(ScaffoldError::KeyType {
                    source_name: scaffold.source.clone(),
                    table: name.to_owned(),
                    column: column.name.clone(),
                    data_type: column.data_type.clone(),
                });
            }
        }
        let joined_by = match self.inputs.first() {
            None => None,
            Some(first) => Some(join(first.table, table)?),
        };
        let input = self.inputs.len();
        let variable = self.variable(name);
        self.inputs.push(MadeInput {
            table,
            variable,
            joined_by,
        });
        let is_key = |column: &&Column| table.key.contains(&column.name);
        if joined_by.is_none() {
            for part in &table.key {
                let from = table.columns.iter().filter(|column| column.name == *part);
                from.for_each(|from| self.column(scaffold, input, from, Manner::Key));
            }
        }
        for from in table.columns.iter().filter(|column| !is_key(column)) {
            // A row that finds no match has no value either, whatever the joined table promises.
            let always = joined_by.is_none() && !from.nullable;
            let manner = if always {
                Manner::Required
            } else {
                Manner::Optional
            };
            self.column(scaffold, input, from, manner);
        }
        Ok(())
    }

    fn column(&mut self, scaffold: &Scaffold, input: usize, from: &'a Column, manner: Manner) {
        let table = self
            .inputs
            .get(input)
            .map(|i| i.table.name.as_str())
            .unwrap_or_default();
        let taken = |name: &str| {
            self.columns.iter().any(|column| column.name == name)
                || Some(name) == record_id(scaffold).as_deref()
        };
        let mut name = from.name.clone();
        if taken(&name) {
            name = format!("{}_{name}", table.replace('.', "_"));
        }
        if word(from).is_none() || name.len() > COLUMN_BYTES || taken(&name) {
            let told = format!("{table}.{}: {}", from.name, from.data_type);
            return self.left_out.push(told);
        }
        self.columns.push(MadeColumn {
            name,
            input,
            from,
            manner,
        });
    }

    /// The columns of the first table by which the others are looked up in.
    pub(super) fn joins(&self) -> impl Iterator<Item = &str> {
        let joined = self.inputs.iter().filter_map(|input| input.joined_by);
        joined.map(|column| column.name.as_str())
    }

    /// A name for the variable of a table that no other has.
    fn variable(&self, table: &str) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let mut name: String = table.chars().map(plain).collect();
        if name.starts_with(|first: char| !first.is_ascii_lowercase()) || is_word_of_rust(&name) {
            name = format!("table_{name}");
        }
        while self.inputs.iter().any(|input| input.variable == name) {
            name.push_str("_too");
        }
        name
    }
}

/// The column of the first table by which rows of another are found.
fn join<'a>(first: &'a Table, table: &Table) -> Result<&'a Column, ScaffoldError> {
    let refused = |reason: String| ScaffoldError::NoJoin {
        table: table.name.to_string(),
        first: first.name.to_string(),
        reason,
    };
    let [key] = table.key.as_slice() else {
        return Err(refused(format!(
            "its key is {} columns, and a lookup has one",
            table.key.len()
        )));
    };
    let key = table
        .column(key)
        .ok_or_else(|| refused("its key is none of its columns".into()))?;
    let Some(found) = first.column(&key.name) else {
        return Err(refused(format!(
            "no column of {} is called {}",
            first.name, key.name
        )));
    };
    if found.data_type != key.data_type {
        return Err(refused(format!(
            "{} is {} there and {} here",
            key.name, found.data_type, key.data_type
        )));
    }
    match key.data_type {
        DataType::Int32 | DataType::Int64 | DataType::Utf8 => Ok(found),
        _ => Err(refused(format!(
            "{} is neither a whole number nor a text",
            key.name
        ))),
    }
}

/// The serial column that the warehouse adds to a fact.
fn record_id(scaffold: &Scaffold) -> Option<String> {
    let fact = scaffold.to.strip_prefix("fact_")?;
    (scaffold.tables.len() == 1).then(|| format!("{fact}_record_id"))
}

/// The code of the crate.
pub(super) fn code(scaffold: &Scaffold, made: &Made<'_>) -> String {
    let (to, function) = (&scaffold.to, scaffold.function());
    let mut words: Vec<&str> = made
        .inputs
        .iter()
        .flat_map(|input| {
            input
                .table
                .columns
                .iter()
                .filter(|c| input.table.key.contains(&c.name))
        })
        .filter_map(|column| Some(word(column)?.0))
        .collect();
    words.sort_unstable();
    words.dedup();
    let first = made
        .inputs
        .first()
        .map(|input| input.table.name.as_str())
        .unwrap_or_default();
    let mut code = format!(
        "//! `{to}`: one row per row of `{first}`.\n\nuse tidemill_sdk::{{Input, Table, {}}};\n\n\
         tidemill_sdk::export!({function});\n\n",
        words.join(", ")
    );
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(code, "/// {}", about(scaffold, first));
    let _ = writeln!(code, "pub fn {function}() -> Table {{");
    for input in &made.inputs {
        inputs(&mut code, made, input);
    }
    let kind = match (made.inputs.len(), record_id(scaffold)) {
        (1, Some(_)) => "append_versions",
        (1, None) => "upsert",
        _ => "overwrite",
    };
    let _ = write!(code, "\n    Table::{kind}({to:?})");
    if let Some(record_id) = record_id(scaffold) {
        let _ = write!(code, "\n        .record_id({record_id:?})");
    }
    for column in &made.columns {
        self::column(&mut code, made, column);
    }
    for left_out in &made.left_out {
        let _ = write!(
            code,
            "\n    // Left out, for the SDK has no word for its type: {left_out}"
        );
    }
    let _ = write!(
        code,
        "\n}}\n\n#[cfg(test)]\nmod tests {{\n    #[test]\n    fn every_case_holds() {{\n        \
         tidemill_sdk::testing::check_cases(super::{function});\n    }}\n}}\n"
    );
    code
}

fn about(scaffold: &Scaffold, first: &str) -> String {
    if scaffold.tables.len() > 1 {
        let others: Vec<_> = scaffold
            .tables
            .iter()
            .skip(1)
            .map(|t| format!("`{}`", t.name))
            .collect();
        return format!(
            "One row per row of `{first}`, as it is now, with what belongs to it in {}. A change there changes\n\
             /// old rows, so the table is made anew by every run.",
            others.join(", ")
        );
    }
    match record_id(scaffold) {
        Some(_) => format!("Every version of every row of `{first}`."),
        None => format!("One row per row of `{first}`, as it is now."),
    }
}

fn inputs(code: &mut String, made: &Made<'_>, input: &MadeInput<'_>) {
    let manner = if made.inputs.len() > 1 {
        "current"
    } else {
        "changes"
    };
    let MadeInput {
        table, variable, ..
    } = input;
    let _ = write!(
        code,
        "    let {variable} = Input::{manner}({:?})",
        table.name.as_str()
    );
    // As rustfmt would have it.
    let apart = match table.key.len() > 1 || input.joined_by.is_some() {
        true => "\n        ",
        false => "",
    };
    for name in &table.key {
        if let Some((word, rest)) = table.column(name).and_then(word) {
            let _ = write!(code, "{apart}.key({word}({name:?}{rest}))");
        }
    }
    if let (Some(column), Some(first)) = (input.joined_by, made.inputs.first())
        && let Some((word, rest)) = word(column)
    {
        let _ = write!(
            code,
            "\n        .look_up({}.{word}({:?}{rest}))",
            first.variable, column.name
        );
    }
    code.push_str(";\n");
}

fn column(code: &mut String, made: &Made<'_>, column: &MadeColumn<'_>) {
    let (Some(input), Some((word, rest))) = (made.inputs.get(column.input), word(column.from))
    else {
        return;
    };
    if let Fidelity::Text(reason) = &column.from.fidelity {
        let _ = write!(
            code,
            "\n        // The source's own text, for {}: {reason}.",
            column.from.source_type
        );
    }
    let (variable, from) = (&input.variable, &column.from.name);
    let method = column.manner.method();
    let _ = write!(
        code,
        "\n        .{method}({:?}, {variable}.{word}({from:?}{rest}))",
        column.name
    );
}

/// Whether Rust, or the code that is generated here, has another use for a name.
pub(super) fn is_word_of_rust(name: &str) -> bool {
    const WORDS: &str = "as break const continue crate dyn else enum extern false fn for if impl in let loop match mod \
        move mut pub ref return self static struct super trait true type unsafe use where while async await gen \
        abstract become box do final macro override priv typeof unsized virtual yield try union \
        core std alloc proc_macro test tests build deps examples incremental input table tidemill_sdk \
        integer big_integer text boolean date timestamp decimal time";
    WORDS.split_whitespace().any(|word| word == name)
}
