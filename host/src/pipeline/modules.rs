//! The modules of a project: what the project file asks for, resolved, verified, compiled.

use std::sync::Arc;

use bytes::Bytes;

use super::report::TableFailure;
use super::sensitive::Granted;
use crate::builtin;
use crate::config::{Plan, TransformPlan};
use crate::contract::ModuleRef;
use crate::error::{Classify, ErrorKind, Result};
use crate::registry::{PublicKey, Registry, RegistryError, Trust};
use crate::run::Stage;
use crate::sandbox::{Module, Sandbox};

/// A warehouse table and the module that makes it.
#[derive(Clone)]
pub(super) struct Made {
    /// The warehouse table.
    pub(super) table: String,
    /// The source its inputs come from.
    pub(super) source: String,
    /// The code.
    pub(super) module: Granted,
}

/// Where the modules of a project come from.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'p> {
    /// What the project asks for.
    pub(super) plan: &'p Plan,
    /// Where they are.
    pub(super) registry: &'p Registry,
    /// Whose are used.
    pub(super) trust: &'p Trust,
    /// What runs them.
    pub(super) sandbox: &'p Arc<Sandbox>,
}

/// Whose modules a project uses.
///
/// # Errors
/// `Bug` when the index of the modules inside the program is damaged.
pub(super) fn trust(plan: &Plan) -> Result<Trust> {
    // The plan has checked that they are keys.
    let keys = plan.modules.keys.iter();
    Ok(Trust {
        keys: keys.filter_map(|key| PublicKey::parse(key)).collect(),
        program: builtin::digests()?,
        unsigned: plan.modules.unsigned,
    })
}

/// Why a module cannot make the table that the project file gives it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// It makes another table.
    #[error("the module {module} makes the table `{makes}`")]
    OtherTable {
        /// Name and version.
        module: String,
        /// What it makes.
        makes: String,
    },
    /// The project file does not make the table.
    #[error("the project file has no [transform.{table}]")]
    NoTransform {
        /// The table that was asked for.
        table: String,
        /// Those that it makes.
        known: Vec<String>,
    },
    /// It is inside of the program, and nobody has put it into the modules zone.
    #[error("the registry has no module `{0}`, which is inside of tidemill")]
    NotInstalled(String),
    /// The project has no such source, or several and the transform names none.
    #[error("which source the inputs come from is not clear: {0}")]
    Source(String),
    /// The thread that compiled it ended without an answer.
    #[error("compiling the module ended without an answer")]
    Lost(#[source] tokio::task::JoinError),
}

impl Classify for ModuleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherTable { .. }
            | Self::NoTransform { .. }
            | Self::NotInstalled(_)
            | Self::Source(_) => ErrorKind::Config,
            Self::Lost(_) => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherTable { makes, .. } => Some(format!(
                "name the section of the project file [transform.{makes}]"
            )),
            Self::NoTransform { table, known } if known.is_empty() => Some(format!(
                "add the section [transform.{table}] with its `module`"
            )),
            Self::NoTransform { known, .. } => Some(format!("it makes: {}", known.join(", "))),
            Self::NotInstalled(_) => Some(
                "`tidemill module push --built-in` puts all of those into the modules zone that `lake` names".into(),
            ),
            Self::Source(_) => Some("set `source` in the transform's section".into()),
            Self::Lost(_) => None,
        }
    }
}

/// Loads the module of every transform; one that cannot be loaded is a failure of its table alone.
pub(super) async fn load(shelf: &Shelf<'_>) -> (Vec<Made>, Vec<TableFailure>) {
    let (mut made, mut failures) = (Vec::new(), Vec::new());
    for (table, loaded) in load_each(shelf).await {
        match loaded {
            Ok(loaded) => made.push(loaded),
            Err(error) => failures.push(TableFailure::new(table, Stage::Transform, &error)),
        }
    }
    (made, failures)
}

