//! `module inspect`: what a module reads, makes, imports and is made of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::sign::signature_of;
use super::{described, parameters, read, signature};
use crate::authoring::Inspection;
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::{self, Paint};
use crate::contract::{Delivery, Role};
use crate::registry::{DescribedColumn, DescribedInput};

/// Say what a module reads and makes, what it imports, its sizes, digest and signature.
///
/// It describes itself in the sandbox; it is given no row.
///
/// Example: tidemill module inspect dim-staff@1
#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// The file of a component, or a module of the project.
    #[arg(value_name = "FILE|NAME@VERSION")]
    module: String,
    /// The file of the component's parameters; a module of the project has its own.
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
}

impl Inspect {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let file = call.folder().join(&self.module);
        let (component, parameters, signed_by) = match is_file(&file, &self.module) {
            true => {
                let parameters = parameters(call, self.parameters.as_deref())?;
                let beside = signature_of(&file);
                let signed_by = match beside.is_file() {
                    true => vec![signature(&beside)?.key_id().to_owned()],
                    false => Vec::new(),
                };
                (read(&file)?, parameters, signed_by)
            }
            false => {
                let pipeline = call.pipeline().await?;
                let stored = pipeline.module(&self.module).await?;
                let signed_by = pipeline.signers(&stored.module()).await?;
                let (component, parameters) = (stored.component, stored.parameters);
                (component.to_vec(), parameters.to_vec(), signed_by)
            }
        };
        let mut inspection = described(call, component, parameters).await?;
        inspection.signed_by = signed_by;
        Ok(Answer::new(told(&inspection, call.paint()), &inspection))
    }
}

/// Whether a file is meant: there is one, or it is written as nothing but a file can be.
fn is_file(file: &Path, written: &str) -> bool {
    file.is_file() || written.ends_with(".wasm") || written.contains(['/', '\\'])
}

fn told(module: &Inspection, paint: Paint) -> String {
    let mut text = format!(
        "{}\n",
        paint.strong(format!("{}@{}", module.name, module.version))
    );
    let unknown = || "unknown".to_owned();
    let made_of = &module.made_of;
    let facts = [
        ("digest", module.digest.to_string()),
        (
            "signed by",
            match module.signed_by.is_empty() {
                true => "nobody".into(),
                false => format!("key {}", module.signed_by.join(", ")),
            },
        ),
        (
            "size",
            format!(
                "{}, of which functions {} and constants {}",
                text::size(module.bytes),
                text::size(module.code_bytes),
                text::size(module.data_bytes)
            ),
        ),
        ("parameters", text::size(module.parameters_bytes)),
        ("imports", module.imports.join(", ")),
        ("exports", module.exports.join(", ")),
        ("revision", made_of.revision.clone().unwrap_or_else(unknown)),
        ("sdk", made_of.sdk.clone().unwrap_or_else(unknown)),
        ("rustc", made_of.rustc.clone().unwrap_or_else(unknown)),
    ];
    // Writing to a String cannot fail, here and below.
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<10}  {fact}");
    }
    let output = &module.descriptor.output;
    let _ = writeln!(
        text,
        "\nmakes {} ({}), key {}",
        paint.strong(&output.table),
        output.mode,
        key(&output.primary_key)
    );
    columns(&mut text, &output.columns);
    for input in &module.descriptor.inputs {
        let _ = writeln!(
            text,
            "\nreads {} {}, key {}",
            manner(input),
            paint.strong(&input.table),
            key(&input.key)
        );
        columns(&mut text, &input.columns);
    }
    for (name, value) in &module.descriptor.properties {
        let _ = writeln!(text, "\nwith {name} {value}");
    }
    text
}

fn manner(input: &DescribedInput) -> &'static str {
    match (input.role, input.delivery) {
        (Role::Lookup, _) => "as a lookup",
        (Role::Streamed, Delivery::Changes) => "changes of",
        (Role::Streamed, Delivery::Current) => "current",
    }
}

fn key(columns: &[String]) -> String {
    match columns.is_empty() {
        true => "none".into(),
        false => columns.join(", "),
    }
}

fn columns(text: &mut String, columns: &[DescribedColumn]) {
    let widest = columns.iter().map(|column| column.name.chars().count());
    let width = widest.max().unwrap_or(0);
    for column in columns {
        let null = match column.nullable {
            true => "",
            false => "  NOT NULL",
        };
        let _ = writeln!(
            text,
            "  {:<width$}  {}{null}",
            column.name, column.data_type
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::authoring::MadeOf;
    use crate::contract::LoadMode;
    use crate::digest::Digest;
    use crate::registry::{DescribedOutput, Descriptor};

    #[test]
    fn what_is_meant_is_told_by_how_it_is_written() {
        let nowhere = Path::new("/nowhere");
        for file in ["dim.wasm", "./dim-staff@1", "folder/dim"] {
            assert!(is_file(nowhere, file), "{file}");
        }
        for module in ["dim-staff", "dim-staff@1", "dim-staff@1.2.3"] {
            assert!(!is_file(nowhere, module), "{module}");
        }
    }

    #[test]
    fn a_module_is_told_with_every_column_that_it_may_read() {
        let column = |name: &str, nullable| DescribedColumn {
            name: name.into(),
            data_type: "Int32".into(),
            nullable,
        };
        let module = Inspection {
            name: "dim-staff".into(),
            version: "1.2.0".into(),
            digest: Digest::of("dim-staff"),
            signed_by: Vec::new(),
            bytes: 1_310_720,
            code_bytes: 1_000_000,
            data_bytes: 200_000,
            parameters_bytes: 0,
            imports: vec!["tidemill:transform/log@1.0.0".into()],
            exports: vec!["tidemill:transform/transform@1.0.0".into()],
            made_of: MadeOf {
                revision: None,
                sdk: Some("0.1.0".into()),
                rustc: Some("1.95.0".into()),
            },
            descriptor: Descriptor {
                inputs: vec![DescribedInput {
                    table: "department".into(),
                    delivery: Delivery::Current,
                    role: Role::Lookup,
                    key: vec!["department_id".into()],
                    columns: vec![column("department_id", true), column("location", true)],
                }],
                output: DescribedOutput {
                    table: "dim_staff".into(),
                    mode: LoadMode::Overwrite,
                    primary_key: vec!["staff_id".into()],
                    columns: vec![column("staff_id", false)],
                },
                properties: BTreeMap::from([("alias".into(), "staff".into())]),
            },
        };
        let told = told(&module, Paint::new(false));
        assert!(told.contains("\n  signed by   nobody\n"), "{told}");
        assert!(told.contains("\n  revision    unknown\n"), "{told}");
        assert!(
            told.ends_with(
                "\nmakes dim_staff (overwrite), key staff_id\n  staff_id  Int32  NOT NULL\n\n\
                 reads as a lookup department, key department_id\n  department_id  Int32\n  \
                 location       Int32\n\nwith alias staff\n"
            ),
            "{told}"
        );
    }
}
