//! The project file: from what the user wrote ([`Settings`]) to what is checked and resolved ([`Plan`]).
//!
//! ```text
//! tidemill.toml ─┐
//! .env ──────────┼─▶ Document ──▶ Settings ──▶ Plan
//! TIDEMILL_… ────┤   keys and     serde        references, units, names
//! --set ─────────┘   types
//! ```
//!
//! This is the only room that reads environment variables. Nothing here opens a connection: a plan is
//! plain data. A value comes from the last of default, file, environment and flag that says it.

mod document;
mod environment;
mod error;
mod limits;
mod modules;
mod plan;
mod reference;
mod resolve;
mod schema;
mod secret;
mod sensitive;
mod settings;
mod store;
mod telemetry;
mod unit;

use std::path::{Path, PathBuf};

pub use document::Assignment;
pub use environment::Environment;
pub use error::{ConfigError, Place, Setting};
pub use limits::LimitsPlan;
pub use modules::ModulesPlan;
pub use plan::{
    Cursor, LambdaPlan, OnSchemaChange, Plan, Schedule, ServePlan, SourcePlan, TablePlan,
    TransformPlan, WarehousePlan, When, ZonesPlan,
};
pub use reference::{Keeper, Reference};
pub use secret::Secret;
pub use sensitive::SourceColumn;
pub use settings::Settings;
pub use store::{Encryption, StoreCredentials, StorePlan, VaultPlan};
pub use telemetry::{CollectorPlan, TelemetryPlan};

/// The name of the project file.
pub const FILE: &str = "tidemill.toml";

/// Reads the project file at `file` and resolves it against `environment` and the flags in `assignments`.
///
/// Variables of a `.env` beside the file count where the environment does not have them.
///
/// # Errors
/// [`ConfigError`], always of kind `Config`, that names the file and line, the variable or the flag.
pub fn load(
    file: &Path,
    environment: &Environment,
    assignments: &[Assignment],
) -> Result<Plan, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable {
        file: file.to_path_buf(),
        cause: cause.into(),
    })?;
    let base = folder_of(file);
    let environment = environment.with_dotenv(&base.join(".env"))?;
    parse(&text, file, &base, &environment, assignments)
}

/// [`load`] on text that is already at hand; `base` is what relative paths are below.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    file: &Path,
    base: &Path,
    environment: &Environment,
    assignments: &[Assignment],
) -> Result<Plan, ConfigError> {
    let mut document = document::Document::parse(text, file)?;
    for assignment in environment.assignments(&document)? {
        document.assign(&assignment)?;
    }
    for assignment in assignments {
        document.assign(assignment)?;
    }
    let settings = document.settings()?;
    resolve::plan(&settings, &document, base, environment)
}

/// The project file of `folder`: in it, or in the nearest folder above it.
///
/// # Errors
/// [`ConfigError::NotFound`].
pub fn find(folder: &Path) -> Result<PathBuf, ConfigError> {
    folder
        .ancestors()
        .map(|folder| folder.join(FILE))
        .find(|file| file.is_file())
        .ok_or_else(|| ConfigError::NotFound {
            folder: folder.to_path_buf(),
        })
}

