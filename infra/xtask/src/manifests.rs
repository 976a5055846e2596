//! The example manifests under `infra/container`, against the schemas of those who read them.
//!
//! The schemas are packages of Python, which AWS and Kubernetes keep up to date for tools of theirs. Types of Rust crates were
//! rejected: those of Kubernetes take minutes to compile, and those of AWS know no documents.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::python;
use crate::workspace::Workspace;

/// The packages with the schemas, and who reads YAML.
const PACKAGES: [&str; 3] = [
    "kubernetes-validate==1.37.0",
    "botocore==1.44.5",
    "PyYAML==6.0.3",
];

/// Checks every manifest.
///
/// # Errors
/// Every key and value that is not as its schema wants it.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let environment = workspace.target().join("tools/manifests");
    let programs = python::environment(&environment, &[], &PACKAGES)?;
    let validate = workspace.root().join("infra/container/validate.py");
    let output = Command::new(programs.join("python"))
        .arg(&validate)
        .output()
        .with_context(|| format!("cannot run {}", validate.display()))?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
