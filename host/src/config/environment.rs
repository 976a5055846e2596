//! Environment variables as a value, so that settings are a function of what is passed in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::Document;
use super::{Assignment, ConfigError, Place, StorePlan};

/// What a variable begins with that is a setting: `TIDEMILL_WAREHOUSE__URL` is `warehouse.url`.
const PREFIX: &str = "TIDEMILL_";
/// What stands for the dot between the parts of a key.
const NESTING: &str = "__";

/// Environment variables.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    program: Option<PathBuf>,
}

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            program: None,
        }
    }
}

impl Environment {
    /// The variables of this process, which is one of the program. Those that are not Unicode cannot be
    /// settings and are left out.
    pub fn of_process() -> Self {
        let variables: Self = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            program: program(),
            ..variables
        }
    }

    /// The program, where this is one of its processes.
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// These variables, and those of the file where they are not set. A missing file adds nothing.
    pub(super) fn with_dotenv(&self, file: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(self.clone()),
            Err(cause) => {
                return Err(ConfigError::Unreadable {
                    file: file.to_path_buf(),
                    cause: Arc::new(cause),
                });
            }
        };
        let mut merged = self.clone();
        for line in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, value) = line.map_err(|error| ConfigError::Dotenv {
                place: Place::File(file.to_path_buf(), line_of(&error, &text)),
            })?;
            merged.variables.entry(name).or_insert(value);
        }
        Ok(merged)
    }

    /// The settings among the variables.
    ///
    /// A name with `__` must be a setting; one without counts only where it is a key at the top of the
    /// file, because `TIDEMILL_PROJECT` and `TIDEMILL_LOG` are flags and others belong to other programs.
    pub(super) fn assignments(&self, document: &Document) -> Result<Vec<Assignment>, ConfigError> {
        let settings = self.variables.iter().filter_map(|(name, value)| {
            let parts: Vec<_> = name.strip_prefix(PREFIX)?.split(NESTING).collect();
            let path = document.path_of(&parts);
            let known = parts.len() > 1 || path.iter().all(|key| document.is_top_level(key));
            known.then(|| Assignment::new(Place::Variable(name.clone()), path, value.clone()))
        });
        Ok(settings.collect())
    }

    /// The memory of the function of AWS Lambda that this is.
    pub fn function_memory(&self) -> Option<u64> {
        let mib: u64 = self.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?.parse().ok()?;
        mib.checked_mul(1024 * 1024)
    }

    /// The store of objects that the variables speak of, where no project file says more.
    pub fn store(&self) -> StorePlan {
        StorePlan::default().or_variables(self)
    }

    /// The folder for what can be made again: `$XDG_CACHE_HOME/tidemill` or `~/.cache/tidemill`. A function of AWS Lambda
    /// has no home and may write to `/tmp` only, or where `TMPDIR` says.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        let absolute = |name| {
            self.get(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        if self.get("AWS_LAMBDA_RUNTIME_API").is_some() {
            let temporary = absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
            return Some(temporary.join("tidemill"));
        }
        absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .map(|folder| folder.join("tidemill"))
    }
}

/// The file that this process runs. On Linux the link to it, which stays when the file is replaced by a newer
/// one meanwhile.
fn program() -> Option<PathBuf> {
    let link = Path::new("/proc/self/exe");
    match link.exists() {
        true => Some(link.to_path_buf()),
        false => std::env::current_exe().ok(),
    }
}

/// The line that the parser stumbled over. Its text is not shown: it may be a password.
fn line_of(error: &dotenvy::Error, text: &str) -> Option<usize> {
    let dotenvy::Error::LineParse(wrong, _) = error else {
        return None;
    };
    let at = text.lines().position(|line| line.trim() == wrong.trim())?;
    Some(at + 1)
}
