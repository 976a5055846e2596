//! What hostile guests are told. Each test makes the lie happen and reads the whole error.

use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema};

use super::scripted::{Act, Answer, Script, WIT, ipc, ipc_schema};
use super::*;
use crate::error::ErrorKind;

/// Limits that are reached quickly.
fn small() -> Limits {
    Limits {
        memory_bytes: 32 << 20,
        call_time: Duration::from_millis(200),
        output_rows: 100,
        log_lines: 10,
        ..Limits::default()
    }
}

/// What the error of one push of rows 1, 2 and 3 says after module and phase.
fn push_breach(act: Act) -> String {
    let script = Script {
        push: vec![act],
        ..Script::default()
    };
    push_breach_of(&script, small())
}

fn push_breach_of(script: &Script, limits: Limits) -> String {
    let module = bench(limits)
        .sandbox
        .load(&script.component(), b"")
        .expect("it describes itself");
    let mut session = module.open(CONTEXT).expect("it opens");
    let error = session
        .push(0, &things(&[1, 2, 3]))
        .expect_err("it is hostile");
    assert_eq!(error.kind(), ErrorKind::Module);
    assert!(error.hint().is_some());
    let start = format!("module {} was stopped in push: ", module.reference());
    story(&error)
        .strip_prefix(&start)
        .expect("module and phase")
        .to_owned()
}

fn answer(rows: Vec<Vec<u8>>, counts: [u64; 4]) -> Act {
    Act::Give(Answer {
        rows,
        counts,
        ..Answer::default()
    })
}

fn refusal(component: &[u8]) -> String {
    let error = bench(Limits::default())
        .sandbox
        .load(component, b"")
        .expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Module);
    story(&error)
}

/// What is wrong with the description.
fn described(script: &Script) -> String {
    let error = load(script).expect_err("it lies");
    let story = story(&error);
    assert!(story.contains("was stopped in describe"), "{story}");
    let (_, reason) = story
        .split_once("its description is wrong: ")
        .expect(&story);
    reason.to_owned()
}

#[test]
fn a_trap() {
    assert_eq!(
        push_breach(Act::Run("unreachable")),
        "it trapped: wasm trap: wasm `unreachable` instruction executed"
    );
}

#[test]
fn an_endless_loop() {
    assert_eq!(
        push_breach(Act::Run("(loop (br 0)) unreachable")),
        "it ran longer than 200ms"
    );
}

#[test]
fn a_loop_that_uses_up_its_fuel() {
    let script = Script {
        push: vec![Act::Run("(loop (br 0)) unreachable")],
        ..Script::default()
    };
    let limits = Limits {
        fuel: 100_000,
        ..Limits::default()
    };
    assert_eq!(
        push_breach_of(&script, limits),
        "it used more than 100000 units of fuel"
    );
}

#[test]
fn an_endless_loop_before_it_says_its_name() {
    let script = Script {
        describe: Some(Act::Run("(loop (br 0)) unreachable")),
        ..Script::default()
    };
    let component = script.component();
    let error = bench(small())
        .sandbox
        .load(&component, b"")
        .expect_err("it loops");
    let digest = module_digest(&component, b"").short();
    assert_eq!(
        story(&error),
        format!("module ({digest}) was stopped in describe: it ran longer than 200ms")
    );
}

#[test]
fn an_endless_start_function() {
    let script = Script {
        extra: "(func $start (loop (br 0))) (start $start)",
        ..Script::default()
    };
    let error = bench(small())
        .sandbox
        .load(&script.component(), b"")
        .expect_err("it loops");
    assert!(
        story(&error).contains("it ran longer than 200ms"),
        "{}",
        story(&error)
    );
}

#[test]
fn a_memory_bomb() {
    assert_eq!(
        push_breach(Act::Run(
            "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable"
        )),
        "it asked for more memory than 32.0 MiB"
    );
}

#[test]
fn a_memory_that_is_too_large_from_the_start() {
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    let error = bench(limits)
        .sandbox
        .load(&Script::default().component(), b"")
        .expect_err("16 MiB are too many");
    assert!(
        story(&error).ends_with("stopped in describe: it asked for more memory than 1.0 MiB"),
        "{}",
        story(&error)
    );
}

#[test]
fn an_answer_that_is_too_large_to_be_copied() {
    let script = Script {
        push: vec![answer(vec![vec![0; 100_000]], [3, 0, 0, 0])],
        ..Script::default()
    };
    let limits = Limits {
        step_bytes: 50_000,
        ..Limits::default()
    };
    assert_eq!(
        push_breach_of(&script, limits),
        "it made more than 50000 bytes in one call"
    );
}

#[test]
fn an_answer_outside_of_its_memory() {
    assert!(push_breach(Act::Run("(i32.const -64)")).starts_with("it trapped: "));
}

