//! What honest guests get and give.

use std::fs;

use super::scripted::{Act, Answer, Script, ScriptedInput, ipc, ipc_schema};
use super::*;
use crate::contract::{Delivery, LoadMode, Role};
use crate::error::ErrorKind;

#[test]
fn a_description_becomes_plain_data() {
    let script = Script {
        mode: 1,
        properties: vec![("record-id", "thing_record_id"), ("colour", "blue")],
        ..Script::default()
    };
    let component = script.component();
    let module = bench(Limits::default())
        .sandbox
        .load(&component, b"parameters")
        .expect("honest");
    let said = module.description();
    assert_eq!(module.reference().name, "dim-thing");
    assert_eq!(module.reference().version, "1.2.3");
    assert_eq!(
        module.digest(),
        Digest::of_parts([component.as_slice(), b"parameters"])
    );
    assert_eq!(said.inputs[0].table, "thing");
    assert_eq!(*said.inputs[0].schema, input_schema());
    assert_eq!(said.inputs[0].delivery, Delivery::Changes);
    assert_eq!(said.inputs[0].role, Role::Streamed);
    assert_eq!(said.output.table, "dim_thing");
    assert_eq!(*said.output.schema, output_schema());
    assert_eq!(said.output.mode, LoadMode::AppendVersions);
    assert_eq!(said.properties["colour"], "blue");
}

#[test]
fn a_session_gives_rows_retractions_rejects_and_usage() {
    let script = Script {
        push: vec![
            Act::Give(Answer {
                rows: vec![ipc(&made(&[1]))],
                counts: [2, 1, 0, 0],
                ..Answer::default()
            }),
            Act::Give(Answer {
                rejects: vec![
                    (0, 1, 0, "no-name", "name\u{7} is empty"),
                    (0, 0, 1, "late", ""),
                ],
                counts: [1, 0, 0, 2],
                ..Answer::default()
            }),
        ],
        retract: Act::Give(Answer {
            retractions: vec![ipc(&keys(&[7]))],
            counts: [1, 0, 1, 0],
            ..Answer::default()
        }),
        ..Script::default()
    };
    let limits = Limits {
        chunk_rows: 2,
        ..Limits::default()
    };
    let module = bench(limits)
        .sandbox
        .load(&script.component(), b"")
        .expect("honest");
    let mut session = module.open(CONTEXT).expect("honest");

    let step = session.push(0, &things(&[1, 2, 3])).expect("two chunks");
    assert_eq!(step.rows, [made(&[1])]);
    assert_eq!(step.rows_in, 3);
    let rejected: Vec<_> = step
        .rejects
        .iter()
        .map(|r| (r.row, r.code.as_str()))
        .collect();
    assert_eq!(rejected, [(2, "no-name"), (1, "late")]);
    assert_eq!(step.rejects[0].message, "name\\u{7} is empty");

    let step = session.retract(0, &keys(&[7])).expect("one chunk");
    assert_eq!(step.retractions, [keys(&[7])]);
    session.end_of_input(0).expect("nothing more");
    let (step, usage) = session.finish().expect("nothing more");
    assert_eq!(step.rows_out(), 0);
    assert_eq!(usage.chunks, 3);
    assert!(usage.fuel > 0);
    assert_eq!(usage.peak_memory_bytes, 256 * 64 * 1024);
}

#[test]
fn the_same_session_costs_the_same_fuel() {
    let module = load(&Script::default()).expect("honest");
    let cost = || {
        let mut session = module.open(CONTEXT).expect("honest");
        session.end_of_input(0).expect("honest");
        session.finish().expect("honest").1
    };
    assert_eq!(cost(), cost());
}

#[test]
fn a_failure_is_told_in_the_modules_own_words() {
    let script = Script {
        end: Act::Fail("no-rates", "no rate for \u{1b}[31mEUR"),
        ..Script::default()
    };
    let module = load(&script).expect("honest");
    let mut session = module.open(CONTEXT).expect("honest");
    let error = session.end_of_input(0).expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Module);
    assert_eq!(
        error.to_string(),
        format!(
            "module {} gave up in end-of-input: no rate for \\u{{1b}}[31mEUR [no-rates]",
            module.reference()
        )
    );
    let error = session.finish().expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Bug);
}

#[test]
fn inputs_come_in_one_order_only() {
    let input = |table: &str, delivery, role| ScriptedInput {
        table: table.into(),
        schema: ipc_schema(&input_schema()),
        key: vec!["id"],
        delivery,
        role,
    };
    let script = Script {
        inputs: vec![input("a", 0, 1), input("b", 1, 0), input("c", 1, 1)],
        ..Script::default()
    };
    let module = load(&script).expect("honest");
    assert_eq!(module.input_order(), [1, 0, 2]);
    let mut session = module.open(CONTEXT).expect("honest");
    let reason = |result: Result<Step, SandboxError>| result.expect_err("misuse").to_string();
    let empty = RecordBatch::new_empty(input_schema().into());
    let none = keys(&[]);

    assert!(reason(session.push(0, &empty)).contains("it is the turn of input 1, not of input 0"));
    assert!(reason(session.retract(1, &none)).contains("has no retractions"));
    session.end_of_input(1).expect("its turn");
    session.push(0, &empty).expect("its turn");
    session.retract(0, &none).expect("its turn");
    assert!(reason(session.push(0, &empty)).contains("come after its retractions"));
    session.end_of_input(0).expect("its turn");
    assert!(
        session
            .finish()
            .expect_err("misuse")
            .to_string()
            .contains("input 2 has not ended")
    );
}

