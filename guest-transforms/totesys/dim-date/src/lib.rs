//! `dim_date`: one row per day of every calendar year in which a fact has a date.

mod year;

use std::collections::BTreeSet;

use tidemill_sdk::arrow::array::RecordBatch;
use tidemill_sdk::arrow::array::cast::AsArray;
use tidemill_sdk::arrow::array::types::TimestampMicrosecondType;
use tidemill_sdk::arrow::schema::DataType;
use tidemill_sdk::calendar::parse_date;
use tidemill_sdk::{
    Arrival, Description, Failure, Input, LoadMode, Output, Step, Transform, column, date, integer,
    text, timestamp,
};

use crate::year::{Year, YearsOfDays, YearsOfTimestamps};

tidemill_sdk::export!(dim_date);

/// One row per day of every calendar year in which a fact has a date. The whole year is the margin: the table
/// grows when a date of a new year lands, and is never shorter than the facts.
pub fn dim_date() -> DimDate {
    DimDate::default()
}

/// The tables that become facts, and the dates that reach them.
fn inputs() -> Vec<Input> {
    vec![
        Input::changes("sales_order")
            .key(integer("sales_order_id"))
            .column(timestamp("created_at"))
            .column(timestamp("last_updated"))
            .column(text("agreed_delivery_date"))
            .column(text("agreed_payment_date")),
        Input::changes("purchase_order")
            .key(integer("purchase_order_id"))
            .column(timestamp("created_at"))
            .column(timestamp("last_updated"))
            .column(text("agreed_delivery_date"))
            .column(text("agreed_payment_date")),
        Input::changes("payment")
            .key(integer("payment_id"))
            .column(timestamp("created_at"))
            .column(timestamp("last_updated"))
            .column(text("payment_date")),
    ]
}

fn output() -> Output {
    Output::new("dim_date", LoadMode::Upsert)
        .key(date("date_id"))
        .required(integer("year"))
        .required(integer("month"))
        .required(integer("day"))
        .required(integer("day_of_week"))
        .required(text("day_name"))
        .required(text("month_name"))
        .required(integer("quarter"))
}

/// The years that were seen; their days are given at the end, each once, in order.
#[derive(Debug, Default)]
pub struct DimDate {
    years: BTreeSet<Year>,
}

impl Transform for DimDate {
    fn describe(&self) -> Result<Description, Failure> {
        Ok(Description {
            inputs: inputs(),
            output: output(),
            properties: Vec::new(),
        })
    }

    fn push(&mut self, arrival: &Arrival<'_>, _: &mut Step) -> Result<(), Failure> {
        let columns = arrival.input().map_or(&[][..], |input| &input.columns);
        for field in columns {
            let values = column(arrival.rows, field)?;
            match field.data_type() {
                DataType::Timestamp(..) => {
                    let timestamps = values.as_primitive::<TimestampMicrosecondType>();
                    self.years
                        .extend(YearsOfTimestamps::of(timestamps.iter().flatten()));
                }
                DataType::Utf8 => {
                    // A text that is no date is not refused here: the fact that it belongs to refuses it, once.
                    let texts = values.as_string::<i32>().iter().flatten();
                    self.years
                        .extend(YearsOfDays::of(texts.filter_map(parse_date)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A day stays when an order of that day is deleted: other facts, and their history, may name it.
    fn retract(&mut self, _: &Arrival<'_>, _: &mut Step) -> Result<(), Failure> {
        Ok(())
    }

    fn finish(&mut self, step: &mut Step) -> Result<(), Failure> {
        let schema = output().schema();
        for year in &self.years {
            step.rows
                .push(RecordBatch::try_new(schema.clone(), year.columns())?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_date);
    }
}
