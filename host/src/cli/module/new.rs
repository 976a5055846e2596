//! `module new`: the crate of a new module, made from what a source has.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use crate::authoring::{Scaffold, Scaffolded, Sdk};
use crate::cli::UsageError;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::Paint;
use crate::config::{Plan, SourcePlan};
use crate::source::{self, Discovered};
use crate::table::Table;
use crate::vault::Vault;

/// Make the crate of a new module from tables of the project's source.
///
/// It compiles and passes its first case. Of several tables, the first is the one whose rows are made; the others are
/// looked up in by the column that has the name of their key. The crate may lie anywhere. It needs the SDK, which is
/// published nowhere: the one of the repository around the folder is taken, else of the one that this program was
/// built in, else --sdk says where it is.
///
/// Example: tidemill module new dim-staff --from totesys.staff,department --to dim_staff
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The name of the module and of its crate.
    name: String,
    /// The source, as the project file names it, and its tables.
    #[arg(long, value_name = "SOURCE.TABLE[,TABLE…]")]
    from: String,
    /// The warehouse table to make.
    #[arg(long, value_name = "TABLE")]
    to: String,
    /// The folder of the crate [default: NAME].
    path: Option<PathBuf>,
    /// Where the SDK is: its folder, or a repository of git as URL or URL#REVISION.
    #[arg(
        long,
        value_name = "PATH|URL",
        env = "TIDEMILL_SDK",
        hide_env_values = true
    )]
    sdk: Option<String>,
}

impl New {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let path = self
            .path
            .clone()
            .unwrap_or_else(|| self.name.clone().into());
        let folder: PathBuf = call.folder().join(path).components().collect();
        let plan = call.plan().await?;
        let (source_name, named) = self.source(&plan)?;
        let url = Vault::new(plan.vault.clone()).reveal(&named.url).await?;
        let source = source::open(&url, &named.options)?;
        let found = source.discover().await?;
        let tables = self.tables(&source_name, named, &found)?;
        let sdk = match &self.sdk {
            Some(written) => Some(Sdk::parse(written, call.folder())),
            None => Sdk::find(&folder),
        };
        let sdk = sdk.filter(Sdk::is_there).ok_or_else(|| UsageError::Choice {
            what: match &self.sdk {
                Some(written) => format!("there is no SDK in {written}"),
                None => "there is no SDK near this folder".into(),
            },
            hint: "name it with --sdk: guest-transforms/sdk in a checkout of tidemill, or its repository".into(),
        })?;
        let scaffold = Scaffold {
            name: self.name,
            to: self.to,
            source: source_name,
            tables,
            sdk,
        };
        let made = scaffold.write(&folder)?;
        Ok(Answer::new(told(&made, call), &made))
    }

    /// The source that is meant, with its name.
    fn source<'p>(&self, plan: &'p Plan) -> Result<(String, &'p SourcePlan), UsageError> {
        let (name, _) = self
            .from
            .split_once('.')
            .ok_or_else(|| UsageError::Choice {
                what: format!("`{}` names no table", self.from),
                hint: "write it like --from totesys.staff,department".into(),
            })?;
        let known = || plan.sources.keys().map(String::as_str);
        let found = plan.sources.get(name).ok_or_else(|| UsageError::Choice {
            what: format!("the project has no source `{name}`"),
            hint: match known().next() {
                Some(_) => meant(name, known(), "it has"),
                None => format!("add the section [source.{name}] with its `url`"),
            },
        })?;
        Ok((name.to_owned(), found))
    }

    fn tables(
        &self,
        source: &str,
        plan: &SourcePlan,
        found: &[Discovered],
    ) -> Result<Vec<Table>, UsageError> {
        let (_, tables) = self.from.split_once('.').unwrap_or_default();
        let known = || found.iter().map(|found| found.table.name.as_str());
        let prefix = format!("{source}.");
        let named = tables.split(',').map(str::trim).map(|name| {
            // Whoever writes the source before every table means the same.
            let bare = name
                .strip_prefix(&prefix)
                .filter(|_| !known().any(|known| known == name));
            let name = bare.unwrap_or(name);
            let table = found
                .iter()
                .map(|found| &found.table)
                .find(|t| t.name.as_str() == name);
            let Some(table) = table else {
                return Err(UsageError::Choice {
                    what: format!("the source {source} has no table `{name}`"),
                    hint: meant(name, known(), "it has"),
                });
            };
            if !plan.takes(name) {
                return Err(UsageError::Choice {
                    what: format!("the project leaves the table {name} of {source} out"),
                    hint: format!("look at `include` and `exclude` of [source.{source}]"),
                });
            }
            Ok(table.clone())
        });
        named.collect()
    }
}

/// The names of which one was probably meant: the nearest first, and not a whole catalogue.
fn meant<'n>(written: &str, known: impl Iterator<Item = &'n str>, it_has: &str) -> String {
    const SHOWN: usize = 8;
    let mut known: Vec<(f64, &str)> = known
        .map(|name| (strsim::jaro_winkler(written, name), name))
        .collect();
    known.sort_by(|(one, a), (other, b)| other.total_cmp(one).then(a.cmp(b)));
    let near: Vec<_> = known.iter().take(SHOWN).map(|(_, name)| *name).collect();
    let rest = match known.len() > SHOWN {
        true => ", …",
        false => "",
    };
    format!("{it_has}: {}{rest}", near.join(", "))
}

fn told(made: &Scaffolded, call: &Invocation) -> String {
    let paint: Paint = call.paint();
    let folder = made
        .folder
        .strip_prefix(call.folder())
        .unwrap_or(&made.folder);
    let mut text = format!(
        "{} makes {}\n",
        paint.strong(&made.name),
        paint.strong(&made.table)
    );
    // Writing to a String cannot fail, here and below.
    for file in &made.files {
        let _ = writeln!(text, "  {}", folder.join(file).display());
    }
    for column in &made.left_out {
        let left_out = format!("left out, for the SDK has no word for its type: {column}");
        let _ = writeln!(text, "{}", paint.doubtful(left_out));
    }
    let folder = folder.display();
    let _ = writeln!(text, "\nnext: tidemill module test {folder}");
    text
}
