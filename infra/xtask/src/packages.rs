//! The packages that tidemill is built from: under which licences, from where, and which never.
//!
//! cargo-deny knows more and costs minutes of compiling on every fresh machine; these rules take a second. What it has
//! beyond them is the list of known vulnerabilities, which changes without the code: that is for a scheduled job, not
//! for a check that says the same of the same commit for ever.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use spdx::{Expression, ParseMode};

use crate::workspace::{Package, Workspace};

/// Licences that ask for nothing but a notice.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Other licences, each for one package: name, licence, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "libbz2-rs-sys",
        "bzip2-1.0.6",
        "bzip2's own licence, which asks for a notice as BSD does",
    ),
    (
        "option-ext",
        "MPL-2.0",
        "copyleft for its own files only, and they are used as they are",
    ),
    (
        "webpki-root-certs",
        "CDLA-Permissive-2.0",
        "a licence for data: Mozilla's root certificates",
    ),
];

/// Packages that must not come in, by whatever way, and why.
const BANNED: &[(&str, &str)] = &[
    ("native-tls", "TLS is rustls, the same on every machine"),
    ("openssl-sys", "TLS is rustls, the same on every machine"),
    (
        "wasmtime-wasi",
        "a module has no clock, no files and no network",
    ),
];

/// Packages of which two versions would be two kinds of the same thing, or minutes of building.
const SINGLE: &[&str] = &[
    "arrow-array",
    "cranelift-codegen",
    "datafusion",
    "libsqlite3-sys",
    "object_store",
    "parquet",
    "rustls",
    "tokio",
    "tokio-postgres",
    "wasmtime",
];

/// Checks every package.
///
/// # Errors
/// Every package that breaks a rule.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let findings = findings(workspace.packages());
    match findings.is_empty() {
        true => Ok(()),
        false => bail!("{}", findings.join("\n")),
    }
}

fn findings(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let told = |problem: String| format!("{} {}: {problem}", package.name, package.version);
        findings.extend(licence_problem(package).map(told));
        findings.extend(source_problem(package).map(told));
        let ban = BANNED.iter().find(|(name, _)| *name == package.name);
        findings.extend(ban.map(|(_, why)| told(format!("banned: {why}"))));
        versions
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    for name in SINGLE {
        if let Some(several) = versions.get(name).filter(|versions| versions.len() > 1) {
            findings.push(format!(
                "{name} is there as {}: one version only",
                several.join(" and ")
            ));
        }
    }
    findings
}

fn licence_problem(package: &Package) -> Option<String> {
    let Some(licence) = &package.license else {
        return Some("it names no licence".into());
    };
    let is_allowed = |wanted: &str| {
        LICENCES.contains(&wanted)
            || EXCEPTIONS
                .iter()
                .any(|(name, licence, _)| *name == package.name && *licence == wanted)
    };
    let parsed = Expression::parse_mode(licence, ParseMode::LAX)
        .with_context(|| format!("its licence `{licence}` is no SPDX expression"));
    match parsed {
        Ok(expression) if expression.evaluate(|wanted| is_allowed(&wanted.to_string())) => None,
        Ok(_) => Some(format!(
            "its licence `{licence}` is not among those of infra/xtask/src/packages.rs"
        )),
        Err(problem) => Some(problem.to_string()),
    }
}

fn source_problem(package: &Package) -> Option<String> {
    let source = package.source.as_deref()?;
    (!source.starts_with("registry+"))
        .then(|| format!("it comes from {source} and not from a registry, where versions stay"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: &str = "registry+https://example.org/index";

    fn package(name: &str, license: Option<&str>) -> Package {
        Package::new(name, "1.0.0", license, Some(REGISTRY))
    }

    #[test]
    fn a_choice_of_licences_needs_one_that_is_allowed_and_a_sum_all() {
        assert_eq!(
            licence_problem(&package("a", Some("MIT OR GPL-3.0-only"))),
            None
        );
        assert!(licence_problem(&package("a", Some("MIT AND GPL-3.0-only"))).is_some());
        assert_eq!(licence_problem(&package("a", Some("MIT/Apache-2.0"))), None);
    }

    #[test]
    fn an_exception_is_for_its_package_only() {
        assert_eq!(
            licence_problem(&package("option-ext", Some("MPL-2.0"))),
            None
        );
        assert!(licence_problem(&package("other", Some("MPL-2.0"))).is_some());
    }

    #[test]
    fn a_package_without_a_licence_or_with_words_for_one_is_found() {
        assert!(licence_problem(&package("a", None)).is_some());
        assert!(licence_problem(&package("a", Some("ask me"))).is_some());
    }

    #[test]
    fn a_package_from_a_git_repository_is_found() {
        let source = Some("git+https://example.org/a?rev=1#1");
        let findings = findings(&[Package::new("a", "1.0.0", Some("MIT"), source)]);
        assert!(
            findings.concat().contains("not from a registry"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_banned_package_is_found_with_the_reason() {
        let findings = findings(&[package("openssl-sys", Some("MIT"))]);
        assert_eq!(
            findings,
            ["openssl-sys 1.0.0: banned: TLS is rustls, the same on every machine"]
        );
    }

    #[test]
    fn a_second_version_of_what_must_be_one_is_found() {
        let other = Package::new("parquet", "2.0.0", Some("MIT"), Some(REGISTRY));
        let findings = findings(&[package("parquet", Some("MIT")), other]);
        assert_eq!(
            findings,
            ["parquet is there as 1.0.0 and 2.0.0: one version only"]
        );
    }
}
