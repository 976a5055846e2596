//! Modules whose code does harm while it runs.

use super::case::{Cases, made};
use super::scripted::ipc;
use tidemill_tests::puppet::{Puppet, hex};

pub(crate) fn add(cases: &mut Cases) {
    let honest = Puppet::default;
    cases.puppet("honest", honest());
    for phase in ["describe", "open", "push", "retract", "end", "finish"] {
        cases.puppet(
            &format!("endless loop in {phase}"),
            honest().does(phase, "loop"),
        );
        cases.ends_soon();
    }
    for phase in ["describe", "open", "push"] {
        for act in ["recurse", "unreachable", "panic"] {
            cases.puppet(&format!("{act} in {phase}"), honest().does(phase, act));
        }
    }
    cases.puppet(
        "more instructions than there is fuel for",
        honest().does("push", "loop"),
    );
    cases.within(|limits| limits.fuel = 10_000_000);
    cases.puppet(
        "memory, as fast as it comes",
        honest().does("push", "hoard"),
    );
    cases.puppet("memory, bit by bit", honest().does("push", "trickle"));
    cases.puppet(
        "memory, before it says its name",
        honest().does("describe", "hoard"),
    );
    cases.puppet(
        "log flood",
        honest()
            .does("push", "flood 100000 4000")
            .does("push", "counts 3 0 0 0"),
    );
    cases.puppet(
        "gives up with words that move the cursor",
        honest().does(
            "finish",
            &format!(
                "fail {} {}",
                hex(b"no\x1b[2J"),
                hex("\x1b[2Jerror: \u{202e}all is well\r\n".as_bytes())
            ),
        ),
    );
    big(cases);
    rejects(cases);
    counts(cases);
}

/// Answers that are too big.
fn big(cases: &mut Cases) {
    let honest = Puppet::default;
    cases.puppet("a chunk of 40 MB", honest().does("push", "zeros 40000000"));
    cases.puppet(
        "two million empty chunks",
        honest().does("push", "empty-rows 2000000"),
    );
    cases.puppet(
        "half a million empty chunks",
        honest().does("push", "empty-rows 500000"),
    );
    let ids: Vec<i32> = (0..50_000).collect();
    let more: Vec<i32> = (50_000..100_001).collect();
    let schema = super::scripted::ipc_schema(&super::scripted::output_schema()).len();
    let tail = ipc(&made(&more)).split_off(schema);
    cases.puppet("a row more than may be made", {
        let whole = ipc(&made(&ids));
        // Once in `push` and once in `end`, so that it is the session that counts.
        honest()
            .takes(vec![tidemill_tests::puppet::input(
                "thing",
                &super::scripted::input_schema(),
                "changes",
                "streamed",
                &["id"],
            )])
            .gives(&[&whole], 50_000)
            .does_with("end", "rows", &tail)
            .does("end", "counts 0 50001 0 0")
    });
    cases.within(|limits| limits.parameters_bytes = 8 << 20);
    cases.puppet("100000 keys that must be remembered one by one", {
        let ids: Vec<i32> = (0..60_000).collect();
        honest()
            .says("primary-key", &[b"name", b"id"])
            .gives(&[&ipc(&made(&ids))], 60_000)
    });
    cases.within(|limits| limits.parameters_bytes = 8 << 20);
}

/// Rejects that point nowhere, and too many of them.
fn rejects(cases: &mut Cases) {
    let reject = |place: &str, code: &[u8], message: &[u8]| {
        let line = format!("reject {place} {} {}", hex(code), hex(message));
        Puppet::default()
            .does("push", &line)
            .does("push", "counts 3 0 0 1")
    };
    for (name, place) in [
        ("a reject of an input that there is not", "1 0 0"),
        ("a reject of a chunk that was not given", "0 1 0"),
        ("a reject of a row that is not in its chunk", "0 0 3"),
        (
            "a reject of the last row that can be written down",
            "4294967295 4294967295 4294967295",
        ),
    ] {
        cases.puppet(name, reject(place, b"x", b""));
    }
    cases.puppet(
        "a code that is a path",
        reject("0 0 0", b"../../etc/passwd", b""),
    );
    cases.puppet(
        "a code of a hundred kilobytes",
        reject("0 0 0", &[b'x'; 100_000], b""),
    );
    cases.puppet(
        "a message of a hundred kilobytes",
        reject("0 0 0", b"x", &[b'm'; 100_000]),
    );
    cases.puppet(
        "a message that is no UTF-8",
        reject("0 0 0", b"x", b"\xff\xfe"),
    );
    let many = |times: u64, message: &[u8]| {
        let line = format!("rejects {times} 0 0 0 {} {}", hex(b"x"), hex(message));
        Puppet::default()
            .does("push", &line)
            .does("push", &format!("counts 3 0 0 {times}"))
    };
    cases.puppet("100001 rejects of the same row", many(100_001, b""));
    cases.puppet(
        "rejects that fill the host's memory",
        many(20_000, &[b'm'; 500]),
    );
}

/// Counts that do not add up.
fn counts(cases: &mut Cases) {
    for (what, counts) in [
        ("rows in", "2 0 0 0"),
        ("rows out", "3 1 0 0"),
        ("retractions", "3 0 18446744073709551615 0"),
        ("rejects", "3 0 0 9"),
    ] {
        let puppet = Puppet::default().does("push", &format!("counts {counts}"));
        cases.puppet(&format!("wrong counts of {what}"), puppet);
    }
    let puppet = Puppet::default().does("finish", "counts 3 0 0 0");
    cases.puppet("counts of rows that it was given before", puppet);
}
