//! The examination of a module: its cases natively and in the sandbox, what every module must hold to, and its cost.
//!
//! A case holds when the sandbox gives exactly what it expects, the native run gives what the sandbox gave, and the fuel
//! has not grown. What every module must hold to (`properties`) is tried on the cases and on generated extremes.

mod draft;
mod extremes;
mod properties;
mod shrink;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::AuthoringError;
use super::native::Native;
use crate::cases::{self, Case, Ran, compare, compare_native};
use crate::contract::ModuleRef;
use crate::error::{Classify, ErrorKind};
use crate::sandbox::{Compiler, Limits, Module, Sandbox};

pub use properties::{Broken, Properties};

/// By how much the fuel of a case may grow where neither the call nor the case says otherwise. A change of the compiler
/// alone moves it by one or two percent.
pub const FUEL_TOLERANCE_PERCENT: u32 = 5;

/// A module on its way through an examination.
#[derive(Debug)]
pub struct Examination {
    component: Vec<u8>,
    cache: PathBuf,
    compiler: Compiler,
    /// Modules by the parameters and the limits that cases have.
    loaded: Vec<(Vec<u8>, Limits, Module)>,
}

/// How a case is examined.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'n> {
    /// What the crate's own tests gave, where there is a crate.
    pub native: Option<&'n Native>,
    /// Whether what the case expects is written anew.
    pub update: bool,
    /// By how many percent the fuel may grow, where the case does not say it.
    pub fuel_tolerance_percent: u32,
}

/// What was found of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examined {
    /// Its file.
    pub file: PathBuf,
    /// What it is about.
    pub title: String,
    /// Rows and deleted keys that it gives.
    pub rows_in: u64,
    /// Whether everything is as it must be.
    pub holds: bool,
    /// How what came in the sandbox differs from what is expected, a line each.
    pub difference: Vec<String>,
    /// How what came natively differs from what came in the sandbox; `None` when it was not run natively.
    pub native: Option<Vec<String>>,
    /// The fuel of the session.
    pub fuel: Option<u64>,
    /// The fuel that the case has.
    pub fuel_before: Option<u64>,
    /// What is wrong with the fuel.
    pub fuel_fault: Option<String>,
    /// Whether the case was written anew.
    pub updated: bool,
}

/// Why a module cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// A file is no case of the module.
    #[error("{} is no case of {module}: {reason}", file.display())]
    NoCase {
        /// The file.
        file: PathBuf,
        /// The module.
        module: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to run.
    #[error("there is no case in {}", .0.display())]
    NoCases(PathBuf),
    /// The folder of cases is there and cannot be read.
    #[error("cannot read {}", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// A case of that name is there.
    #[error("{} is there already", .0.display())]
    Taken(PathBuf),
}

impl Classify for ExamineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoCase { .. } => "mend the file, or write what it expects anew with --update; `cargo doc -p tidemill-case \
                                    --open` says what stands in one"
                .into(),
            Self::NoCases(_) => {
                "write one, or cut one out of landed data with `tidemill module test --from-run RUN --rows 10`".into()
            }
            Self::Unreadable { .. } => "let the user that runs tidemill read the folder and its files".into(),
            Self::Taken(_) => "rename the file that you add".into(),
        })
    }
}

impl Examination {
    /// Begins the examination of a component, which `compiler` compiles; compiled code is kept in `cache`.
    pub fn new(component: Vec<u8>, cache: PathBuf, compiler: Compiler) -> Self {
        Self {
            component,
            cache,
            compiler,
            loaded: Vec::new(),
        }
    }

    /// The module with some parameters.
    ///
    /// # Errors
    /// `Module` when it is refused or cannot describe itself.
    pub fn module(&mut self, parameters: &[u8]) -> crate::Result<Module> {
        self.module_within(parameters, &Limits::default())
    }

    fn module_within(&mut self, parameters: &[u8], limits: &Limits) -> crate::Result<Module> {
        let known = self
            .loaded
            .iter()
            .find(|(p, l, _)| p == parameters && l == limits);
        if let Some((_, _, module)) = known {
            return Ok(module.clone());
        }
        let sandbox = Sandbox::new(limits.clone(), &self.cache)?.compiled_by(self.compiler.clone());
        let module = sandbox.load(&self.component, parameters)?;
        self.loaded
            .push((parameters.to_vec(), limits.clone(), module.clone()));
        Ok(module)
    }

    /// Reads a case, and the module as the case wants it.
    ///
    /// # Errors
    /// `Config` when the file is no case of the module; as [`module`](Self::module).
    pub fn read(&mut self, file: &Path) -> crate::Result<(Case, Module)> {
        let (case, module, _) = self.read_for(file, false)?;
        Ok((case, module))
    }

    /// As [`read`](Self::read). To be written anew, a case may expect what this version of the module does not make:
    /// then it expects nothing, and why is said.
    fn read_for(
        &mut self,
        file: &Path,
        update: bool,
    ) -> crate::Result<(Case, Module, Option<String>)> {
        let text = std::fs::read_to_string(file).map_err(|cause| AuthoringError::Read {
            file: file.to_owned(),
            cause,
        })?;
        let refused = |error: cases::CaseError, module: &str| ExamineError::NoCase {
            file: file.to_owned(),
            module: module.to_owned(),
            reason: error.message,
        };
        let parameters = Case::parameters(file, &text).map_err(|e| refused(e, "any module"))?;
        let module = self.module(&parameters)?;
        let shape = cases::shape(module.description());
        let (case, other) = match Case::parse(file, &text, &shape) {
            Ok(case) => (case, None),
            Err(error) => match Case::parse_given(file, &text, &shape) {
                Ok(case) if update => (case, Some(error.message)),
                _ => return Err(refused(error, &module.reference().name).into()),
            },
        };
        let module = match &case.origin {
            Some(origin) => {
                let limits = cases::limits_of(origin).map_err(|error| ExamineError::NoCase {
                    file: file.to_owned(),
                    module: module.reference().name.clone(),
                    reason: format!("its limits are none: {error}"),
                })?;
                self.module_within(&parameters, &limits)?
            }
            None => module,
        };
        Ok((case, module, other))
    }

