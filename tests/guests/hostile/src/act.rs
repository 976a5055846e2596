//! What is done in a phase, in the order of its lines.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use crate::CALLS;
use crate::bindings::tidemill::transform::log::{Level, write};
use crate::bindings::tidemill::transform::types::{Counts, Failure, Reject, Step};
use crate::memory;
use crate::script::{Phase, Script, Words};

/// Does what the script says of a phase. Where it says nothing of counts, they are those of an honest module that is
/// given the rows of the setting `rows-in` and keys of the setting `keys-in`, and makes nothing of them.
pub(crate) fn act(script: &Script, phase: Phase) -> Result<Step, Failure> {
    let given = match phase {
        Phase::Push => script.setting("rows-in"),
        Phase::Retract => script.setting("keys-in"),
        _ => None,
    };
    let mut step = Step {
        rows: Vec::new(),
        retractions: Vec::new(),
        rejects: Vec::new(),
        counts: Counts {
            rows_in: given.map_or(0, |mut words| words.number()),
            rows_out: 0,
            rows_retracted: 0,
            rows_rejected: 0,
        },
    };
    for words in script.acts(phase) {
        one(words, &mut step)?;
    }
    Ok(step)
}

fn one(mut words: Words<'_>, step: &mut Step) -> Result<(), Failure> {
    match words.word() {
        "loop" => endless(),
        "recurse" => {
            black_box(recurse(black_box(1)));
        }
        "unreachable" => std::arch::wasm32::unreachable(),
        "panic" => panic!("a hostile panic"),
        "hoard" => memory::hoard(),
        "trickle" => memory::trickle(),
        "fail" => {
            return Err(Failure {
                code: words.text(),
                message: words.text(),
            });
        }
        "flood" => flood(words.number(), words.small() as usize),
        "soil" => memory::soil(&words.bytes()),
        "search" => return Err(found(words)),
        "calls" => return Err(told("calls", CALLS.load(Ordering::Relaxed).to_string())),
        "counts" => {
            step.counts = Counts {
                rows_in: words.number(),
                rows_out: words.number(),
                rows_retracted: words.number(),
                rows_rejected: words.number(),
            };
        }
        "rows" => step.rows.push(words.bytes()),
        "empty-rows" => step.rows.resize(words.small() as usize, Vec::new()),
        "zeros" => step.rows.push(vec![0; words.small() as usize]),
        "padded-rows" => {
            let zeros = words.small() as usize;
            let mut chunk = words.bytes();
            chunk.resize(chunk.len() + zeros, 0);
            step.rows.push(chunk);
        }
        "retractions" => step.retractions.push(words.bytes()),
        "reject" => step.rejects.push(reject(&mut words)),
        "rejects" => {
            let times = words.number();
            let reject = reject(&mut words);
            step.rejects.extend((0..times).map(|_| reject.clone()));
        }
        other => panic!("nobody can {other}"),
    }
    Ok(())
}

fn reject(words: &mut Words<'_>) -> Reject {
    Reject {
        input: words.small(),
        chunk: words.small(),
        row: words.small(),
        code: words.text(),
        message: words.text(),
    }
}

fn endless() {
    let mut number = 1_u32;
    loop {
        number = black_box(number.wrapping_mul(3));
    }
}

/// Keeps nothing in memory, so that it is the call stack that ends; and calls what the compiler does not know, so that
/// no loop is made of it.
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let again: fn(u32) -> u32 = black_box(recurse);
    let deeper = again(black_box(depth.wrapping_add(1)));
    black_box(deeper).wrapping_add(depth)
}

fn flood(lines: u64, bytes: usize) {
    let line = "\u{1b}[2J".repeat(bytes / 4);
    for _ in 0..lines {
        write(Level::Error, &line);
    }
}

fn found(words: Words<'_>) -> Failure {
    let counts: Vec<String> = words
        .all_bytes()
        .iter()
        .map(|inverted| memory::count(inverted).to_string())
        .collect();
    told("searched", format!("found {}", counts.join(", ")))
}

fn told(code: &str, message: String) -> Failure {
    Failure {
        code: code.to_owned(),
        message,
    }
}
