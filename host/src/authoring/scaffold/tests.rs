use super::*;

fn table(name: &str, columns: &[(&str, &str, bool)], key: &[&str]) -> Table {
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, data_type, nullable)| {
            serde_json::json!({"name": name, "source_type": "t", "data_type": data_type,
                "nullable": nullable, "fidelity": {"kind": "exact"}})
        })
        .collect();
    let table = serde_json::json!({"name": name, "kind": "plain", "columns": columns, "key": key, "key_origin": "primary"});
    serde_json::from_value(table).expect("a table")
}

fn staff() -> Table {
    let mut staff = table(
        "staff",
        &[
            ("staff_id", "Int32", false),
            ("name", "Utf8", false),
            ("department_id", "Int64", true),
            ("pay", "Decimal128(10, 2)", true),
            ("started", "Timestamp(µs)", false),
            ("photo", "Binary", true),
            ("grade", "Utf8", true),
        ],
        &["staff_id"],
    );
    staff.columns[6].land_as_text("a range has no Arrow type");
    staff.columns[6].source_type = "int4range".into();
    staff
}

fn department() -> Table {
    let columns = [
        ("department_id", "Int64", false),
        ("name", "Utf8", false),
        ("type", "Utf8", true),
    ];
    table("department", &columns, &["department_id"])
}

fn scaffold(to: &str, tables: Vec<Table>) -> Scaffold {
    Scaffold {
        name: to.replace('_', "-"),
        to: to.into(),
        source: "shop".into(),
        tables,
        sdk: Sdk::Git {
            url: "https://example.org/tidemill.git".into(),
            rev: Some("v1.0.0".into()),
        },
    }
}

/// Every file of what is made, as a snapshot has it.
fn made(scaffold: &Scaffold) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let made = scaffold
        .write(&folder.path().join("new"))
        .expect("it is made");
    let files = made.files.iter().map(|name| {
        let text = std::fs::read_to_string(made.folder.join(name)).expect("it is written");
        format!("==> {name}\n{text}\n")
    });
    files.collect()
}

#[test]
fn one_table_becomes_its_changes() {
    insta::assert_snapshot!("one_table", made(&scaffold("dim_staff", vec![staff()])));
}

#[test]
fn several_tables_become_a_join_that_is_made_anew() {
    let both = scaffold("dim_staff", vec![staff(), department()]);
    insta::assert_snapshot!("two_tables", made(&both));
}

#[test]
fn a_fact_keeps_every_version() {
    let deal = table(
        "deal",
        &[
            ("a", "Int32", false),
            ("b", "Utf8", false),
            ("x", "Boolean", true),
        ],
        &["b", "a"],
    );
    let text = made(&scaffold("fact_deal", vec![deal]));
    for part in [
        "Table::append_versions(\"fact_deal\")\n        .record_id(\"deal_record_id\")",
        ".key(text(\"b\"))\n        .key(integer(\"a\"))",
        "use tidemill_sdk::{Input, Table, integer, text};",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

fn refused(scaffold: &Scaffold) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let error = scaffold
        .write(&folder.path().join("new"))
        .expect_err("it is refused");
    assert!(!folder.path().join("new").exists(), "something was written");
    assert_eq!(error.kind(), ErrorKind::Config);
    format!("{error}\n  hint: {}", error.hint().expect("a hint"))
}

#[test]
fn what_cannot_be_made_is_told_with_the_next_step() {
    let mut told = String::new();
    let mut add = |scaffold: Scaffold| told.push_str(&format!("{}\n\n", refused(&scaffold)));
    for name in [
        "Dim-Staff",
        "1st",
        "dim_staff",
        "dim--staff",
        "dim-",
        "match",
        "test",
        "core",
        "",
    ] {
        add(Scaffold {
            name: name.into(),
            ..scaffold("dim_staff", vec![staff()])
        });
    }
    add(Scaffold {
        to: "dim staff".into(),
        ..scaffold("dim_staff", vec![staff()])
    });
    add(scaffold(
        "dim_log",
        vec![table("log", &[("line", "Utf8", true)], &[])],
    ));
    add(scaffold(
        "dim_small",
        vec![table("small", &[("id", "Int16", false)], &["id"])],
    ));
    add(scaffold("dim_staff", vec![staff(), staff()]));
    add(scaffold("dim_department", vec![department(), staff()]));
    let other = table(
        "department",
        &[("department_id", "Utf8", false)],
        &["department_id"],
    );
    add(scaffold("dim_staff", vec![staff(), other]));
    let wide = table(
        "place",
        &[("staff_id", "Int32", false), ("nr", "Int32", false)],
        &["staff_id", "nr"],
    );
    add(scaffold("dim_staff", vec![staff(), wide]));
    insta::assert_snapshot!("refused", told);
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("notes.txt"), "mine").expect("a file");
    let error = scaffold("dim_staff", vec![staff()])
        .write(folder.path())
        .expect_err("it is taken");
    assert!(
        error
            .to_string()
            .ends_with("is there already, and is not empty"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        1
    );
}