#[test]
fn more_rows_than_the_limit() {
    let ids: Vec<i32> = (0..101).collect();
    assert_eq!(
        push_breach(answer(vec![ipc(&made(&ids))], [3, 101, 0, 0])),
        "it made more than 100 rows of output"
    );
}

#[test]
fn more_bytes_than_the_limit() {
    let script = Script {
        push: vec![answer(vec![ipc(&made(&[1]))], [3, 1, 0, 0])],
        ..Script::default()
    };
    let limits = Limits {
        output_bytes: 100,
        ..Limits::default()
    };
    assert_eq!(
        push_breach_of(&script, limits),
        "it made more than 100 bytes of output"
    );
}

#[test]
fn rows_of_another_schema() {
    assert_eq!(
        push_breach(answer(vec![ipc(&keys(&[1]))], [3, 1, 0, 0])),
        "the schema of its rows differs from the declared one: 1 columns instead of 2"
    );
    assert_eq!(
        push_breach(answer(vec![ipc(&things(&[1]))], [3, 1, 0, 0])),
        "the schema of its rows differs from the declared one: column `name` is nullable instead of NOT NULL"
    );
}

#[test]
fn a_null_where_none_may_be() {
    // The schema at the head is the declared one; the batch comes from a stream that allows NULL.
    let nullable =
        RecordBatch::try_new(input_schema().into(), columns(&[1, 2], &[Some("a"), None]))
            .expect("it fits");
    let mut chunk = ipc_schema(&output_schema());
    chunk.extend_from_slice(&ipc(&nullable)[ipc_schema(&input_schema()).len()..]);
    assert_eq!(
        push_breach(answer(vec![chunk], [3, 2, 0, 0])),
        "column `name` of its rows is declared NOT NULL, but row 1 holds NULL"
    );
}

#[test]
fn a_decimal_with_more_digits_than_declared() {
    let narrow = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("price", DataType::Decimal128(4, 2), true),
    ]);
    let prices = arrow::array::Decimal128Array::from(vec![Some(9_999), None, Some(10_000)])
        .with_precision_and_scale(4, 2)
        .expect("a valid type");
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_new(Arc::new(narrow.clone()), vec![ids, Arc::new(prices)])
        .expect("Arrow does not look at digits");
    let script = Script {
        output_schema: ipc_schema(&narrow),
        push: vec![answer(vec![ipc(&batch)], [3, 3, 0, 0])],
        ..Script::default()
    };
    assert_eq!(
        push_breach_of(&script, Limits::default()),
        "column `price` of its rows is declared Decimal128(4, 2), but row 2 holds more digits"
    );
}

#[test]
fn text_that_is_not_utf8() {
    let mut chunk = ipc(&made(&[1]));
    let at = chunk
        .iter()
        .rposition(|byte| *byte == b'n')
        .expect("the name");
    chunk[at] = 0xff;
    let breach = push_breach(answer(vec![chunk], [3, 1, 0, 0]));
    assert!(
        breach.starts_with("its rows are no valid Arrow stream: "),
        "{breach}"
    );
    assert!(breach.to_lowercase().contains("utf"), "{breach}");
}

#[test]
fn a_key_that_comes_twice() {
    assert_eq!(
        push_breach(answer(vec![ipc(&made(&[1, 2, 1]))], [3, 3, 0, 0])),
        "the primary key (id) of row 2 of its rows came before in its rows"
    );
}

#[test]
fn a_key_that_is_made_and_retracted() {
    let act = Act::Give(Answer {
        rows: vec![ipc(&made(&[1]))],
        retractions: vec![ipc(&keys(&[2, 1]))],
        counts: [3, 1, 2, 0],
        ..Answer::default()
    });
    assert_eq!(
        push_breach(act),
        "the primary key (id) of row 1 of its retractions came before in its rows"
    );
}

#[test]
fn a_stream_that_is_cut_anywhere() {
    let whole = ipc(&made(&[1, 2]));
    let schema = ipc_schema(&output_schema()).len();
    // Every cut is tried on the reader itself; one of them through a whole guest.
    for cut in (1..whole.len()).filter(|cut| *cut != schema) {
        let mut reader = decode::ChunkReader::new(Stream::Rows, Arc::new(output_schema()));
        let mut budget = decode::Budget::new(100, 1 << 20);
        let error = reader
            .read(whole[..cut].to_vec(), &mut budget)
            .expect_err("it is cut");
        assert!(matches!(error, Breach::Stream { .. }), "{cut}: {error}");
    }
    assert_eq!(
        push_breach(answer(
            vec![whole[..whole.len() - 8].to_vec()],
            [3, 2, 0, 0]
        )),
        "its rows are no valid Arrow stream: a chunk ends within a message"
    );
}

