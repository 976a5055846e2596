//! A table as a list of columns, each with its source and its rule.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, SchemaRef};

use crate::column::{Column, Rule};
use crate::description::{ALIAS, Description, Input, LoadMode, Output, RECORD_ID, Role};
use crate::evaluation::{Evaluation, Refusals};
use crate::failure::Failure;
use crate::gather::{can_gather, gather};
use crate::lookup::{Lookup, can_index};
use crate::transform::{Arrival, Context, Step, Transform};

/// A warehouse table whose rows are made one from one row of an input, with columns of other tables joined in.
///
/// It declares exactly the input columns that its rules name, so it can see no others. A row that breaks a rule
/// is refused with the first reason in the order of the columns, and its key is gone from the table until it is
/// mended; the other rows go on.
pub struct Table {
    output: Output,
    rules: Vec<Rule>,
    properties: Vec<(String, String)>,
    /// The lookups by table, from the beginning of a session on.
    lookups: BTreeMap<String, Lookup>,
    schema: SchemaRef,
}

impl Table {
    /// A table without columns yet.
    pub fn new(name: &str, mode: LoadMode) -> Self {
        let output = Output::new(name, mode);
        Self {
            schema: output.schema(),
            output,
            rules: Vec::new(),
            properties: Vec::new(),
            lookups: BTreeMap::new(),
        }
    }

    /// A dimension that holds the latest row of every key.
    pub fn upsert(name: &str) -> Self {
        Self::new(name, LoadMode::Upsert)
    }

    /// A dimension that is made anew by every run.
    pub fn overwrite(name: &str) -> Self {
        Self::new(name, LoadMode::Overwrite)
    }

    /// A fact table that holds every version of every row.
    pub fn append_versions(name: &str) -> Self {
        Self::new(name, LoadMode::AppendVersions)
    }

    /// The serial column by which the warehouse numbers the versions.
    #[must_use]
    pub fn record_id(self, column: &str) -> Self {
        self.property(RECORD_ID, column)
    }

    /// A second name under which the warehouse shows the table.
    #[must_use]
    pub fn alias(self, name: &str) -> Self {
        self.property(ALIAS, name)
    }

    /// A property of the description.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A column of the primary key. The first one says which input the rows are made from.
    #[must_use]
    pub fn key<Kind>(mut self, name: &str, column: Column<Kind>) -> Self {
        self.output.primary_key.push(name.to_owned());
        self.add(name, column, false)
    }

    /// A column that has a value in every row: a row without one is refused.
    #[must_use]
    pub fn required<Kind>(self, name: &str, column: Column<Kind>) -> Self {
        self.add(name, column, false)
    }

    /// A column that may be NULL.
    #[must_use]
    pub fn optional<Kind>(self, name: &str, column: Column<Kind>) -> Self {
        self.add(name, column, true)
    }

    fn add<Kind>(mut self, name: &str, column: Column<Kind>, nullable: bool) -> Self {
        let data_type = column.rule.data_type().clone();
        self.output
            .columns
            .push(Field::new(name, data_type, nullable));
        self.rules.push(column.rule);
        self
    }

    /// The rules of the primary key, in its order.
    fn key_rules(&self) -> impl Iterator<Item = (&str, &Rule)> {
        let columns = || self.output.columns.iter().zip(&self.rules);
        self.output.primary_key.iter().filter_map(move |key| {
            let (field, rule) = columns().find(|(field, _)| field.name() == key)?;
            Some((field.name().as_str(), rule))
        })
    }

    /// The key of the output is made of the key of the streamed input, all of it and nothing else: all that is known
    /// of a deleted row is its key.
    fn check_key(&self, described: &Description) -> Result<(), Failure> {
        let mut streamed = described.inputs.iter();
        let Some(streamed) = streamed.find(|input| input.role == Role::Streamed) else {
            return Ok(());
        };
        let named = self.key_rules().map(|(_, rule)| rule.input_column());
        let named: BTreeSet<Option<&str>> = named.collect();
        let key = streamed.key.iter().map(|name| Some(name.as_str()));
        if !named.is_empty() && named == key.collect() {
            return Ok(());
        }
        Err(contradiction(format!(
            "the key ({}) of {} does not become the key ({}) of {}",
            streamed.key.join(", "),
            streamed.table,
            described.output.primary_key.join(", "),
            described.output.table
        )))
    }

    fn make(
        &self,
        rows: &RecordBatch,
        arrival: &Arrival<'_>,
        step: &mut Step,
    ) -> Result<(), Failure> {
        let mut evaluation = Evaluation::new(rows, &self.lookups);
        let mut columns = Vec::with_capacity(self.rules.len());
        for (field, rule) in self.output.columns.iter().zip(&self.rules) {
            columns.push(if field.is_nullable() {
                evaluation.values(rule)?
            } else {
                let target = format!("{}.{}", self.output.table, field.name());
                evaluation.required(rule, &target)?
            });
        }
        let refusals = evaluation.refusals;
        keep(&mut columns, &refusals, rows.num_rows())?;
        for (row, reason) in refusals.into_rows() {
            step.refuse(arrival.place(row), reason);
        }
        step.rows
            .push(RecordBatch::try_new(self.schema.clone(), columns)?);
        Ok(())
    }
}

