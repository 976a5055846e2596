//! The program as a shell sees it: exit codes, stdout and stderr of uses that reach no server.

mod authoring;
mod failures;
mod kept;
mod lineage;
mod modules;
mod replay;
mod sensitive;
mod shadow;
mod signals;
mod story;
#[cfg(target_os = "linux")]
mod verify;

use std::path::Path;
use std::process::Output;

use tidemill_tests::binary;

/// Runs the program in `folder` with `arguments`, separated by blanks, and `variables` in its environment.
fn tidemill(folder: &Path, arguments: &str, variables: &[(&str, &str)]) -> Output {
    binary::command()
        .expect("the program is built")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn project(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tidemill.toml"), text).expect("a project");
    folder
}

/// The code and the error of a use, the folder's own name replaced.
fn failing(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let output = tidemill(folder, arguments, &[]);
    assert_eq!(stdout(&output), "", "errors are talk, not data");
    let folder = folder.display().to_string();
    (
        output.status.code(),
        stderr(&output).replace(&folder, "PROJECT"),
    )
}

#[test]
fn every_verb_that_needs_a_project_says_that_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    for verb in [
        "discover",
        "plan",
        "run",
        "extract",
        "transform",
        "load",
        "preview dim_staff",
        "query SELECT",
        "runs",
        "rebuild dim_staff",
        "verify",
        "lineage",
        "trace dim_staff 1",
        "sweep",
        "serve",
        "health",
        "module list",
        "module export dim-staff@1.0.0 folder",
        "module import folder",
        "module promote dim-staff@1.0.0 --why test",
        "module rollback dim-staff --why test",
    ] {
        let (code, told) = failing(folder.path(), verb);
        assert_eq!(
            (code, told.as_str()),
            (
                Some(2),
                "error: there is no tidemill.toml in PROJECT or above it\n  \
                 hint: make a project with `tidemill init`, or name one with --project\n"
            ),
            "{verb}"
        );
    }
}

#[test]
fn a_wrong_setting_is_told_with_its_line() {
    let folder = project("[limits]\nmemroy = \"1 GiB\"\n");
    assert_eq!(
        failing(folder.path(), "run"),
        (
            Some(2),
            "error: PROJECT/tidemill.toml:2: there is no setting `limits.memroy`\n  \
             hint: did you mean `memory`?\n"
                .into()
        )
    );
}

#[test]
fn an_error_can_be_json() {
    let folder = project("[limits]\ntime = \"soon\"\n");
    let (code, told) = failing(folder.path(), "plan --output json");
    assert_eq!(code, Some(2));
    let json: serde_json::Value = serde_json::from_str(&told).expect("one JSON value");
    assert_eq!(
        json["error"],
        serde_json::json!({
            "kind": "config",
            "stage": null,
            "table": null,
            "message": "PROJECT/tidemill.toml:2: `limits.time` is \"soon\", which is not a duration",
            "causes": [],
            "hint": "write it as \"5m\"",
        })
    );
}

#[test]
fn wrong_usage_ends_with_2_and_can_be_json() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        "",
        "frobnicate",
        "run --stage lode",
        "query",
        "preview",
        "completions tcl",
        "init --example cars2",
        "runs a b",
        "module",
        "discover a --source b",
        "run -v -q",
        "schema --output xml",
    ] {
        let output = tidemill(folder.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert_eq!(stdout(&output), "", "{arguments}");
        assert!(!stderr(&output).is_empty(), "{arguments}");
    }
    let (code, told) = failing(folder.path(), "frobnicate --output json");
    let json: serde_json::Value = serde_json::from_str(&told).expect("one JSON value");
    assert_eq!((code, &json["error"]["kind"]), (Some(2), &"config".into()));
}

#[test]
fn a_missing_file_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, told) = failing(folder.path(), "run --project nowhere.toml");
    assert_eq!(code, Some(2));
    assert_eq!(
        told,
        "error: cannot read PROJECT/nowhere.toml\n  \
         caused by: No such file or directory (os error 2)\n  \
         hint: check that it exists and that you may read it\n"
    );
}