#[test]
fn every_flipped_byte_is_an_error_or_valid_rows() {
    let whole = ipc(&made(&[1, 2]));
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut chunk = whole.clone();
            chunk[at] ^= bit;
            let mut reader = decode::ChunkReader::new(Stream::Rows, Arc::new(output_schema()));
            let mut budget = decode::Budget::new(100, 1 << 20);
            if let Ok(batches) = reader.read(chunk, &mut budget) {
                for (_, batch) in batches {
                    assert_eq!(*batch.schema(), output_schema());
                    for column in batch.columns() {
                        column
                            .to_data()
                            .validate_full()
                            .expect("what is accepted is valid");
                    }
                }
            }
        }
    }
}

#[test]
fn a_schema_that_comes_twice_and_rows_that_come_before_it() {
    let chunk = ipc(&made(&[1]));
    assert_eq!(
        push_breach(answer(vec![chunk.clone(), chunk.clone()], [3, 2, 0, 0])),
        "its rows are no valid Arrow stream: its schema comes twice"
    );
    let headless = chunk[ipc_schema(&output_schema()).len()..].to_vec();
    assert_eq!(
        push_breach(answer(vec![headless], [3, 1, 0, 0])),
        "its rows are no valid Arrow stream: rows come before its schema"
    );
}

#[test]
fn rejects_that_point_at_nothing() {
    for (reject, reason) in [
        (
            (1, 0, 0, "x", ""),
            "its reject 0 points at input 1, but there are 1",
        ),
        (
            (0, 1, 0, "x", ""),
            "its reject 0 points at chunk 1 of input 0, but 1 were given",
        ),
        (
            (0, 0, 3, "x", ""),
            "its reject 0 points at row 3 of chunk 0 of input 0, which has 3 rows",
        ),
        (
            (0, 0, 0, "Bad Code", ""),
            "its reject 0 has the code `Bad Code`, which is not made of lower-case letters, digits and hyphens",
        ),
    ] {
        let act = Act::Give(Answer {
            rejects: vec![reject],
            counts: [3, 0, 0, 1],
            ..Answer::default()
        });
        assert_eq!(push_breach(act), reason);
    }
}

#[test]
fn counts_that_are_not_true() {
    for (counts, reason) in [
        ([2, 0, 0, 0], "it counts 2 rows in, but there are 3"),
        ([3, 1, 0, 0], "it counts 1 rows out, but there are 0"),
        ([3, 0, 5, 0], "it counts 5 rows retracted, but there are 0"),
        ([3, 0, 0, 9], "it counts 9 rows rejected, but there are 0"),
    ] {
        assert_eq!(push_breach(answer(vec![], counts)), reason);
    }
}

#[test]
fn a_flood_of_log_lines_is_cut() {
    let lines = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let script = Script {
        end: Act::Run(
            "(local i32) (loop (call $log (i32.const 1) (i32.const 1024) (i32.const 4))
               (local.set 2 (i32.add (local.get 2) (i32.const 1)))
               (br_if 0 (i32.lt_u (local.get 2) (i32.const 100000)))) {}",
        ),
        ..Script::default()
    };
    let module = bench(small())
        .sandbox
        .load(&script.component(), b"")
        .expect("honest");
    let mut session = module.open(CONTEXT).expect("honest");
    tracing::subscriber::with_default(CountLines(lines.clone()), || {
        session.end_of_input(0).expect("talking is no crime");
    });
    // Ten lines, and one that says that the rest is dropped.
    assert_eq!(lines.load(std::sync::atomic::Ordering::Relaxed), 11);
}

