//! Columns: where each column of an output comes from and by which rule.
//!
//! A [`Column`] is a rule, not values: a table is put together from rules once, and each rule is then worked
//! out for a whole batch at a time. What kind of values a rule gives is part of its type, so that `to_date`
//! can be said of a text and of nothing else.

use std::marker::PhantomData;
use std::rc::Rc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Date32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::calendar::{day_and_time, parse_date_bytes};
use crate::description::{self, Input};
use crate::evaluation::Refusals;
use crate::failure::{Failure, Reason, quoted};
use crate::lookup::Join;

/// Whole numbers of 32 bits.
#[derive(Debug, Clone, Copy)]
pub enum Integer {}
/// Whole numbers of 64 bits.
#[derive(Debug, Clone, Copy)]
pub enum BigInteger {}
/// Texts.
#[derive(Debug, Clone, Copy)]
pub enum Text {}
/// True or false.
#[derive(Debug, Clone, Copy)]
pub enum Boolean {}
/// Exact decimal numbers.
#[derive(Debug, Clone, Copy)]
pub enum Decimal {}
/// Calendar dates.
#[derive(Debug, Clone, Copy)]
pub enum Date {}
/// Times of day.
#[derive(Debug, Clone, Copy)]
pub enum Time {}
/// Dates with a time of day.
#[derive(Debug, Clone, Copy)]
pub enum Timestamp {}

/// Codes with what they stand for, in the order of the codes.
pub type Codes = [(&'static str, &'static str)];

/// Where values of one kind come from and by which rule.
#[derive(Clone)]
pub struct Column<Kind> {
    pub(crate) rule: Rule,
    kind: PhantomData<Kind>,
}

/// The rule without the kind.
#[derive(Clone)]
pub(crate) enum Rule {
    /// A column of an input, as it is.
    Input { input: Rc<Input>, field: Field },
    /// A column of the row of another table that a join finds.
    Joined { join: Rc<Join>, field: Field },
    /// Worked out from another rule, a batch at a time.
    Computed {
        from: Rc<Rule>,
        data_type: DataType,
        compute: Rc<Compute>,
    },
}

/// Works out a column from another, and refuses the rows it cannot.
pub(crate) type Compute = dyn Fn(&ArrayRef, &str, &mut Refusals) -> Result<ArrayRef, Failure>;

impl Rule {
    pub(crate) fn data_type(&self) -> &DataType {
        match self {
            Self::Input { field, .. } | Self::Joined { field, .. } => field.data_type(),
            Self::Computed { data_type, .. } => data_type,
        }
    }

    /// The column of an input that the values are made of; `None` when they come from a joined table.
    pub(crate) fn input_column(&self) -> Option<&str> {
        match self {
            Self::Input { field, .. } => Some(field.name()),
            Self::Joined { .. } => None,
            Self::Computed { from, .. } => from.input_column(),
        }
    }

    /// The column where the values come from, as messages name it: `staff.first_name`.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Input { input, field } => format!("{}.{}", input.table, field.name()),
            Self::Joined { join, field } => format!("{}.{}", join.table.table, field.name()),
            Self::Computed { from, .. } => from.origin(),
        }
    }
}

impl<Kind> Column<Kind> {
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            kind: PhantomData,
        }
    }

    /// A rule that the SDK does not have: works out a whole batch of values from a batch of values of this
    /// column. It is given the name of the column for messages, and refuses what it cannot work out; what
    /// stands in a refused row does not matter.
    #[must_use]
    pub fn compute<Made>(
        self,
        data_type: DataType,
        compute: impl Fn(&ArrayRef, &str, &mut Refusals) -> Result<ArrayRef, Failure> + 'static,
    ) -> Column<Made> {
        Column::new(Rule::Computed {
            from: Rc::new(self.rule),
            data_type,
            compute: Rc::new(compute),
        })
    }
}

impl Column<Text> {
    /// The calendar date that the text writes as `YYYY-MM-DD`. Any other text refuses the row.
    #[must_use]
    pub fn to_date(self) -> Column<Date> {
        self.compute(DataType::Date32, |texts, origin, refusals| {
            let texts = texts.as_string::<i32>();
            let days = dates_of(texts, |row| {
                refusals.refuse(row, || bad_date(origin, texts.value(row)));
            });
            let dates = Date32Array::new(days.into(), texts.nulls().cloned());
            Ok(std::sync::Arc::new(dates))
        })
    }

    /// What the code stands for in a list. A code that is not in the list refuses the row.
    #[must_use]
    pub fn named_by(self, list: &'static str, codes: &'static Codes) -> Column<Text> {
        self.compute(DataType::Utf8, move |texts, origin, refusals| {
            let names: StringArray = texts
                .as_string::<i32>()
                .iter()
                .enumerate()
                .map(|(row, code)| {
                    let code = code?;
                    let found = codes.binary_search_by(|(known, _)| (*known).cmp(code));
                    let name = found
                        .ok()
                        .and_then(|at| codes.get(at))
                        .map(|(_, name)| *name);
                    if name.is_none() {
                        refusals.refuse(row, || unknown_code(origin, code, list));
                    }
                    name
                })
                .collect();
            Ok(std::sync::Arc::new(names))
        })
    }
}

impl Column<Timestamp> {
    /// The date of the timestamp.
    #[must_use]
    pub fn date(self) -> Column<Date> {
        self.compute(DataType::Date32, |timestamps, _, _| {
            let timestamps = timestamps.as_primitive::<TimestampMicrosecondType>();
            let dates = timestamps.unary::<_, Date32Type>(|micros| day_and_time(micros).0);
            Ok(std::sync::Arc::new(dates))
        })
    }