/// The values of the rows that are not refused.
fn keep(columns: &mut [ArrayRef], refusals: &Refusals, rows: usize) -> Result<(), Failure> {
    if let Some(kept) = refusals.kept(rows) {
        for column in columns {
            *column = gather(column, &kept)?;
        }
    }
    Ok(())
}

impl Transform for Table {
    fn describe(&self) -> Result<Description, Failure> {
        let mut inputs = Inputs::default();
        for rule in &self.rules {
            inputs.add(rule)?;
        }
        let described = Description {
            inputs: inputs.0,
            output: self.output.clone(),
            properties: self.properties.clone(),
        };
        check(&described)?;
        self.check_key(&described)?;
        Ok(described)
    }

    fn open(&mut self, _: &Context) -> Result<(), Failure> {
        self.schema = self.output.schema();
        self.lookups = self
            .describe()?
            .inputs
            .into_iter()
            .filter(|input| input.role == Role::Lookup)
            .map(|input| (input.table.clone(), Lookup::new(input)))
            .collect();
        Ok(())
    }

    fn push(&mut self, arrival: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        let table = arrival.input().map(|input| input.table.as_str());
        match table.and_then(|table| self.lookups.get_mut(table)) {
            Some(lookup) => {
                lookup.push(arrival.rows);
                Ok(())
            }
            None => self.make(arrival.rows, arrival, step),
        }
    }

    /// The key of the output is worked out from the key of the input as it was for the row. A key that its rules
    /// refuse has never been in the table.
    fn retract(&mut self, keys: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        let mut evaluation = Evaluation::new(keys.rows, &self.lookups);
        let mut columns = Vec::with_capacity(self.output.primary_key.len());
        for (name, rule) in self.key_rules() {
            let target = format!("{}.{name}", self.output.table);
            columns.push(evaluation.required(rule, &target)?);
        }
        keep(&mut columns, &evaluation.refusals, keys.rows.num_rows())?;
        let schema = self.output.key_schema();
        step.retractions
            .push(RecordBatch::try_new(schema, columns)?);
        Ok(())
    }

    fn end_of_input(&mut self, input: usize, _: &mut Step) -> Result<(), Failure> {
        let inputs = self.describe()?.inputs;
        let table = inputs.get(input).map(|input| &input.table);
        match table.and_then(|table| self.lookups.get_mut(table)) {
            Some(lookup) => lookup.index(),
            None => Ok(()),
        }
    }
}

/// The inputs that rules name, in the order in which they name them.
#[derive(Default)]
struct Inputs(Vec<Input>);

impl Inputs {
    fn add(&mut self, rule: &Rule) -> Result<(), Failure> {
        match rule {
            Rule::Input { input, field } => self.column(input, field),
            Rule::Joined { join, field } => {
                self.add(&join.key)?;
                check_join(&join.table, join.key.data_type())?;
                self.column(&join.table, field)
            }
            Rule::Computed { from, .. } => self.add(from),
        }
    }

    fn column(&mut self, input: &Input, field: &Field) -> Result<(), Failure> {
        let known = self.0.iter().position(|known| known.table == input.table);
        let at = known.unwrap_or_else(|| {
            self.0.push(input.clone());
            self.0.len() - 1
        });
        let Some(known) = self.0.get_mut(at) else {
            return Ok(());
        };
        if (known.role, known.delivery, &known.key) != (input.role, input.delivery, &input.key) {
            return Err(contradiction(format!(
                "{} is declared in two ways",
                input.table
            )));
        }
        match known
            .columns
            .iter()
            .find(|column| column.name() == field.name())
        {
            None => known.columns.push(field.clone()),
            Some(column) if column.data_type() == field.data_type() => {}
            Some(column) => {
                return Err(contradiction(format!(
                    "{}.{} is read as {} and as {}",
                    input.table,
                    field.name(),
                    column.data_type(),
                    field.data_type()
                )));
            }
        }
        Ok(())
    }
}

