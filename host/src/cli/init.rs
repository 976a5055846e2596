//! `init`: a new project.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::UsageError;
use super::answer::Answer;
use super::invocation::Invocation;
use super::text::{Paint, counted};
use crate::builtin;
use crate::config::{self, Plan};
use crate::demo;
use crate::pipeline::Pipeline;

const MINIMAL: &str = include_str!("init/minimal.toml");
const TOTESYS: &str = include_str!("init/totesys.toml");
const GITIGNORE: &str = include_str!("init/gitignore");

/// Make a project: a tidemill.toml, a .gitignore and, with an example, its modules.
///
/// The example runs as it is, without a server and without a compiler: its database is a SQLite file with an
/// invented company. TOTESYS_URL and WAREHOUSE_URL take it to a real database and a real warehouse. A file
/// that exists is never overwritten.
///
/// Example: tidemill init --example totesys shop && cd shop && tidemill run
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Begin with a whole example instead of an empty project.
    #[arg(long, value_enum, value_name = "NAME")]
    example: Option<Example>,
    /// The folder; it is made when it does not exist.
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Whether the caller makes the example's database.
    #[arg(skip)]
    without_source: bool,
}

/// A project that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Example {
    /// A trading company: three facts with their history and eight dimensions.
    Totesys,
}

/// What was made, as programs read it.
#[derive(Debug, Default, Serialize)]
struct Made {
    folder: String,
    created: Vec<String>,
    kept: Vec<String>,
    modules: usize,
    /// The example's SQLite file, where it was made.
    source: Option<PathBuf>,
    /// Rows in it.
    source_rows: u64,
}

impl Init {
    /// The example in `folder` without its database, as the demo begins.
    pub(super) fn totesys(folder: PathBuf) -> Self {
        Self {
            example: Some(Example::Totesys),
            folder,
            without_source: true,
        }
    }

    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let folder = call.folder().join(&self.folder);
        let project = match self.example {
            Some(Example::Totesys) => TOTESYS,
            None => MINIMAL,
        };
        // Before any file is written: a program without modules cannot make an example.
        let modules = self.example.map(|_| builtin::modules()).transpose()?;
        std::fs::create_dir_all(&folder).map_err(|cause| file_error(&folder, cause))?;
        let mut made = Made {
            folder: folder.display().to_string(),
            ..Made::default()
        };
        create(&folder, config::FILE, project, &mut made)?;
        create(&folder, ".gitignore", GITIGNORE, &mut made)?;
        if let Some(modules) = modules {
            let plan = config::load(&folder.join(config::FILE), call.environment(), &[])?;
            made.modules = install(&plan, &modules, call).await?;
            if !self.without_source {
                generate(&plan, &mut made).await?;
            }
        }
        let text = told(&made, &self.folder, self.example.is_some(), call.paint());
        Ok(Answer::new(text, &made))
    }
}

/// Puts the modules of the program into the modules zone of the project; those it has stay as they are.
async fn install(
    plan: &Plan,
    modules: &[builtin::BuiltinModule],
    call: &Invocation,
) -> crate::Result<usize> {
    let pipeline = Pipeline::open(plan, call.progress().clone()).await?;
    let who = call.environment().get("USER").unwrap_or("tidemill init");
    pipeline.install(modules, who, call.clock()()).await
}

/// Makes the database that the example reads, where it is a SQLite file that does not exist.
async fn generate(plan: &Plan, made: &mut Made) -> crate::Result<()> {
    let Some(file) = missing_source(plan) else {
        return Ok(());
    };
    // Half a company would be taken for somebody's own by the next `init`.
    let draft = draft(&file);
    for rest in ["", "-journal", "-wal", "-shm"] {
        let rest = PathBuf::from(format!("{}{rest}", draft.display()));
        match std::fs::remove_file(&rest) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_error(&rest, cause).into());
            }
            Ok(()) | Err(_) => {}
        }
    }
    let url = format!("sqlite://{}", draft.display());
    let generated = demo::generate(&url, demo::Options::default(), 0, &mut |_| {}).await?;
    std::fs::rename(&draft, &file).map_err(|cause| file_error(&file, cause))?;
    made.source_rows = generated.rows.values().sum();
    made.source = Some(file);
    Ok(())
}

/// The SQLite file that the example reads and that does not exist: what the generator of the demo makes.
/// A source on a server is somebody else's, and so is a file that exists.
fn missing_source(plan: &Plan) -> Option<PathBuf> {
    let url = plan.sources.get("totesys")?.url.expose().ok()?;
    let file = PathBuf::from(url.strip_prefix("sqlite://")?);
    (!file.exists()).then_some(file)
}

/// Writes a file that does not exist yet: whole beside its place, and then linked to it. An `init` that dies leaves no
/// half of a file that the next one would take for somebody's own.
fn create(folder: &Path, name: &str, text: &str, made: &mut Made) -> Result<(), UsageError> {
    let path = folder.join(name);
    let draft = draft(&path);
    let created = std::fs::write(&draft, text).and_then(|()| std::fs::hard_link(&draft, &path));
    let removed = std::fs::remove_file(&draft);
    match created.and(removed) {
        Ok(()) => made.created.push(name.to_owned()),
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            made.kept.push(name.to_owned());
        }
        Err(cause) => return Err(file_error(&path, cause)),
    }
    Ok(())
}

