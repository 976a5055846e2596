//! The sandbox against guests that follow a script. What hostile ones are told is in `tests/sandbox`.

mod flood;
mod honest;
mod mutations;
mod scripted;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use tempfile::TempDir;

use super::*;
use crate::error::Classify as _;
use scripted::{Script, input_schema, output_schema};

/// A sandbox with its own cache.
struct Bench {
    sandbox: Sandbox,
    _cache: TempDir,
}

fn bench(limits: Limits) -> Bench {
    let cache = tempfile::tempdir().expect("a temporary folder");
    Bench {
        sandbox: Sandbox::new(limits, cache.path()).expect("this machine runs WebAssembly"),
        _cache: cache,
    }
}

fn load(script: &Script) -> Result<Module, SandboxError> {
    bench(Limits::default())
        .sandbox
        .load(&script.component(), b"")
}

const CONTEXT: Context = Context {
    logical_time_micros: 1,
    seed: 2,
};

fn columns(ids: &[i32], names: &[Option<&str>]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int32Array::from(ids.to_vec())),
        Arc::new(StringArray::from(names.to_vec())),
    ]
}

/// Rows for the scripted guest's input.
fn things(ids: &[i32]) -> RecordBatch {
    let names = vec![Some("n"); ids.len()];
    RecordBatch::try_new(input_schema().into(), columns(ids, &names)).expect("it fits")
}

/// Rows as the scripted guest declares its output.
fn made(ids: &[i32]) -> RecordBatch {
    let names = vec![Some("n"); ids.len()];
    RecordBatch::try_new(output_schema().into(), columns(ids, &names)).expect("it fits")
}

/// Keys of input and output.
fn keys(ids: &[i32]) -> RecordBatch {
    made(ids)
        .project(&[0])
        .expect("the first column is the key")
}

/// Everything that an error says, in one line.
fn story(error: &SandboxError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
