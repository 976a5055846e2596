//! `Cargo.toml` of a new module, and where it finds the SDK.

use std::path::{Path, PathBuf};

use super::Scaffold;

/// Where the SDK lies in its repository.
const IN_REPOSITORY: &str = "guest-transforms/sdk";

/// Where the SDK is. It is published nowhere, so it is a folder or a repository of git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sdk {
    /// Its folder.
    Folder(PathBuf),
    /// A repository, and the revision to take of it.
    Git {
        /// Its URL.
        url: String,
        /// A commit or a tag; the default branch where there is none.
        rev: Option<String>,
    },
}

impl Sdk {
    /// The SDK that is meant by `PATH`, `URL` or `URL#REV`.
    pub fn parse(written: &str, folder: &Path) -> Self {
        let is_url = written.contains("://") || written.starts_with("git@");
        if !is_url {
            return Self::Folder(folder.join(written).components().collect());
        }
        match written.split_once('#') {
            Some((url, rev)) => Self::Git {
                url: url.to_owned(),
                rev: Some(rev.to_owned()),
            },
            None => Self::Git {
                url: written.to_owned(),
                rev: None,
            },
        }
    }

    /// The SDK of the repository that `folder` is in, else of the one that this program was built in, if that is still
    /// there.
    pub fn find(folder: &Path) -> Option<Self> {
        // What is deployed is to be the same wherever it was built, and knows no such folder.
        let built_in = option_env!("TIDEMILL_BUNDLE").is_none();
        let built_in = built_in.then_some(env!("CARGO_MANIFEST_DIR"));
        let built_in = built_in.and_then(|host| Path::new(host).parent());
        let found = folder
            .ancestors()
            .chain(built_in)
            .map(|above| above.join(IN_REPOSITORY))
            .find(|sdk| sdk.join("Cargo.toml").is_file())?;
        Some(Self::Folder(found))
    }

    /// Whether there is one, as far as can be seen.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.join("Cargo.toml").is_file(),
            Self::Git { .. } => true,
        }
    }

    /// How it stands in a manifest.
    fn dependency(&self) -> String {
        match self {
            Self::Folder(folder) => format!("path = {}", quoted(&folder.to_string_lossy())),
            Self::Git { url, rev: None } => format!("git = {}", quoted(url)),
            Self::Git {
                url,
                rev: Some(rev),
            } => format!("git = {}, rev = {}", quoted(url), quoted(rev)),
        }
    }

    pub(super) fn told(&self) -> String {
        match self {
            Self::Folder(_) => {
                "`Cargo.toml` names the folder of a checkout of tidemill, which others have elsewhere; `git = …` works \
                 everywhere"
                    .into()
            }
            Self::Git { url, .. } => format!("`Cargo.toml` takes it from {url}"),
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What the workspace around a folder has for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// Whether the folder is one of its members.
    is_member: bool,
    /// Whether it says where the SDK is.
    knows_sdk: bool,
}

/// Looks for the workspace that a crate in `folder` would belong to.
pub(super) fn is_member(folder: &Path) -> Member {
    for root in folder.ancestors().skip(1) {
        let Ok(text) = std::fs::read_to_string(root.join("Cargo.toml")) else {
            continue;
        };
        let Ok(manifest) = text.parse::<toml::Table>() else {
            continue;
        };
        let Some(workspace) = manifest.get("workspace").and_then(toml::Value::as_table) else {
            continue;
        };
        let members = workspace.get("members").and_then(toml::Value::as_array);
        let patterns = members
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str);
        let inside = folder.strip_prefix(root).unwrap_or(folder);
        let dependencies = workspace
            .get("dependencies")
            .and_then(toml::Value::as_table);
        return Member {
            is_member: patterns.into_iter().any(|pattern| fits(pattern, inside)),
            knows_sdk: dependencies.is_some_and(|known| known.contains_key("tidemill-sdk")),
        };
    }
    Member::default()
}

/// Whether a folder is what a member of a workspace is called; `*` stands for one folder.
fn fits(pattern: &str, inside: &Path) -> bool {
    let wanted: Vec<&str> = pattern
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let parts: Vec<_> = inside
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    wanted.len() == parts.len()
        && wanted
            .iter()
            .zip(&parts)
            .all(|(wanted, part)| *wanted == "*" || wanted == part)
}

/// The manifest.
pub(super) fn manifest(scaffold: &Scaffold, member: &Member) -> String {
    let (name, to) = (&scaffold.name, &scaffold.to);
    let from: Vec<&str> = scaffold
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    let description = quoted(&format!("Makes {to} from {}.", from.join(", ")));
    let sdk = match member.is_member && member.knows_sdk {
        true => "workspace = true".to_owned(),
        false => scaffold.sdk.dependency(),
    };
    // Without this, cargo would take it for a part of a workspace above that does not name it.
    let alone = if member.is_member {
        ""
    } else {
        "\n[workspace]\n"
    };
    format!(
        "[package]\nname = \"{name}\"\ndescription = {description}\nversion = \"1.0.0\"\nedition = \"2024\"\n\
         publish = false\n\n\
         [lib]\n# A component for the sandbox, and a plain library for its tests.\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\ntidemill-sdk = {{ {sdk} }}\n\n\
         [dev-dependencies]\ntidemill-sdk = {{ {sdk}, features = [\"testing\"] }}\n{alone}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_from_a_crate_that_only_lies_there() {
        let root = tempfile::tempdir().expect("a folder");
        let manifest = "[workspace]\nmembers = [\"book\", \"tables/*\"]\n[workspace.dependencies]\ntidemill-sdk = \"1\"\n";
        std::fs::write(root.path().join("Cargo.toml"), manifest).expect("a file");
        let is = |inside: &str| is_member(&root.path().join(inside)).is_member;
        assert!(is("book") && is("tables/dim-a"));
        assert!(!is("tables") && !is("tables/dim-a/deeper") && !is("books"));
        assert!(is_member(&root.path().join("book")).knows_sdk);
    }

    #[test]
    fn an_sdk_is_a_folder_or_a_repository() {
        let parse = |written| Sdk::parse(written, Path::new("/project")).dependency();
        assert_eq!(parse("./sdk"), "path = \"/project/sdk\"");
        assert_eq!(parse("/a b/sdk"), "path = \"/a b/sdk\"");
        assert_eq!(
            parse("https://example.org/t.git"),
            "git = \"https://example.org/t.git\""
        );
        assert_eq!(
            parse("ssh://git@example.org/t.git#v1.0.0"),
            "git = \"ssh://git@example.org/t.git\", rev = \"v1.0.0\""
        );
        assert!(Sdk::find(Path::new(env!("CARGO_MANIFEST_DIR"))).is_some_and(|sdk| sdk.is_there()));
    }
}