/// Where a file is made before it has its name. What an `init` that died left there is written over.
fn draft(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn file_error(path: &Path, cause: std::io::Error) -> UsageError {
    UsageError::File {
        file: path.display().to_string(),
        cause,
    }
}

fn told(made: &Made, folder: &Path, example: bool, paint: Paint) -> String {
    let mut text = String::new();
    for file in &made.created {
        text.push_str(&format!("{} {file}\n", paint.good("created")));
    }
    for file in &made.kept {
        text.push_str(&format!(
            "{} {file}, which was there\n",
            paint.doubtful("kept")
        ));
    }
    if made.modules > 0 {
        let modules = counted(made.modules as u64, "module", "modules");
        text.push_str(&format!("{} {modules}\n", paint.good("installed")));
    }
    if let Some(name) = made.source.as_ref().and_then(|file| file.file_name()) {
        let rows = counted(made.source_rows, "row", "rows");
        let name = name.display();
        text.push_str(&format!(
            "{} {name}, an invented company with {rows}\n",
            paint.good("generated")
        ));
    }
    let enter = match folder == Path::new(".") {
        true => String::new(),
        false => format!("cd {} && ", folder.display()),
    };
    text.push_str(&match example {
        false => format!("fill in tidemill.toml, then: {enter}tidemill doctor\n"),
        true => format!("next: {enter}tidemill run\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cursor, Environment};

    fn plan(text: &str, environment: &Environment) -> Plan {
        config::parse(
            text,
            Path::new(config::FILE),
            Path::new("p"),
            environment,
            &[],
        )
        .expect("a good project")
    }

    #[test]
    fn the_example_is_a_project_that_runs_without_any_setting() {
        let plan = plan(TOTESYS, &Environment::default());
        let source = &plan.sources["totesys"];
        let url = source.url.expose().expect("a default");
        assert!(url.ends_with("/p/totesys.sqlite"), "{url}");
        assert_eq!(source.cursor, Cursor::Snapshot);
        assert!(!source.takes("_prisma_migrations"));
        assert_eq!(
            plan.warehouse.url.expose().ok(),
            Some("delta://./warehouse")
        );
        let tables: Vec<_> = plan.transforms.keys().map(String::as_str).collect();
        assert_eq!(
            tables,
            [
                "dim_counterparty",
                "dim_currency",
                "dim_date",
                "dim_design",
                "dim_location",
                "dim_payment_type",
                "dim_staff",
                "dim_transaction",
                "fact_payment",
                "fact_purchase_orders",
                "fact_sales_order",
            ]
        );
        for (table, transform) in &plan.transforms {
            assert_eq!(transform.module, format!("{}@1", table.replace('_', "-")));
        }
    }

    #[test]
    fn variables_take_the_example_to_real_servers() {
        let environment = [
            ("TOTESYS_URL", "postgresql://source"),
            ("WAREHOUSE_URL", "postgresql://star"),
        ];
        let plan = plan(TOTESYS, &environment.into_iter().collect());
        assert_eq!(
            plan.sources["totesys"].url.expose().ok(),
            Some("postgresql://source")
        );
        assert_eq!(plan.warehouse.url.expose().ok(), Some("postgresql://star"));
    }

    #[test]
    fn the_minimal_project_is_valid_also_with_every_comment_taken_away() {
        plan(MINIMAL, &Environment::default());
        let uncommented: String = MINIMAL
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let plan = plan(&uncommented, &Environment::default());
        assert!(plan.sources.contains_key("shop") && plan.schedule.contains_key("office-hours"));
    }

    #[test]
    fn only_a_sqlite_file_that_is_not_there_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = |variables: &[(&str, &str)]| {
            let environment = variables.iter().copied().collect();
            let file = folder.path().join(config::FILE);
            let plan = config::parse(TOTESYS, &file, folder.path(), &environment, &[]);
            missing_source(&plan.expect("a good project"))
        };
        let file = folder.path().join("totesys.sqlite");
        assert_eq!(missing(&[]), Some(file.clone()));
        assert_eq!(missing(&[("TOTESYS_URL", "postgresql://h/totesys")]), None);
        std::fs::write(&file, "").expect("a file");
        assert_eq!(missing(&[]), None);
    }

    #[test]
    fn a_file_that_exists_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(config::FILE);
        std::fs::write(&file, "mine").expect("a file");
        let mut made = Made::default();
        create(folder.path(), config::FILE, MINIMAL, &mut made).expect("kept");
        create(folder.path(), ".gitignore", GITIGNORE, &mut made).expect("created");
        assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), Some("mine"));
        assert_eq!(
            told(&made, Path::new("shop"), false, Paint::new(false)),
            "created .gitignore\nkept tidemill.toml, which was there\n\
             fill in tidemill.toml, then: cd shop && tidemill doctor\n"
        );
    }
}
