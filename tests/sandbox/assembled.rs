//! Modules that no toolchain makes: what they do is laid down instruction by instruction.

use super::case::Cases;
use super::scripted::{Act, Script};

/// Where a module puts an answer together; and memory that it has, and the script does not use.
const ANSWER: usize = 4 << 20;
const EMPTY: usize = 5 << 20;

pub(crate) fn add(cases: &mut Cases) {
    cases.script("an honest script", &pushed(Act::Run(HONEST)));
    allocator(cases);
    start(cases);
    tables(cases);
    answers(cases);
    let clean_up = Script {
        extra: r#"(func (export "cabi_post_tidemill:transform/transform@1.0.0#[method]session.push")
                    (param i32) (loop (br 0)))"#,
        ..honest()
    };
    cases.script("endless clean-up after push", &clean_up);
    cases.ends_soon();
}

/// An empty answer that counts three rows in.
const HONEST: &str = "(i32.store (i32.const 4194336) (i32.const 3)) (i32.const 4194304)";

fn honest() -> Script {
    Script {
        push: vec![Act::Run(HONEST)],
        retract: Act::Run("(i32.store (i32.const 4194336) (i32.const 1)) (i32.const 4194304)"),
        ..Script::default()
    }
}

fn pushed(act: Act) -> Script {
    Script {
        push: vec![act],
        ..honest()
    }
}

/// The allocator is called by the host, in the middle of its own work.
fn allocator(cases: &mut Cases) {
    // Chunks of rows are the first that is larger than this; parameters are smaller.
    let push = "(if (i32.gt_u (local.get 3) (i32.const 64)) (then";
    for (name, condition) in [("describe", ""), ("push", push)] {
        let close = if condition.is_empty() { "" } else { "))" };
        for (what, body) in [
            ("never returns", "(loop (br 0))"),
            ("traps", "unreachable"),
            ("gives memory that there is not", "(return (i32.const -16))"),
            (
                "talks",
                "(call $log (i32.const 1) (i32.const 1024) (i32.const 4))",
            ),
        ] {
            let script = Script {
                realloc: format!("{condition} {body} {close} (i32.const 8388608)"),
                ..honest()
            };
            cases.script(&format!("an allocator that {what} in {name}"), &script);
            cases.ends_soon();
        }
    }
}

fn start(cases: &mut Cases) {
    let with = |extra| Script { extra, ..honest() };
    cases.script(
        "an endless start",
        &with("(func $start (loop (br 0))) (start $start)"),
    );
    cases.ends_soon();
    cases.script(
        "a start that traps",
        &with("(func $start unreachable) (start $start)"),
    );
    cases.script("more memory from the start than there is", &honest());
    cases.within(|limits| limits.memory_bytes = 1 << 20);
    cases.script(
        "data outside of its memory",
        &with(r#"(data (i32.const 16777210) "0123456789")"#),
    );
}

fn tables(cases: &mut Cases) {
    let grow =
        "(loop (drop (table.grow $bomb (ref.null func) (i32.const 1000))) (br 0)) unreachable";
    let growing = Script {
        extra: "(table $bomb 0 funcref)",
        ..pushed(Act::Run(grow))
    };
    cases.script("a table that grows", &growing);
    let several = Script {
        extra: "(table 600000 funcref) (table 600000 funcref)",
        ..honest()
    };
    cases.script("two tables from the start", &several);
    let bounded = Script {
        extra: "(table $bomb 0 10 funcref)",
        ..pushed(Act::Run(
            "(drop (table.grow $bomb (ref.null func) (i32.const 1000)))
             (i32.store (i32.const 4194336) (i32.const 3)) (i32.const 4194304)",
        ))
    };
    cases.script("a table that may not grow, and is told so", &bounded);
}

/// Answers whose pointers, lengths and tags are wrong.
fn answers(cases: &mut Cases) {
    let word = |at: usize, value: i64| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    let answer = |words: &[(usize, i64)]| {
        let mut body: String = words
            .iter()
            .map(|(at, value)| word(ANSWER + at, *value))
            .collect();
        body.push_str(&format!("(i32.const {ANSWER})"));
        Act::Run(body.leak())
    };
    for (name, act) in [
        ("an answer outside of memory", Act::Run("(i32.const -64)")),
        (
            "an answer at an odd address",
            Act::Run("(i32.const 4194305)"),
        ),
        ("an answer that is neither good nor bad", answer(&[(0, 5)])),
        ("rows outside of memory", answer(&[(8, -8), (12, 1)])),
        (
            "half a billion chunks",
            answer(&[(8, EMPTY as i64), (12, 0x1fff_ffff)]),
        ),
        ("minus one chunk", answer(&[(8, EMPTY as i64), (12, -1)])),
        ("minus one reject", answer(&[(24, EMPTY as i64), (28, -1)])),
        (
            "a chunk of four gigabytes",
            answer(&[
                (8, EMPTY as i64),
                (12, 1),
                (EMPTY - ANSWER, 0),
                (EMPTY - ANSWER + 4, -1),
            ]),
        ),
    ] {
        cases.script(name, &pushed(act));
    }
    // Sixteen chunks, each of them the same eight megabytes.
    let mut same: Vec<(usize, i64)> = vec![(8, EMPTY as i64), (12, 16)];
    for chunk in 0..16 {
        same.extend([
            (EMPTY - ANSWER + chunk * 8, 0),
            (EMPTY - ANSWER + chunk * 8 + 4, 8 << 20),
        ]);
    }
    cases.script(
        "sixteen times the same eight megabytes",
        &pushed(answer(&same)),
    );
    let mut load = honest();
    load.mode = 9;
    cases.script("a load mode that there is not", &load);
    let mut delivery = honest();
    for input in &mut delivery.inputs {
        input.delivery = 7;
    }
    cases.script("a delivery that there is not", &delivery);
    let handle = format!(
        "(i32.store (i32.const {ANSWER}) (i32.const 0)) (i32.store (i32.const {}) (i32.const 77)) (i32.const {ANSWER})",
        ANSWER + 4
    );
    cases.script(
        "a session that there is not",
        &Script {
            open: Some(Act::Run(handle.leak())),
            ..honest()
        },
    );
}
