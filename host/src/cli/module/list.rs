//! `module list`: what is in the registry.

use clap::Args;

use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;
use crate::cli::text::{self, Columns, Paint};
use crate::pipeline::report::ModuleListing;

/// List the modules of the project, their versions and digests, and which are active since when.
///
/// Says who promoted a version, and who vouches for it: a key that signed it, or tidemill itself.
///
/// Example: tidemill module list
#[derive(Debug, Args)]
pub(in crate::cli) struct List {}

impl List {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let modules = call.pipeline().await?.modules().await?;
        Ok(Answer::new(told(&modules, call.paint()), &modules))
    }
}

fn told(modules: &[ModuleListing], paint: Paint) -> String {
    if modules.is_empty() {
        return "no modules yet: `tidemill init --example totesys` brings eleven\n".into();
    }
    let mut columns = Columns::new(&[
        "module",
        "version",
        "digest",
        ">size",
        "active",
        "promoted",
        "by",
        "vouched for by",
    ]);
    for listing in modules {
        columns.row([
            listing.module.name.clone(),
            listing.module.version.clone(),
            listing.module.digest.short(),
            text::size(listing.bytes),
            match listing.active {
                true => "yes".into(),
                false => "no".into(),
            },
            listing.promoted.map_or("never".into(), text::time),
            listing.by.clone().unwrap_or_default(),
            listing
                .vouched_by
                .as_ref()
                .map_or_else(|| "nobody trusted".into(), ToString::to_string),
        ]);
    }
    columns.render(paint)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::contract::ModuleRef;
    use crate::digest::Digest;
    use crate::registry::Voucher;

    #[test]
    fn modules_stand_below_each_other() {
        let listing = |version: &str, promoted| ModuleListing {
            module: ModuleRef {
                name: "dim-staff".into(),
                version: version.into(),
                digest: Digest::of(version),
            },
            active: promoted,
            promoted: promoted.then_some(DateTime::UNIX_EPOCH),
            by: promoted.then(|| "ada".into()),
            why: promoted.then(|| "it is time".into()),
            vouched_by: promoted.then_some(Voucher::Program),
            bytes: 1_310_720,
        };
        let modules = [listing("1.0.0", true), listing("1.1.0", false)];
        insta::assert_snapshot!(told(&modules, Paint::new(false)));
    }
}
