//! `moody`: one row per note, and a number that is wrong in the way that the parameters name.
//!
//! | parameters | what is wrong |
//! |---|---|
//! | (none) | nothing |
//! | `chunks` | the number is how many rows came in the same chunk |
//! | `order` | the number is how many rows came before |
//! | `texts` | it panics at a text that holds an apostrophe |
//! | `patience` | it gives up at a text that holds an apostrophe, which a module may |
//! | `many` | it gives up when more notes have come than `MANY` |
//! | `keys` | it gives the rows of two notes the same key |
//! | `lookup` | it panics when no author has arrived |

use std::sync::Arc;

use tidemill_sdk::arrow::array::cast::AsArray;
use tidemill_sdk::arrow::array::types::Int32Type;
use tidemill_sdk::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use tidemill_sdk::{
    Arrival, Description, Failure, Input, LoadMode, Output, Reason, Step, Transform, integer, text,
};

tidemill_sdk::export!(moody with parameters);

/// So many notes are too many for a module that minds.
const MANY: i32 = 9_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Chunks,
    Order,
    Texts,
    Patience,
    Many,
    Keys,
    Lookup,
}

/// Notes with a number.
pub struct Moody {
    mood: Mood,
    authors: usize,
    notes: i32,
}

/// The module whose fault `parameters` name.
///
/// # Errors
/// There is no such fault.
pub fn moody(parameters: &[u8]) -> Result<Moody, Failure> {
    let mood = match parameters {
        b"" => Mood::Good,
        b"chunks" => Mood::Chunks,
        b"order" => Mood::Order,
        b"texts" => Mood::Texts,
        b"patience" => Mood::Patience,
        b"many" => Mood::Many,
        b"keys" => Mood::Keys,
        b"lookup" => Mood::Lookup,
        _ => return Err(Failure::new("parameters", "there is no such mood")),
    };
    Ok(Moody {
        mood,
        authors: 0,
        notes: 0,
    })
}

impl Transform for Moody {
    fn describe(&self) -> Result<Description, Failure> {
        let output = Output::new("moody", LoadMode::Upsert).key(integer("id"));
        Ok(Description {
            inputs: vec![
                Input::changes("note")
                    .key(integer("note_id"))
                    .column(text("body"))
                    .column(integer("author_id")),
                Input::current("author")
                    .key(integer("author_id"))
                    .as_lookup(),
            ],
            output: output.optional(text("body")).required(integer("number")),
            properties: Vec::new(),
        })
    }

    fn push(&mut self, rows: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        if rows.input == 1 {
            self.authors += rows.rows.num_rows();
            return Ok(());
        }
        if self.mood == Mood::Lookup && self.authors == 0 {
            panic!("nobody wrote this");
        }
        let (mut ids, mut bodies, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let keys = rows.rows.column(0).as_primitive::<Int32Type>();
        let texts = rows.rows.column(1).as_string::<i32>();
        for (row, (id, body)) in keys.iter().zip(texts).enumerate() {
            self.notes += 1;
            if self.mood == Mood::Many && self.notes > MANY {
                return Err(Failure::new("many", "there are too many notes"));
            }
            let Some(id) = id else {
                step.refuse(
                    rows.place(row),
                    Reason::new(Reason::MISSING_VALUE, "note.note_id is NULL"),
                );
                continue;
            };
            match self.mood {
                Mood::Texts if body.is_some_and(|body| body.contains('\'')) => {
                    panic!("it is quoted")
                }
                Mood::Patience if body.is_some_and(|body| body.contains('\'')) => {
                    return Err(Failure::new("quoted", "it is quoted"));
                }
                _ => {}
            }
            ids.push(if self.mood == Mood::Keys { id / 2 } else { id });
            bodies.push(body);
            numbers.push(match self.mood {
                Mood::Chunks => i32::try_from(rows.rows.num_rows()).unwrap_or(i32::MAX),
                Mood::Order => self.notes,
                _ => 0,
            });
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(ids)),
            Arc::new(StringArray::from(bodies)),
            Arc::new(Int32Array::from(numbers)),
        ];
        let schema = rows.description.output.schema();
        step.rows.push(RecordBatch::try_new(schema, columns)?);
        Ok(())
    }
}
