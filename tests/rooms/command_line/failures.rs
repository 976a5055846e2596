//! One failing use of every verb, word by word: what it says, the next step that it names, and its exit code.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::project::{Project, Said};

/// A use that fails, in a project with such a file.
struct Use {
    /// The project file; `None` where there is none.
    file: Option<&'static str>,
    /// What is done before.
    before: fn(&Project) -> Result<()>,
    arguments: &'static [&'static str],
}

const SHOP: &str = "name = \"shop\"\n[source.shop]\nurl = \"sqlite://shop.db\"\n";

const ELSEWHERE: &str = "[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [warehouse]\nurl = \"oracle://ada:lovelace@db/star\"\n";

const UNKNOWN_MODULE: &str = "[source.shop]\nurl = \"sqlite://shop.db\"\n\
    [transform.dim_thing]\nmodule = \"dim-thing@7\"\n";

const MISTYPED: &str = "[limits]\nmemroy = \"1 GiB\"\n";

/// In the order of the help.
const USES: &[Use] = &[
    Use {
        file: None,
        before: a_file,
        arguments: &["init", "notes.txt"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["discover", "oracle://ada:lovelace@db/totesys"],
    },
    Use {
        file: Some(MISTYPED),
        before: nothing,
        arguments: &["doctor"],
    },
    Use {
        file: Some(MISTYPED),
        before: nothing,
        arguments: &["plan"],
    },
    Use {
        file: Some(SHOP),
        before: a_source,
        arguments: &["run", "--table", "dim_nothing"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["extract"],
    },
    Use {
        file: Some(UNKNOWN_MODULE),
        before: a_landing,
        arguments: &["transform"],
    },
    Use {
        file: Some(ELSEWHERE),
        before: nothing,
        arguments: &["load"],
    },
    Use {
        file: Some(UNKNOWN_MODULE),
        before: a_landing,
        arguments: &["preview", "dim_nothing"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["query", "SELECT * FROM dim_nothing"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["runs", "20260101T000000000Z-00000000"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["rebuild", "dim_nothing"],
    },
    Use {
        file: Some(SHOP),
        before: a_landing,
        arguments: &["replay", "20260101T000000000Z-00000000"],
    },
    Use {
        file: Some(SHOP),
        before: a_damaged_landing,
        arguments: &["verify"],
    },
    Use {
        file: Some(UNKNOWN_MODULE),
        before: a_landing,
        arguments: &["lineage", "dim_thing.name"],
    },
    Use {
        file: Some(UNKNOWN_MODULE),
        before: a_landing,
        arguments: &["trace", "dim_thing", "42"],
    },
    Use {
        file: Some(ELSEWHERE),
        before: nothing,
        arguments: &["sweep", "--dry-run"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["serve"],
    },
    Use {
        file: Some("[serve]\nlisten = \"none\"\n"),
        before: nothing,
        arguments: &["health"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["lambda"],
    },
    Use {
        file: None,
        before: a_file,
        arguments: &["demo", "--dir", "notes.txt"],
    },
    Use {
        file: Some(SHOP),
        before: a_source,
        arguments: &[
            "module",
            "new",
            "dim-thing",
            "--from",
            "shop.thigns",
            "--to",
            "dim_thing",
        ],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "build"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "test"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "inspect", "dim-thing.wasm"],
    },
    Use {
        file: Some(UNKNOWN_MODULE),
        before: nothing,
        arguments: &["module", "compile"],
    },
    Use {
        file: None,
        before: a_file,
        arguments: &["module", "key", "notes.txt"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "sign", "dim-thing.wasm", "--key", "shop.key"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "push", "dim-thing.wasm"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["module", "export", "dim-thing@1.1.0", "things"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &[
            "module",
            "import",
            "oci://ada:lovelace@registry.example.org/dim-thing:1.1.0",
        ],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["module", "list"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["module", "shadow", "dim-thing@1.1.0"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["module", "promote", "dim-thing@1", "--why", "try"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["module", "rollback", "dim-thing", "--why", "oops"],
    },
    Use {
        file: Some(SHOP),
        before: nothing,
        arguments: &["policy", "extarct"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["schema", "shop"],
    },
    Use {
        file: None,
        before: nothing,
        arguments: &["completions", "tcl"],
    },
];

fn nothing(_: &Project) -> Result<()> {
    Ok(())
}

fn a_file(project: &Project) -> Result<()> {
    Ok(std::fs::write(project.path().join("notes.txt"), "notes")?)
}

/// A source with one table.
fn a_source(project: &Project) -> Result<()> {
    let source = rusqlite::Connection::open(project.path().join("shop.db"))?;
    source.execute_batch(
        "CREATE TABLE thing (thing_id INTEGER PRIMARY KEY); INSERT INTO thing VALUES (1)",
    )?;
    Ok(())
}

/// A source whose one table has been landed.
fn a_landing(project: &Project) -> Result<()> {
    a_source(project)?;
    project.done(["extract"])?;
    Ok(())
}

/// A landing of which a byte was turned.
fn a_damaged_landing(project: &Project) -> Result<()> {
    a_landing(project)?;
    let landed = parquet_below(&project.path().join("lake"))?.context("a table was landed")?;
    let mut bytes = std::fs::read(&landed)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).context("it has bytes")?;
    *byte ^= 1;
    let mut permissions = std::fs::metadata(&landed)?.permissions();
    #[expect(
        clippy::permissions_set_readonly_false,
        reason = "the file is the test's own"
    )]
    permissions.set_readonly(false);
    std::fs::set_permissions(&landed, permissions)?;
    Ok(std::fs::write(&landed, bytes)?)
}

fn parquet_below(folder: &Path) -> Result<Option<std::path::PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for path in entries.iter().map(std::fs::DirEntry::path) {
        let is_part = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        match path.is_dir() {
            true => {
                if let Some(found) = parquet_below(&path)? {
                    return Ok(Some(found));
                }
            }
            false if is_part => return Ok(Some(path)),
            false => {}
        }
    }
    Ok(None)
}

impl Use {
    fn project(&self) -> Result<Project> {
        let project = match self.file {
            Some(file) => Project::with_file(file)?,
            None => Project::empty()?,
        };
        (self.before)(&project)?;
        Ok(project)
    }

    /// The use as a person sees it.
    fn seen(&self) -> Result<(Option<i32>, String)> {
        let project = self.project()?;
        let said = project.call(self.arguments)?;
        let secret = "lovelace";
        ensure!(
            !said.stdout.contains(secret) && !said.stderr.contains(secret),
            "{said:#?}"
        );
        let mut seen = format!("$ tidemill {}\n", self.arguments.join(" "));
        write!(
            seen,
            "{}{}",
            project.masked(&said.stdout),
            project.masked(&said.stderr)
        )?;
        let code = said.code.context("it ends by itself")?;
        write!(seen, "exit code {code}\n\n")?;
        Ok((said.code, seen))
    }

    /// The same use must be as plain to a program.
    fn check_json(&self, code: Option<i32>) -> Result<()> {
        let project = self.project()?;
        let said = project.call([self.arguments, &["--output", "json"]].concat())?;
        ensure!(said.code == code, "{code:?} as text, as JSON {said:#?}");
        let Said { stdout, stderr, .. } = &said;
        // What was done in part is told in the answer, whatever failed; all else is talk and nothing but an error.
        if !stdout.is_empty() {
            let _: Value = serde_json::from_str(stdout).with_context(|| format!("{said:#?}"))?;
            ensure!(stderr.is_empty(), "{said:#?}");
            return Ok(());
        }
        let told: Value = serde_json::from_str(stderr).with_context(|| format!("{said:#?}"))?;
        let error = told.get("error").and_then(Value::as_object);
        let error = error.context("an error")?;
        let keys: BTreeSet<&str> = error.keys().map(String::as_str).collect();
        let wanted = ["causes", "hint", "kind", "message", "stage", "table"];
        ensure!(keys.iter().eq(&wanted), "{stderr}");
        ensure!(!stderr.contains("lovelace"), "{stderr}");
        Ok(())
    }
}

/// What stands in `failures.txt`, or with `TIDEMILL_UPDATE=1` in the environment what is written there.
#[test]
fn every_verb_says_what_failed_and_what_to_do_about_it() -> Result<()> {
    let mut told = String::new();
    for failing in USES {
        let name = failing.arguments.join(" ");
        let (code, seen) = failing.seen().with_context(|| name.clone())?;
        ensure!(code != Some(0), "{name} does not fail");
        failing.check_json(code).with_context(|| name.clone())?;
        told.push_str(&seen);
    }
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/rooms/command_line/failures.txt"
    );
    if tidemill_tests::variable("TIDEMILL_UPDATE").is_some() {
        std::fs::write(file, &told).context("the sources are ours")?;
    }
    let expected = std::fs::read_to_string(file).context(file)?;
    for (told, expected) in told
        .split_inclusive("\n\n")
        .zip(expected.split_inclusive("\n\n"))
    {
        ensure!(
            told == expected,
            "expected\n\n{expected}and came\n\n{told}\
             look at it, and run the test with TIDEMILL_UPDATE=1 when it is as it should be"
        );
    }
    ensure!(told.len() == expected.len(), "failures.txt has other uses");
    Ok(())
}

/// A verb without a failing use here would be a verb whose errors nobody has read.
#[test]
fn no_verb_is_left_out() -> Result<()> {
    let mut tried: Vec<&str> = USES
        .iter()
        .filter_map(|failing| failing.arguments.first().copied())
        .collect();
    // `module` has verbs of its own.
    tried.dedup();
    same(&verbs(&["--help"])?, &tried)?;
    let tried: Vec<&str> = USES
        .iter()
        .filter(|failing| failing.arguments.first() == Some(&"module"))
        .filter_map(|failing| failing.arguments.get(1).copied())
        .collect();
    same(&verbs(&["module", "--help"])?, &tried)
}

/// The verbs that a help lists.
fn verbs(arguments: &[&str]) -> Result<Vec<String>> {
    let help = Project::empty()?.done(arguments)?;
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    // What is indented further is the rest of an explanation.
    let verbs = verbs.filter_map(|line| line.strip_prefix("  "));
    let verbs = verbs.filter(|line| !line.starts_with(' '));
    let verbs = verbs.filter_map(|line| line.split_whitespace().next());
    // clap adds this one.
    let verbs = verbs.filter(|verb| arguments.len() == 1 || *verb != "help");
    Ok(verbs.map(str::to_owned).collect())
}

fn same(verbs: &[String], tried: &[&str]) -> Result<()> {
    ensure!(
        verbs == tried,
        "the help has {verbs:?}, tried are {tried:?}"
    );
    Ok(())
}