/// The JSON Schema of the project file.
pub fn json_schema() -> serde_json::Value {
    schema::root()
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Classify as _;
    use crate::run::Stage;

    const PROJECT: &str = r#"
name = "totesys"

[source.totesys]
url       = "${env:TOTESYS_URL}"
exclude   = ["_prisma_migrations"]
cursor    = "last_updated"
overlap   = "30s"
reconcile = "12h"

[source.totesys.table.staff]
cursor = "snapshot"
key    = ["staff_id"]
on_schema_change = "reject"

[warehouse]
url    = "${env:WAREHOUSE_URL:-delta://./warehouse}"
schema = "star"

[transform.dim_staff]
module = "dim-staff@1"

[modules]
keys = ["RWTdEDnf/Js2tRSOWIPgcB+51droEELDyUhzK8dhWyYYmsAsxkk6scMK"]

[limits]
memory = "64 MiB"

[schedule.office-hours]
cron   = "*/15 7-19 * * MON-FRI"
zone   = "Europe/London"
stages = ["load", "extract"]
"#;

    fn plan_with(
        text: &str,
        variables: &[(&str, &str)],
        flags: &[&str],
    ) -> Result<Plan, ConfigError> {
        let flags = flags
            .iter()
            .map(|flag| Assignment::flag(flag))
            .collect::<Result<Vec<_>, _>>()?;
        parse(
            text,
            Path::new("tidemill.toml"),
            Path::new("/project"),
            &variables.iter().copied().collect(),
            &flags,
        )
    }

    /// The error and its hint, as the command line prints them.
    fn told(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> String {
        let error = plan_with(text, variables, flags).expect_err("the settings are wrong");
        match error.hint() {
            Some(hint) => format!("{error} | {hint}"),
            None => error.to_string(),
        }
    }

    #[test]
    fn the_file_becomes_a_plan() {
        let plan = plan_with(PROJECT, &[("TOTESYS_URL", "sqlite://./t.sqlite")], &[])
            .expect("a good project");
        assert_eq!(plan.name, "totesys");
        assert_eq!(plan.limits.memory_bytes, 64 * 1024 * 1024);
        assert_eq!(plan.limits.log_lines, LimitsPlan::default().log_lines);
        assert_eq!(plan.zones.modules, "file://./lake/modules");
        assert_eq!(plan.modules.keys.len(), 1);
        assert!(!plan.modules.unsigned);
        assert_eq!(plan.warehouse.options.schema, "star");
        assert_eq!(
            plan.warehouse.url.expose().ok(),
            Some("delta://./warehouse")
        );
        let source = &plan.sources["totesys"];
        assert_eq!(source.url.expose().ok(), Some("sqlite:///project/t.sqlite"));
        assert_eq!(source.reconcile, Some(Duration::from_secs(12 * 3600)));
        assert_eq!(source.cursor_of("staff"), &Cursor::Snapshot);
        let by_column = Cursor::Column {
            name: "last_updated".into(),
            overlap: Duration::from_secs(30),
        };
        assert_eq!(source.cursor_of("design"), &by_column);
        assert!(source.takes("staff") && !source.takes("_prisma_migrations"));
        assert_eq!(source.on_schema_change_of("staff"), OnSchemaChange::Reject);
        assert_eq!(source.on_schema_change_of("design"), OnSchemaChange::Evolve);
        assert!(source.names("staff") && !source.names("design"));
        let schedule = &plan.schedule["office-hours"];
        assert_eq!(schedule.stages, [Stage::Extract, Stage::Load]);
        assert!(matches!(schedule.when, When::Cron { zone, .. } if zone.name() == "Europe/London"));
    }

    #[test]
    fn an_empty_file_is_a_project_of_defaults() {
        let plan = plan_with("", &[("HOME", "/home/ada")], &[]).expect("defaults");
        assert_eq!(plan.name, "project");
        assert_eq!(plan.cache, Path::new("/home/ada/.cache/tidemill"));
        assert_eq!(plan.limits, LimitsPlan::default());
        assert!(plan.sources.is_empty() && plan.schedule.is_empty());
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file() {
        let variables = [
            ("TIDEMILL_WAREHOUSE__SCHEMA", "from_variable"),
            ("TIDEMILL_LIMITS__MEMORY", "1 GiB"),
            ("TIDEMILL_SCHEDULE__OFFICE_HOURS__RECONCILE", "true"),
            ("TIDEMILL_SOURCE__TOTESYS__EXCLUDE", "a, b"),
            ("TIDEMILL_LOG", "debug"),
        ];
        let plan = plan_with(PROJECT, &variables, &["warehouse.schema=from_flag"])
            .expect("a good project");
        assert_eq!(plan.warehouse.options.schema, "from_flag");
        assert_eq!(plan.limits.memory_bytes, 1 << 30);
        assert!(plan.schedule["office-hours"].reconcile);
        assert_eq!(plan.sources["totesys"].exclude, ["a", "b"]);
    }

    #[test]
    fn a_list_outside_the_file_is_written_as_in_it_or_with_commas() {
        for list in ["a, b,", "[\"a\", 'b']", " [ \"a\",\n \"b\" ] "] {
            let flag = format!("source.totesys.exclude={list}");
            let plan = plan_with(PROJECT, &[], &[&flag]).expect("a good project");
            assert_eq!(plan.sources["totesys"].exclude, ["a", "b"], "{list}");
        }
        for list in ["[a]", "[1]", "[\"a\"", "[]\nlimits = 1"] {
            let flag = format!("source.totesys.exclude={list}");
            assert_eq!(
                told(PROJECT, &[], &[&flag]),
                "--set source.totesys.exclude: `source.totesys.exclude` is a text, not a list of texts \
                 | write it as [\"_prisma_migrations\"]"
            );
        }
    }

    #[test]
    fn a_secret_that_is_not_there_is_an_error_only_when_it_is_used() {
        let plan = plan_with(PROJECT, &[], &[]).expect("the load stage needs no source");
        let error = plan.sources["totesys"].url.expose().expect_err("not set");
        assert_eq!(
            error.to_string(),
            "tidemill.toml:5: `source.totesys.url` refers to the environment variable TOTESYS_URL, \
             which is not set"
        );
    }

    #[test]
    fn the_path_of_a_source_is_below_the_project() {
        let url = |written: &str| {
            let plan = plan_with(&format!("[source.a]\nurl = \"{written}\""), &[], &[]);
            let plan = plan.expect("a good project");
            plan.sources["a"].url.expose().map(str::to_owned).ok()
        };
        assert_eq!(
            url("sqlite://a.db").as_deref(),
            Some("sqlite:///project/a.db")
        );
        assert_eq!(
            url("sqlite:///else/a.db").as_deref(),
            Some("sqlite:///else/a.db")
        );
        assert_eq!(url("postgresql://h/d").as_deref(), Some("postgresql://h/d"));
    }

    #[test]
    fn a_plan_does_not_show_its_secrets() {
        let url = "postgresql://ada:lovelace@db/totesys";
        let plan = plan_with(PROJECT, &[("TOTESYS_URL", url)], &[]).expect("a good project");
        assert!(!format!("{plan:?}").contains("lovelace"));
    }

    #[test]
    fn what_a_reference_stands_for_is_not_in_an_error() {
        for setting in [
            "stages = [\"${env:S}\"]\nevery = \"1h\"",
            "cron = \"${env:S}\"",
            "every = \"${env:S}\"",
            "every = \"1h\"\nzone = \"${env:S}\"",
        ] {
            let text = format!("[schedule.a]\n{setting}");
            let told = told(&text, &[("S", "lovelace 9 9 9 9")], &[]);
            assert!(
                told.contains("${env:S}") && !told.contains("lovelace"),
                "{told}"
            );
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        assert_eq!(
            told("[limits]\nmemroy = \"1 GiB\"", &[], &[]),
            "tidemill.toml:2: there is no setting `limits.memroy` | did you mean `memory`?"
        );
        assert_eq!(
            told("[sources.totesys]\n", &[], &[]),
            "tidemill.toml:1: there is no setting `sources` | did you mean `source`?"
        );
        assert_eq!(
            told("[serve]\nqqq = 1", &[], &[]),
            "tidemill.toml:2: there is no setting `serve.qqq` | known here: grace, listen"
        );
        assert_eq!(
            told("", &[("TIDEMILL_WAREHOUSE__SHEMA", "x")], &[]),
            "environment variable TIDEMILL_WAREHOUSE__SHEMA: there is no setting `warehouse.shema` \
             | did you mean `schema`?"
        );
        assert_eq!(
            told("", &[], &["limit.memory=1"]),
            "--set limit.memory: there is no setting `limit` | did you mean `limits`?"
        );
    }

    #[test]
    fn wrong_types_say_what_is_expected() {
        assert_eq!(
            told("[limits]\nmemory = 64", &[], &[]),
            "tidemill.toml:2: `limits.memory` is an integer, not a text | write it as \"256 MiB\""
        );
        assert_eq!(
            told("source = \"totesys\"", &[], &[]),
            "tidemill.toml:1: `source` is a text, not a table"
        );
        assert_eq!(
            told("[source.a]\nurl = \"\"\nexclude = \"b\"", &[], &[]),
            "tidemill.toml:3: `source.a.exclude` is a text, not a list of texts \
             | write it as [\"_prisma_migrations\"]"
        );
        assert_eq!(
            told("", &[("TIDEMILL_LIMITS__LOG_LINES", "many")], &[]),
            "environment variable TIDEMILL_LIMITS__LOG_LINES: `limits.log_lines` is a text, not an \
             integer | write it as 1000"
        );
    }

    #[test]
    fn wrong_values_name_key_value_and_an_example() {
        let source = "[source.a]\nurl = \"sqlite://a\"\n";
        for (text, expected) in [
            (
                "[limits]\nmemory = \"lots\"".to_owned(),
                "tidemill.toml:2: `limits.memory` is \"lots\", which is not a size | write it as \"256 MiB\"",
            ),
            (
                "[limits]\ntime = \"${env:T:-soon}\"".to_owned(),
                "tidemill.toml:2: `limits.time` is \"${env:T:-soon}\", which is not a duration | write it as \"5m\"",
            ),
            (
                format!("{source}reconcile = \"7\""),
                "tidemill.toml:3: `source.a.reconcile` is \"7\", which is not a duration | write it as \"7d\"",
            ),
            (
                format!("{source}on_schema_change = \"ignore\""),
                "tidemill.toml:3: `source.a.on_schema_change` is \"ignore\", which is not evolve, freeze or reject | write it as \"evolve\"",
            ),
            (
                format!("{source}connections = 0"),
                "tidemill.toml:3: `source.a.connections` is \"0\", which is not above zero | write it as 4",
            ),
            (
                "[source.a]".to_owned(),
                "tidemill.toml:1: the setting `source.a.url` is missing | add url = \"postgresql://user:password@host:5432/database\"",
            ),
            (
                "[transform.dim_staff]\nmodule = \"dim-staff\"".to_owned(),
                "tidemill.toml:2: `transform.dim_staff.module` is \"dim-staff\", which is not a module's name and version | write it as \"dim-staff@1\"",
            ),
            (
                format!("{source}[transform.x]\nmodule = \"x@1\"\nsource = \"b\""),
                "tidemill.toml:5: `transform.x.source` is \"b\", which is not a source of this project | write it as \"totesys\"",
            ),
            (
                "[schedule.x]\nevery = \"1ms\"".to_owned(),
                "tidemill.toml:2: `schedule.x.every` is \"1ms\", which is shorter than a second | write it as \"15m\"",
            ),
            (
                "[schedule.x]\nevery = \"1m\"\ncron = \"* * * * *\"".to_owned(),
                "tidemill.toml:3: `schedule.x.cron` is \"* * * * *\", which stands beside `every`: only one of the two can say when | write it as \"*/15 7-19 * * MON-FRI\"",
            ),
            (
                "[schedule.x]\n".to_owned(),
                "tidemill.toml:1: the setting `schedule.x.cron` is missing | add cron = \"*/15 7-19 * * MON-FRI\"",
            ),
            (
                "[schedule.x]\ncron = \"* * * * *\"\nzone = \"Mars\"".to_owned(),
                "tidemill.toml:3: `schedule.x.zone` is \"Mars\", which is not a time zone | write it as \"Europe/London\"",
            ),
            (
                "[schedule.x]\nevery = \"1m\"\nstages = [\"lode\"]".to_owned(),
                "tidemill.toml:3: `schedule.x.stages` is \"lode\", which is not a stage | write it as [\"extract\"]",
            ),
            (
                "[serve]\nlisten = \"localhost\"".to_owned(),
                "tidemill.toml:2: `serve.listen` is \"localhost\", which is not an address with a port | write it as \"127.0.0.1:9464\"",
            ),
        ] {
            assert_eq!(told(&text, &[], &[]), expected);
        }
    }

    #[test]
    fn a_wrong_value_is_shown_as_it_was_written() {
        assert_eq!(
            told(
                "[transform.x]\nmodule = \"${env:SECRET}\"",
                &[("SECRET", "hush")],
                &[]
            ),
            "tidemill.toml:2: `transform.x.module` is \"${env:SECRET}\", which is not a module's name \
             and version | write it as \"dim-staff@1\""
        );
    }

    #[test]
    fn a_wrong_cron_expression_says_why() {
        let text = told("[schedule.x]\ncron = \"61 * * * *\"", &[], &[]);
        assert!(
            text.starts_with("tidemill.toml:2: `schedule.x.cron` is \"61 * * * *\", which is not a cron expression: "),
            "{text}"
        );
    }

    #[test]
    fn text_that_is_not_toml_names_its_line() {
        let text = told("name = \"a\"\n[limits\n", &[], &[]);
        assert!(text.starts_with("tidemill.toml:2: "), "{text}");
    }

    #[test]
    fn a_dotenv_counts_where_the_environment_is_silent() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        std::fs::write(
            &file,
            "[warehouse]\nurl = \"${env:A}\"\nschema = \"${env:B}\"",
        )
        .expect("a project");
        std::fs::write(
            folder.path().join(".env"),
            "# urls\nA=from-file\nB=from-file\n",
        )
        .expect("a .env");
        let environment = [("B", "from-environment")].into_iter().collect();
        let plan = load(&file, &environment, &[]).expect("a good project");
        assert_eq!(plan.warehouse.url.expose().ok(), Some("from-file"));
        assert_eq!(plan.warehouse.options.schema, "from-environment");
    }

    #[test]
    fn a_wrong_dotenv_names_the_line_and_not_its_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        std::fs::write(&file, "").expect("a project");
        std::fs::write(folder.path().join(".env"), "A=1\nmy pass word\n").expect("a .env");
        let error = load(&file, &Environment::default(), &[]).expect_err("no line of a .env");
        let text = error.to_string();
        assert!(
            text.ends_with(".env:2 is not a line of the form NAME=value"),
            "{text}"
        );
    }

    #[test]
    fn the_project_is_found_from_a_folder_below() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("a").join("b");
        std::fs::create_dir_all(&below).expect("folders");
        assert!(matches!(find(&below), Err(ConfigError::NotFound { folder }) if folder == below));
        std::fs::write(folder.path().join(FILE), "").expect("a project");
        assert_eq!(find(&below).ok(), Some(folder.path().join(FILE)));
    }
}