#[test]
fn a_source_url_is_told_without_its_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, told) = failing(folder.path(), "discover oracle://ada:lovelace@db/totesys");
    assert_eq!(code, Some(2));
    assert!(told.starts_with("error: the source URL `oracle://ada:***@db/totesys` is not usable"));
    assert!(!told.contains("lovelace"), "{told}");
}

#[test]
fn a_variable_that_is_not_set_is_told_where_it_is_needed() {
    let folder = project("[source.totesys]\nurl = \"${env:TOTESYS_URL}\"\n");
    assert_eq!(
        failing(folder.path(), "discover"),
        (
            Some(2),
            "error: PROJECT/tidemill.toml:2: `source.totesys.url` refers to the environment variable \
             TOTESYS_URL, which is not set\n  \
             hint: set it, add it to the .env beside the project file, or write \
             ${env:TOTESYS_URL:-default}\n"
                .into()
        )
    );
}

#[test]
fn discover_wants_to_know_which_source() {
    let folder = project("[source.a]\nurl = \"sqlite://a\"\n[source.b]\nurl = \"sqlite://b\"\n");
    assert_eq!(
        failing(folder.path(), "discover"),
        (
            Some(2),
            "error: the project has several sources\n  hint: name one with --source: a, b\n".into()
        )
    );
    assert_eq!(
        failing(folder.path(), "discover --source c"),
        (
            Some(2),
            "error: the project has no source `c`\n  hint: it has: a, b\n".into()
        )
    );
}

#[test]
fn serve_without_a_timetable_is_a_mistake() {
    let folder = project("");
    assert_eq!(
        failing(folder.path(), "serve"),
        (
            Some(2),
            "error: the project file has no schedule that will ever be due\n  \
             hint: add [schedule.NAME] with every = \"15m\" or a cron expression\n"
                .into()
        )
    );
}

#[test]
fn doctor_finds_the_wrong_project_file_and_ends_with_3() {
    let folder = project("[limits]\nmemory = \"lots\"\n");
    let output = tidemill(folder.path(), "doctor", &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).starts_with("problem  project file: "));
    assert!(stdout(&output).ends_with("hint: write it as \"256 MiB\"\n"));
    let output = tidemill(folder.path(), "doctor --output json", &[]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json[0]["ok"], false);
}

#[test]
fn init_makes_a_project_once_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = tidemill(folder.path(), "init shop", &[]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(
        stdout(&first),
        "created tidemill.toml\ncreated .gitignore\n\
         fill in tidemill.toml, then: cd shop && tidemill doctor\n"
    );
    let file = folder.path().join("shop/tidemill.toml");
    std::fs::write(&file, "name = \"mine\"\n").expect("written");
    let second = tidemill(folder.path(), "init shop --output json", &[]);
    let json: serde_json::Value = serde_json::from_slice(&second.stdout).expect("JSON");
    assert_eq!(json["created"], serde_json::json!([]));
    assert_eq!(
        json["kept"],
        serde_json::json!(["tidemill.toml", ".gitignore"])
    );
    assert_eq!(
        std::fs::read_to_string(&file).ok().as_deref(),
        Some("name = \"mine\"\n")
    );
}

#[test]
fn the_schema_and_the_completions_are_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let schema = tidemill(folder.path(), "schema", &[]);
    let json: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert_eq!(json["title"], "tidemill.toml");
    assert_eq!(json["additionalProperties"], false);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = tidemill(folder.path(), &format!("completions {shell}"), &[]);
        assert_eq!(script.status.code(), Some(0));
        assert!(stdout(&script).contains("tidemill"), "{shell}");
    }
}

#[test]
fn colours_are_for_terminals_or_on_demand() {
    let folder = project("[limits]\nmemory = \"lots\"\n");
    let coloured = |arguments: &str, variables: &[(&str, &str)]| {
        stdout(&tidemill(folder.path(), arguments, variables)).contains('\u{1b}')
    };
    assert!(!coloured("doctor", &[]));
    assert!(coloured("doctor --color always", &[("NO_COLOR", "1")]));
    assert!(!coloured("doctor --color never", &[]));
}