/// Counts events.
struct CountLines(Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for CountLines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("tidemill")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn bytes_that_are_no_component() {
    let core = wat::parse_str("(module)").expect("a module");
    assert!(
        refusal(&core).ends_with("is refused: it is a core WebAssembly module, not a component")
    );
    for bytes in [b"".as_slice(), b"\0asm", b"hello, this is no module"] {
        let story = refusal(bytes);
        assert!(
            story.contains("not a valid WebAssembly component"),
            "{story}"
        );
    }
    let mut cut = Script::default().component();
    cut.truncate(cut.len() / 2);
    assert!(refusal(&cut).contains("not a valid WebAssembly component"));
}

#[test]
fn a_component_that_exports_nothing() {
    let bare = wat::parse_str("(component)").expect("a component");
    assert!(refusal(&bare).ends_with("it does not export `tidemill:transform/transform@1.0.0`"));
}

#[test]
fn a_component_that_is_too_large() {
    let component = Script::default().component();
    let limits = Limits {
        component_bytes: 1000,
        ..Limits::default()
    };
    let error = bench(limits)
        .sandbox
        .load(&component, b"")
        .expect_err("too large");
    assert!(
        story(&error).contains("more than the limit of 1000"),
        "{}",
        story(&error)
    );
}

#[test]
fn an_import_that_is_not_granted() {
    let wit = WIT.replace(
        "    import log;\n",
        "    import log;\n    import clock: interface { now: func() -> u64; }\n",
    );
    let script = Script {
        wit,
        ..Script::default()
    };
    let component = script.component_with_import("clock", "now", "(result i64)");
    assert!(
        refusal(&component).ends_with(
            "it imports `clock`; a module may import nothing but `tidemill:transform/log@1.0.0`"
        ),
        "{}",
        refusal(&component)
    );
}

#[test]
fn a_log_of_another_shape() {
    let script = Script {
        wit: WIT.replace("message: string);", "message: list<u32>);"),
        ..Script::default()
    };
    let story = refusal(&script.component());
    assert!(
        story.contains("its interface differs from the contract"),
        "{story}"
    );
}

#[test]
fn another_version_of_the_contract() {
    for (found, version) in [("2.0.0", "@2.0.0"), ("1.1.0", "@1.1.0")] {
        let script = Script {
            wit: WIT.replace("@1.0.0", version),
            ..Script::default()
        };
        let story = refusal(&script.component());
        let expected = format!("it speaks contract version {found}; this host speaks 1.0.0");
        assert!(story.ends_with(&expected), "{story}");
    }
}

#[test]
fn descriptions_that_make_no_sense() {
    let honest = Script::default;
    let schema = |field: Field| {
        ipc_schema(&Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            field,
        ]))
    };
    let deep = (0..9).fold(DataType::Int32, |inner, _| {
        DataType::List(Arc::new(Field::new("item", inner, true)))
    });
    let mut twice = honest();
    twice.inputs.push(twice.inputs[0].clone());
    let mut lookup = honest();
    lookup.inputs[0].role = 0;
    let mut no_key = honest();
    no_key.inputs[0].key = vec!["nothing"];
    let mut many = honest();
    many.inputs = vec![many.inputs[0].clone(); 65];
    for (script, reason) in [
        (
            Script {
                name: "../../etc".into(),
                ..honest()
            },
            "the name `../../etc` is not made of",
        ),
        (
            Script {
                version: "1.2".into(),
                ..honest()
            },
            "the version `1.2` is not a semantic version",
        ),
        (
            Script {
                output: "a/b".into(),
                ..honest()
            },
            "the output table `a/b` is not an identifier",
        ),
        (
            Script {
                inputs: vec![],
                ..honest()
            },
            "it has 0 inputs; there must be 1 to 64",
        ),
        (many, "it has 65 inputs; there must be 1 to 64"),
        (twice, "the input `thing` comes twice"),
        (lookup, "the input `thing` is a lookup of changes only"),
        (
            no_key,
            "the key column `nothing` of the input `thing` is not among its columns",
        ),
        (
            Script {
                primary_key: vec!["nothing"],
                ..honest()
            },
            "the key column `nothing` of the output",
        ),
        (
            Script {
                primary_key: vec![],
                ..honest()
            },
            "the output `dim_thing` has no primary key, which upsert needs",
        ),
        (
            Script {
                mode: 2,
                ..honest()
            },
            "its output is overwritten, but the input `thing` brings changes only",
        ),
        (
            Script {
                output_schema: ipc_schema(&input_schema()),
                primary_key: vec!["name"],
                ..honest()
            },
            "the primary key column `name` of the output `dim_thing` is nullable",
        ),
        (
            Script {
                output_schema: b"hello".to_vec(),
                ..honest()
            },
            "the schema of the output `dim_thing` is unreadable",
        ),
        (
            Script {
                output_schema: ipc(&made(&[1])),
                ..honest()
            },
            "the schema of the output `dim_thing` is unreadable: it holds more than a schema",
        ),
        (
            Script {
                output_schema: schema(Field::new("x", DataType::Null, true)),
                ..honest()
            },
            "the column `x` of the output `dim_thing` has the type Null, which cannot cross the boundary",
        ),
        (
            Script {
                output_schema: schema(Field::new("x", deep, true)),
                ..honest()
            },
            "the column `x` of the output `dim_thing` is nested deeper than 8",
        ),
        (
            Script {
                output_schema: schema(Field::new("id", DataType::Utf8, true)),
                ..honest()
            },
            "the column `id` of the output `dim_thing` comes twice",
        ),
        (
            Script {
                properties: vec![("record-id", "id")],
                ..honest()
            },
            "`record-id` is for append-versions",
        ),
        (
            Script {
                properties: vec![("alias", "dim_thing")],
                ..honest()
            },
            "`alias` is the name of the output itself",
        ),
        (
            Script {
                properties: vec![("alias", "x; DROP")],
                ..honest()
            },
            "the property `alias` is `x; DROP`",
        ),
    ] {
        let found = described(&script);
        assert!(found.starts_with(reason), "{found}\nexpected: {reason}");
    }
}