/// Loads the module of every transform, by the name of its table.
pub(super) async fn load_each<'p>(shelf: &Shelf<'p>) -> Vec<(&'p String, Result<Made>)> {
    // All as of one moment: what is promoted is asked once. Where it cannot be told, each table says so.
    let (plan, now) = (shelf.plan, shelf.registry.as_of_now().await);
    let shelf = &Shelf {
        plan,
        registry: now.as_ref().unwrap_or(shelf.registry),
        trust: shelf.trust,
        sandbox: shelf.sandbox,
    };
    let tables = plan.transforms.keys();
    let loading = tables.map(|table| async move { (table, load_one(shelf, table).await) });
    futures::future::join_all(loading).await
}

/// Loads the module of one transform.
///
/// # Errors
/// `Config` when the registry has none that fits, the project does not trust it or grants it too little, `Module` when it
/// cannot be loaded,
/// `Data` when its bytes or its signature are damaged.
pub(super) async fn load_one(shelf: &Shelf<'_>, table: &str) -> Result<Made> {
    let Shelf { plan, sandbox, .. } = *shelf;
    let transform = transform(plan, table)?;
    let source = source_of(plan, transform.source.as_deref())?;
    let (resolved, component, parameters) = fetch(shelf, table).await?;
    let module = compile(sandbox, component, parameters, resolved).await?;
    let makes = &module.description().output.table;
    if makes != table {
        let (module, makes) = (module.reference().to_string(), makes.clone());
        return Err(ModuleError::OtherTable { module, makes }.into());
    }
    Ok(Made {
        table: table.to_owned(),
        module: Granted::new(plan, table, &source, module)?,
        source,
    })
}

/// The module of one transform, of somebody whom the project trusts, with its component and its parameters.
///
/// # Errors
/// `Config` when the registry has none that fits or the project does not trust it, `Data` when its bytes or its signature are
/// damaged.
pub(super) async fn fetch(shelf: &Shelf<'_>, table: &str) -> Result<(ModuleRef, Bytes, Bytes)> {
    let Shelf {
        plan,
        registry,
        trust,
        ..
    } = *shelf;
    let resolved = match registry.resolve(&transform(plan, table)?.module).await {
        Err(RegistryError::UnknownModule { name, .. }) if builtin::has(&name) => {
            return Err(ModuleError::NotInstalled(name).into());
        }
        resolved => resolved?,
    };
    // What is inside the program need not come from afar, nor be vouched for: the promotion names its bytes.
    let inside = registry.is_far().then(|| builtin::find(&resolved));
    if let Some(component) = inside.flatten() {
        return Ok((resolved, Bytes::from_static(component), Bytes::new()));
    }
    let stored = registry.fetch_near(&resolved).await?;
    registry.voucher(&stored, trust).await?;
    Ok((resolved, stored.component, stored.parameters))
}

/// What the project file says of a warehouse table.
fn transform<'p>(plan: &'p Plan, table: &str) -> Result<&'p TransformPlan, ModuleError> {
    let unknown = || ModuleError::NoTransform {
        table: table.to_owned(),
        known: plan.transforms.keys().map(ToString::to_string).collect(),
    };
    plan.transforms.get(table).ok_or_else(unknown)
}

/// Compiles a module off the async threads.
pub(super) async fn compile(
    sandbox: &Arc<Sandbox>,
    component: Bytes,
    parameters: Bytes,
    known: ModuleRef,
) -> Result<Module> {
    let sandbox = sandbox.clone();
    let load = move || sandbox.load_known(&component, &parameters, &known);
    let module = tokio::task::spawn_blocking(load)
        .await
        .map_err(ModuleError::Lost)??;
    Ok(module)
}

/// The source that a transform reads, which may name it.
pub(super) fn source_of(plan: &Plan, named: Option<&str>) -> Result<String, ModuleError> {
    let mut sources = plan.sources.keys();
    match (named, sources.next(), sources.next()) {
        (Some(name), ..) if plan.sources.contains_key(name) => Ok(name.to_owned()),
        (Some(name), ..) => Err(ModuleError::Source(format!("there is no source `{name}`"))),
        (None, Some(only), None) => Ok(only.clone()),
        (None, None, _) => Err(ModuleError::Source("the project has none".into())),
        (None, Some(_), Some(_)) => Err(ModuleError::Source("the project has several".into())),
    }
}
