//! The project file of a call: a file, or an object of a store, for who has nothing but a store.

use std::path::Path;

use super::UsageError;
use super::invocation::Invocation;
use crate::config::{self, Plan};
use crate::digest::Digest;
use crate::zone::Opener;

const STORE: &str = "s3://";

/// The project, checked. Relative paths of one that is an object are below `base`.
///
/// # Errors
/// `Config` with file and line, `Data` when the object is not there, `Unavailable` when the store does not answer.
pub(super) async fn plan(call: &Invocation, base: &Path) -> crate::Result<Plan> {
    let named = call.project_named().and_then(Path::to_str);
    match named.filter(|url| url.starts_with(STORE)) {
        Some(url) => of_store(call, url, base).await,
        None => {
            let file = call.project_file()?;
            let plan = config::load(&file, call.environment(), &call.assignments()?)?;
            Ok(plan)
        }
    }
}

/// The project of an object, whose relative paths are below `base`.
async fn of_store(call: &Invocation, url: &str, base: &Path) -> crate::Result<Plan> {
    let (folder, name) = url.rsplit_once('/').unwrap_or((url, ""));
    if folder.len() <= STORE.len() || name.is_empty() {
        return Err(UsageError::Choice {
            what: format!("`{url}` names no object"),
            hint: "write it as s3://bucket/prefix/tidemill.toml".into(),
        }
        .into());
    }
    let zone = Opener::new(base, &call.environment().store()).open(folder)?;
    let bytes = zone.read(name).await?;
    let digest = Digest::of(&bytes);
    let text = String::from_utf8_lossy(&bytes);
    let assignments = call.assignments()?;
    let plan = config::parse(
        &text,
        Path::new(url),
        base,
        call.environment(),
        &assignments,
    )?;
    tracing::info!(file = url, sha256 = %digest, "project file is an object");
    Ok(plan)
}
