//! `module build`: a crate as a component.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::authoring::{AuthoringError, Built, Toolchain, build};
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::{self, Paint};

/// Build the component of a module from its crate, with cargo.
///
/// The same source gives the same digest on every machine and in every folder. Needs Rust from
/// rustup and its target wasm32-unknown-unknown.
///
/// Example: tidemill module build guest-transforms/totesys/dim-staff
#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// The folder of the module's crate.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the component goes [default: modules/NAME.wasm in the crate's target folder].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Have rustup add the target wasm32-unknown-unknown where it is missing.
    #[arg(long)]
    add_target: bool,
}

impl Build {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let environment = call.environment();
        let toolchain = Toolchain::new(|name| environment.get(name).map(OsString::from))
            .adding_target(self.add_target)
            .quiet(call.is_quiet());
        // Without the `.` that stands for this folder, which no message needs.
        let folder: PathBuf = call.folder().join(&self.path).components().collect();
        let to = self.to.map(|file| call.folder().join(file));
        let built = tokio::task::spawn_blocking(move || build(&toolchain, &folder, to))
            .await
            .map_err(AuthoringError::Lost)??;
        Ok(Answer::new(told(&built, call.paint()), &built))
    }
}

fn told(built: &Built, paint: Paint) -> String {
    let made_of = &built.made_of;
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
    format!(
        "{}\n  file      {}\n  size      {}\n  digest    {}\n  revision  {}\n  sdk       {}\n  rustc     {}\n",
        paint.strong(format!("{}@{}", built.name, built.version)),
        built.file.display(),
        text::size(built.bytes),
        built.digest,
        known(&made_of.revision),
        known(&made_of.sdk),
        known(&made_of.rustc),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authoring::MadeOf;
    use crate::digest::Digest;

    #[test]
    fn what_was_built_is_told_with_its_digest() {
        let built = Built {
            name: "dim-staff".into(),
            version: "1.2.0".into(),
            digest: Digest::of("dim-staff"),
            file: "target/modules/dim-staff.wasm".into(),
            bytes: 1_310_720,
            made_of: MadeOf {
                revision: Some("sources-sha256:00".into()),
                sdk: None,
                rustc: Some("1.95.0".into()),
            },
        };
        let told = told(&built, Paint::new(false));
        let digest = Digest::of("dim-staff");
        assert_eq!(
            told,
            format!(
                "dim-staff@1.2.0\n  file      target/modules/dim-staff.wasm\n  size      {}\n  \
                 digest    {digest}\n  revision  sources-sha256:00\n  sdk       unknown\n  rustc     1.95.0\n",
                text::size(1_310_720)
            )
        );
    }
}
