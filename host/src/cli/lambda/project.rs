//! The project file of a function: in its bundle, or an object of a store.

use std::path::{Path, PathBuf};

use crate::cli::UsageError;
use crate::cli::invocation::Invocation;
use crate::config::{self, Plan};
use crate::digest::Digest;
use crate::zone::Opener;

/// The variable by which Lambda says where the bundle is.
const BUNDLE: &str = "LAMBDA_TASK_ROOT";
const STORE: &str = "s3://";

/// The project, checked.
///
/// # Errors
/// `Config` with file and line, `Data` when the object is not there, `Unavailable` when the store does not answer.
pub(super) async fn plan(call: &Invocation) -> crate::Result<Plan> {
    let bundle = call.environment().get(BUNDLE).map(PathBuf::from);
    let bundle = bundle.unwrap_or_else(|| call.folder().to_path_buf());
    let named = call.project_named();
    if let Some(url) = named
        .and_then(Path::to_str)
        .filter(|url| url.starts_with(STORE))
    {
        return of_store(call, url, &bundle).await;
    }
    let file = match named {
        None if bundle.join(config::FILE).is_file() => bundle.join(config::FILE),
        _ => call.project_file()?,
    };
    let plan = config::load(&file, call.environment(), &call.assignments()?)?;
    tracing::info!(file = %file.display(), "project file is the bundle's");
    Ok(plan)
}

/// The project of an object, whose relative paths are below the bundle.
async fn of_store(call: &Invocation, url: &str, bundle: &Path) -> crate::Result<Plan> {
    let (folder, name) = url.rsplit_once('/').unwrap_or((url, ""));
    if folder.len() <= STORE.len() || name.is_empty() {
        return Err(UsageError::Choice {
            what: format!("`{url}` names no object"),
            hint: "write it as s3://bucket/prefix/tidemill.toml".into(),
        }
        .into());
    }
    let zone = Opener::new(bundle, &call.environment().store()).open(folder)?;
    let bytes = zone.read(name).await?;
    let digest = Digest::of(&bytes);
    let text = String::from_utf8_lossy(&bytes);
    let assignments = call.assignments()?;
    let plan = config::parse(
        &text,
        Path::new(url),
        bundle,
        call.environment(),
        &assignments,
    )?;
    tracing::info!(file = url, sha256 = %digest, "project file is an object");
    Ok(plan)
}