    /// Runs a case and says what is not as it must be.
    ///
    /// # Errors
    /// As [`read`](Self::read); `Unavailable` when the case is to be written anew and cannot be.
    pub fn examine(&mut self, file: &Path, manner: &Manner<'_>) -> crate::Result<Examined> {
        let (mut case, module, other) = self.read_for(file, manner.update)?;
        let ran = cases::run_as_usual(&module, &case)?;
        let native = manner.native.and_then(|native| {
            let outcome = native.outcome(file, &cases::shape(module.description()))?;
            Some(lines(compare_native(&outcome, &ran.outcome)))
        });
        let mut examined = Examined {
            file: file.to_owned(),
            title: case.title.clone(),
            rows_in: case.rows_in(),
            holds: true,
            difference: match other {
                Some(other) => vec![format!("it expected what is not made any more: {other}")],
                None => lines(compare(&case.expected, &ran.outcome)),
            },
            native,
            fuel: ran.fuel,
            fuel_before: case.fuel,
            fuel_fault: fuel_fault(&case, &ran, manner.fuel_tolerance_percent),
            updated: false,
        };
        // By the difference: a NaN equals nothing, itself neither.
        if manner.update && (!examined.difference.is_empty() || case.fuel != ran.fuel) {
            (case.expected, case.fuel) = (ran.outcome, ran.fuel);
            overwrite(file, &case)?;
            examined.updated = true;
        }
        let as_expected = examined.difference.is_empty() && examined.fuel_fault.is_none();
        let alike = examined.native.as_ref().is_none_or(Vec::is_empty);
        examined.holds = alike && (as_expected || manner.update);
        Ok(examined)
    }

    /// Tries what every module must hold to, on cases and on generated extremes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn properties(&mut self, files: &[PathBuf], seed: u64) -> crate::Result<Properties> {
        let mut given = Vec::new();
        for file in files {
            given.push((file.clone(), self.read(file)?));
        }
        let module = match given.first() {
            // Generated rows go through the module as its first case has it, for it may need parameters.
            Some((_, (_, module))) => module.clone(),
            None => self.module(&[])?,
        };
        Ok(properties::hold(&module, given, seed)?)
    }

    /// Name, version and digest, without parameters or with those of the first case.
    ///
    /// # Errors
    /// As [`module`](Self::module).
    pub fn reference(&mut self) -> crate::Result<ModuleRef> {
        match self.loaded.first() {
            Some((_, _, module)) => Ok(module.reference().clone()),
            None => Ok(self.module(&[])?.reference().clone()),
        }
    }
}

/// The cases in the folder `cases` of a crate, by name.
///
/// # Errors
/// `Config` when there is none, `Unavailable` when the folder cannot be read.
pub fn cases_in(folder: &Path) -> Result<Vec<PathBuf>, ExamineError> {
    let folder = folder.join("cases");
    match tidemill_case::files(&folder) {
        Ok(files) if files.is_empty() => Err(ExamineError::NoCases(folder)),
        Ok(files) => Ok(files),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(ExamineError::NoCases(folder)),
        Err(cause) => Err(ExamineError::Unreadable { folder, cause }),
    }
}

/// Adds a case to the crate in `folder` under a name that none has; gives its file.
///
/// # Errors
/// `Config` when there is one of that name, `Unavailable` when it cannot be written.
pub fn add_case(folder: &Path, name: &str, case: &Case) -> crate::Result<PathBuf> {
    let cases = folder.join("cases");
    let file = cases.join(name);
    let written = std::fs::create_dir_all(&cases).and_then(|()| {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).open(&file)?;
        std::io::Write::write_all(&mut file, case.to_json().as_bytes())
    });
    match written {
        Ok(()) => Ok(file),
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(ExamineError::Taken(file).into())
        }
        Err(cause) => Err(AuthoringError::Write { file, cause }.into()),
    }
}

fn overwrite(file: &Path, case: &Case) -> Result<(), AuthoringError> {
    std::fs::write(file, case.to_json()).map_err(|cause| AuthoringError::Write {
        file: file.to_owned(),
        cause,
    })
}

fn lines(compared: Result<(), cases::Difference>) -> Vec<String> {
    compared
        .err()
        .map(|difference| difference.lines)
        .unwrap_or_default()
}

/// What is wrong with the fuel of a case: nothing where it has none to compare with, and nothing where it fell.
fn fuel_fault(case: &Case, ran: &Ran, percent: u32) -> Option<String> {
    let (before, now) = (case.fuel?, ran.fuel?);
    let percent = case.fuel_tolerance_percent.unwrap_or(percent);
    let allowed = u128::from(before) * u128::from(100 + percent) / 100;
    if u128::from(now) <= allowed {
        return None;
    }
    let grown = (now - before) as f64 * 100.0 / before.max(1) as f64;
    let rows = case.rows_in().max(1);
    Some(format!(
        "fuel: {now}, which is {} per row, {grown:.1} % more than the {before} that the case has; {percent} % may be more",
        now / rows
    ))
}
