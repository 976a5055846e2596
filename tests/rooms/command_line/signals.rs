//! What the program does when it is told to stop.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tidemill_tests::binary;

use super::{project, stderr, stdout};

/// Sends a signal by its name.
fn signal(name: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(sent.success());
}

#[test]
fn serve_goes_on_after_a_run_and_stops_on_sigterm() {
    let folder = project("[serve]\nlisten = \"none\"\n[schedule.hourly]\nevery = \"1h\"\n");
    let mut child = binary::command()
        .expect("the program is built")
        .args(["serve", "--log-format", "json"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut until = |messages: &[&str]| {
        lines
            .by_ref()
            .map(|line| line.expect("text"))
            .map(|line| serde_json::from_str(&line).expect(&line))
            .find(|line: &Value| messages.iter().any(|m| line["message"] == *m))
            .expect("the service says so before it ends")
    };
    assert_eq!(until(&["run starts"])["schedule"], "hourly");
    until(&["run ended", "run failed"]);
    signal("TERM", &child);
    until(&["stopped"]);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// A verb that waits for a server which never answers, stopped by a signal.
fn stopped_by(name: &str, arguments: &[&str]) -> Output {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgresql://ada:lovelace@127.0.0.1:{port}/db");
    let child = binary::command()
        .expect("the program is built")
        .args(["discover", &url])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A server that is called and says nothing: the program is waiting once the call is here.
    let _call = silent.accept().expect("the program calls");
    signal(name, &child);
    child.wait_with_output().expect("it ends")
}

#[test]
fn ctrl_c_and_sigterm_end_a_verb_with_130() {
    for name in ["INT", "TERM"] {
        let output = stopped_by(name, &[]);
        assert_eq!(output.status.code(), Some(130), "{name}");
        assert_eq!(
            stderr(&output),
            "interrupted: nothing is half committed; run again to go on\n"
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn an_interruption_can_be_json() {
    let output = stopped_by("INT", &["--output", "json"]);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(stdout(&output), "");
    let told: Value = serde_json::from_slice(&output.stderr).expect("one JSON value");
    assert_eq!(
        told["error"],
        json!({
            "kind": "interrupted",
            "stage": null,
            "table": null,
            "message": "interrupted: nothing is half committed",
            "causes": [],
            "hint": "run again to go on",
        })
    );
}