    /// The time of day of the timestamp.
    #[must_use]
    pub fn time(self) -> Column<Time> {
        self.compute(
            DataType::Time64(TimeUnit::Microsecond),
            |timestamps, _, _| {
                let timestamps = timestamps.as_primitive::<TimestampMicrosecondType>();
                let times =
                    timestamps.unary::<_, Time64MicrosecondType>(|micros| day_and_time(micros).1);
                Ok(std::sync::Arc::new(times))
            },
        )
    }
}

/// The dates that texts write; 0 for NULL and for what is no date, of which `refuse` is told the row.
///
/// Eight texts to a turn were tried, where all have the width of a date: a component took as long.
fn dates_of(texts: &StringArray, mut refuse: impl FnMut(usize)) -> Vec<i32> {
    let bytes = texts.value_data();
    let nulls = texts.nulls().filter(|nulls| nulls.null_count() > 0);
    let bounds = texts.value_offsets().windows(2).enumerate();
    let dates = bounds.map(|(row, bounds)| {
        // The text of a NULL is empty by Arrow's rules or rubbish; either way it is not looked at.
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return 0;
        }
        let text = match *bounds {
            [start, end] => bytes.get(start as usize..end as usize),
            _ => None,
        };
        text.and_then(parse_date_bytes).unwrap_or_else(|| {
            refuse(row);
            0
        })
    });
    dates.collect()
}

fn bad_date(origin: &str, text: &str) -> Reason {
    Reason::new(
        Reason::BAD_DATE,
        format!(
            "{origin} is {}, not a calendar date as YYYY-MM-DD",
            quoted(text)
        ),
    )
}

fn unknown_code(origin: &str, code: &str, list: &str) -> Reason {
    Reason::new(
        Reason::UNKNOWN_CODE,
        format!("{origin} is {}, which is not in {list}", quoted(code)),
    )
}

/// The kinds of columns that an input or a joined table can be asked for.
macro_rules! columns_by_kind {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $kind:ident;)*) => {
        impl Input {
            $($(#[$doc])*
            pub fn $name(&self, name: &str $(, $argument: $type)*) -> Column<$kind> {
                Column::new(Rule::Input {
                    input: Rc::new(self.clone()),
                    field: description::$name(name $(, $argument)*),
                })
            })*
        }

        impl Joined {
            $($(#[$doc])*
            pub fn $name(&self, name: &str $(, $argument: $type)*) -> Column<$kind> {
                Column::new(Rule::Joined {
                    join: self.join.clone(),
                    field: description::$name(name $(, $argument)*),
                })
            })*
        }
    };
}

columns_by_kind! {
    /// A column of whole numbers of 32 bits.
    integer() -> Integer;
    /// A column of whole numbers of 64 bits.
    big_integer() -> BigInteger;
    /// A column of texts.
    text() -> Text;
    /// A column of true and false.
    boolean() -> Boolean;
    /// A column of exact decimals: `digits` in all, `after_point` of them after the point.
    decimal(digits: u8, after_point: i8) -> Decimal;
    /// A column of calendar dates.
    date() -> Date;
    /// A column of timestamps without a time zone.
    timestamp() -> Timestamp;
}

/// The row of another table that belongs to each row of the streamed input, if there is one.
#[derive(Clone)]
pub struct Joined {
    join: Rc<Join>,
}

impl Input {
    /// The row of this table whose key equals a column: a left join. The key is one column, a whole number or
    /// a text. Where the column is NULL or no row has the key, the joined columns are NULL, and a column of the
    /// output that is required refuses the row and says which of the two it was.
    #[must_use]
    pub fn look_up<Kind>(&self, key: Column<Kind>) -> Joined {
        Joined {
            join: Rc::new(Join {
                table: self.clone().as_lookup(),
                key: key.rule,
            }),
        }
    }
}

/// The column of a batch by name and type: for a transform that is written by hand.
///
/// # Errors
/// There is no such column, or it has another type; the failure names the columns and the types.
pub fn column<'a>(rows: &'a RecordBatch, field: &Field) -> Result<&'a ArrayRef, Failure> {
    let Some(column) = rows.column_by_name(field.name()) else {
        let schema = rows.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Failure::new(
            "missing-column",
            format!(
                "there is no column {}; there are {}",
                field.name(),
                names.join(", ")
            ),
        ));
    };
    if column.data_type() != field.data_type() {
        return Err(Failure::new(
            "wrong-type",
            format!(
                "the column {} is {}, not {}",
                field.name(),
                column.data_type(),
                field.data_type()
            ),
        ));
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_among_dates_are_found_in_their_rows() {
        let good = "2024-02-29";
        let others = [
            None,
            Some(""),
            Some("2023-02-29"),
            Some("12345-01-01"),
            Some("2024-1-1"),
        ];
        for rows in 0..20 {
            for place in 0..rows {
                for other in others {
                    let texts = (0..rows).map(|row| if row == place { other } else { Some(good) });
                    // A slice, so that nothing may assume that texts begin where their buffer does.
                    let texts: StringArray = [Some("before")].into_iter().chain(texts).collect();
                    let mut refused = Vec::new();
                    let dates = dates_of(&texts.slice(1, rows), |row| refused.push(row));
                    let expected = (0..rows).map(|row| if row == place { 0 } else { 19_782 });
                    assert_eq!(dates, expected.collect::<Vec<_>>());
                    let expected = other.map(|_| place);
                    assert_eq!(refused, expected.into_iter().collect::<Vec<_>>());
                }
            }
        }
    }
}