fn check_join(table: &Input, key: &arrow_schema::DataType) -> Result<(), Failure> {
    let schema = table.key_schema();
    match schema.fields().as_ref() {
        [column] if column.data_type() == key && can_index(key) => Ok(()),
        columns => Err(contradiction(format!(
            "{} has the key ({}) and cannot be looked up by a {key}",
            table.table,
            columns
                .iter()
                .map(|column| format!("{} {}", column.name(), column.data_type()))
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

fn check(described: &Description) -> Result<(), Failure> {
    let table = &described.output.table;
    let streamed: Vec<_> = described
        .inputs
        .iter()
        .filter(|input| input.role == Role::Streamed)
        .collect();
    if streamed.len() != 1 {
        return Err(contradiction(format!(
            "{table} is made from {} streamed inputs, not from one",
            streamed.len()
        )));
    }
    for column in &described.output.columns {
        if !can_gather(column.data_type()) {
            return Err(contradiction(format!(
                "{table}.{} has the type {}, which the columns of a table cannot have",
                column.name(),
                column.data_type()
            )));
        }
    }
    let mut names: Vec<_> = described.output.columns.iter().map(Field::name).collect();
    names.sort();
    if let Some([name, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(contradiction(format!(
            "{table} has two columns named {name}"
        )));
    }
    Ok(())
}

fn contradiction(message: String) -> Failure {
    Failure::new("contradiction", message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{Int32Array, StringArray};

    use super::*;
    use crate::column::Integer;
    use crate::description::{integer, text};
    use crate::failure::Reason;

    fn why(table: Table) -> String {
        table.describe().unwrap_err().message
    }

    #[test]
    fn the_declared_columns_are_those_that_rules_name_and_no_others() {
        let staff = Input::current("staff").key(integer("staff_id"));
        let department = Input::current("department")
            .key(integer("department_id"))
            .look_up(staff.integer("department_id"));
        let table = Table::overwrite("t")
            .key("id", staff.integer("staff_id"))
            .required("department", department.text("department_name"));
        let inputs = table.describe().unwrap().inputs;
        let shape = |input: &Input| {
            let names: Vec<_> = input.columns.iter().map(|c| c.name().clone()).collect();
            (input.table.clone(), input.role, names.join(" "))
        };
        assert_eq!(
            inputs.iter().map(shape).collect::<Vec<_>>(),
            [
                (
                    "staff".to_owned(),
                    Role::Streamed,
                    "staff_id department_id".to_owned()
                ),
                (
                    "department".to_owned(),
                    Role::Lookup,
                    "department_id department_name".to_owned()
                ),
            ]
        );
    }

    /// A table whose key is a text of digits, as a number.
    fn numbered() -> Table {
        let note = Input::changes("note").key(text("number"));
        let number = note.text("number").compute::<Integer>(
            arrow_schema::DataType::Int32,
            |texts, origin, refusals| {
                let texts = texts.as_string::<i32>();
                let numbers = texts.iter().enumerate().map(|(row, text)| {
                    let number = text?.parse().ok();
                    if number.is_none() {
                        refusals.refuse(row, || Reason::new("no-number", origin.to_owned()));
                    }
                    number
                });
                Ok(Arc::new(numbers.collect::<Int32Array>()))
            },
        );
        Table::upsert("t")
            .optional("body", note.text("body"))
            .key("id", number)
    }

    #[test]
    fn a_key_that_is_worked_out_is_taken_back_as_it_was_made() {
        let mut table = numbered();
        table.open(&Context::default()).unwrap();
        let description = table.describe().unwrap();
        let schema = description.inputs[0].key_schema();
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["07", "seven", "8"]));
        let arrival = Arrival {
            description: &description,
            input: 0,
            chunk: 0,
            first_row: 0,
            rows: &RecordBatch::try_new(schema, vec![keys]).unwrap(),
        };
        let mut step = Step::default();
        table.retract(&arrival, &mut step).unwrap();
        let ids = step.retractions[0].column(0).as_primitive::<Int32Type>();
        assert_eq!(ids.values().to_vec(), [7, 8]);
        assert!(step.rejects.is_empty());
    }

    #[test]
    fn a_table_that_contradicts_itself_says_how() {
        let note = || Input::changes("note").key(integer("note_id"));
        let id = || note().integer("note_id");
        let other = Input::changes("other").key(integer("other_id"));
        let by_text = Input::current("author").key(text("name"));
        assert_eq!(
            why(Table::upsert("t")),
            "t is made from 0 streamed inputs, not from one"
        );
        assert_eq!(
            why(Table::upsert("t")
                .key("id", id())
                .optional("x", other.text("x"))),
            "t is made from 2 streamed inputs, not from one"
        );
        assert_eq!(
            why(Table::upsert("t").key("id", note().text("body"))),
            "the key (note_id) of note does not become the key (id) of t"
        );
        assert_eq!(
            why(Table::upsert("t").key("id", note().integer("number"))),
            "the key (note_id) of note does not become the key (id) of t"
        );
        let by_two = Input::changes("note")
            .key(integer("note_id"))
            .key(text("part"));
        assert_eq!(
            why(Table::upsert("t").key("id", by_two.integer("note_id"))),
            "the key (note_id, part) of note does not become the key (id) of t"
        );
        assert_eq!(
            why(Table::upsert("t")
                .key("id", id())
                .optional("id", note().text("body"))),
            "t has two columns named id"
        );
        assert_eq!(
            why(Table::upsert("t")
                .key("id", id())
                .optional("x", note().text("note_id"))),
            "note.note_id is read as Int32 and as Utf8"
        );
        let joined = by_text.look_up(id());
        assert_eq!(
            why(Table::upsert("t")
                .key("id", id())
                .optional("x", joined.text("name"))),
            "author has the key (name Utf8) and cannot be looked up by a Int32"
        );
        let itself = note().look_up(id());
        assert_eq!(
            why(Table::upsert("t")
                .key("id", id())
                .optional("x", itself.text("body"))),
            "note is declared in two ways"
        );
    }
}