#[test]
fn a_batch_of_another_schema_never_reaches_the_guest() {
    let script = Script {
        push: vec![Act::Run("unreachable")],
        ..Script::default()
    };
    let mut session = load(&script)
        .expect("honest")
        .open(CONTEXT)
        .expect("honest");
    let swapped = things(&[1]).project(&[1, 0]).expect("two columns");
    for batch in [keys(&[1]), swapped] {
        let error = session.push(0, &batch).expect_err("other columns");
        assert_eq!(error.kind(), ErrorKind::Bug, "{}", story(&error));
    }
}

#[test]
fn compiled_code_is_found_again() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let component = Script::default().component();
    let start = || Sandbox::new(Limits::default(), cache.path()).expect("it runs here");
    let first = start();
    first.load(&component, b"").expect("honest");
    first.load(&component, b"other parameters").expect("honest");
    let counts = |loaded, compiled, replaced| CacheCounts {
        bundled: 0,
        loaded,
        compiled,
        replaced,
    };
    assert_eq!(first.cache_counts(), counts(1, 1, 0));
    let second = start();
    second.load(&component, b"").expect("honest");
    assert_eq!(second.cache_counts(), counts(1, 0, 0));
}

#[test]
fn a_damaged_entry_is_compiled_again_and_replaced() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let component = Script::default().component();
    let start = || Sandbox::new(Limits::default(), cache.path()).expect("it runs here");
    start().load(&component, b"").expect("honest");
    let entry = fs::read_dir(cache.path())
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path())
        .next()
        .expect("one entry");
    let whole = fs::read(&entry).expect("it is ours");
    let length = whole.len();
    // In the mark, the fingerprint, the component's digest, the code's digest, and the code.
    for at in [0, 20, 60, 100, length / 2, length - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        damage(&component, &start(), &entry, &damaged, &whole);
    }
    for cut in [0, 50, length / 2] {
        damage(&component, &start(), &entry, &whole[..cut], &whole);
    }
}

#[test]
fn code_that_came_with_the_program_is_used_where_it_fits_and_never_written_to() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (bundle, cache) = (root.path().join("bundle"), root.path().join("cache"));
    let (known, strange) = (
        Script::default().component(),
        Script {
            name: "strange".into(),
            ..Script::default()
        }
        .component(),
    );
    // A bundle is made by filling a cache.
    let making = Sandbox::new(Limits::default(), &bundle).expect("it runs here");
    making.load(&known, b"").expect("honest");
    let entry = fs::read_dir(&bundle)
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path())
        .next()
        .expect("one entry");
    let whole = fs::read(&entry).expect("it is ours");
    let start = || {
        let _ = fs::remove_dir_all(&cache);
        let sandbox = Sandbox::new(Limits::default(), &cache).expect("it runs here");
        sandbox.bundled(&bundle)
    };
    let counts = |bundled, compiled| CacheCounts {
        bundled,
        compiled,
        ..CacheCounts::default()
    };
    let sandbox = start();
    sandbox.load(&known, b"").expect("honest");
    sandbox.load(&strange, b"").expect("honest");
    assert_eq!(sandbox.cache_counts(), counts(1, 1));
    // Damaged, of another component, or where anybody could have put it: compiled again.
    for (wrong, at) in [(&whole, 20), (&whole, 60), (&whole, whole.len() - 1)] {
        let mut damaged = wrong.clone();
        damaged[at] ^= 1;
        fs::write(&entry, &damaged).expect("it is ours");
        let sandbox = start();
        sandbox.load(&known, b"").expect("honest");
        assert_eq!(sandbox.cache_counts(), counts(0, 1), "byte {at}");
        assert_eq!(fs::read(&entry).expect("it is ours"), damaged);
    }
    fs::write(&entry, &whole).expect("it is ours");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let anybodys = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&bundle, anybodys).expect("it is ours");
        let sandbox = start();
        sandbox.load(&known, b"").expect("honest");
        assert_eq!(sandbox.cache_counts(), counts(0, 1));
    }
}

/// Loads from a damaged entry: it is compiled again, and the entry is what it was.
fn damage(
    component: &[u8],
    sandbox: &Sandbox,
    entry: &std::path::Path,
    damaged: &[u8],
    whole: &[u8],
) {
    fs::write(entry, damaged).expect("it is ours");
    sandbox.load(component, b"").expect("honest");
    let expected = CacheCounts {
        replaced: 1,
        ..CacheCounts::default()
    };
    assert_eq!(sandbox.cache_counts(), expected);
    assert_eq!(fs::read(entry).expect("it is ours"), whole);
}

#[test]
fn hosts_that_compile_the_same_component_do_not_disturb_one_another() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let component = Script::default().component();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let sandbox = Sandbox::new(Limits::default(), cache.path()).expect("it runs here");
                sandbox.load(&component, b"").expect("honest");
                assert_eq!(sandbox.cache_counts().replaced, 0);
            });
        }
    });
    assert_eq!(fs::read_dir(cache.path()).expect("it is there").count(), 1);
}
