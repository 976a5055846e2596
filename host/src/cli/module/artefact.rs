//! Where a module is exported to or imported from.

use crate::cli::UsageError;
use crate::cli::invocation::Invocation;
use crate::contract::ModuleRef;
use crate::oci::{Access, Folder, Reference, Repository, Store, Way};

/// A registry or a folder, as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) text: &'p str,
    /// Which artefact of a folder.
    pub(super) tag: Option<&'p str>,
    pub(super) plain_http: bool,
    pub(super) access: Access,
}

impl Place<'_> {
    /// The store that is meant; where a `module` is put there, its tag is the version unless another is named.
    pub(super) async fn open(
        self,
        call: &Invocation,
        module: Option<&ModuleRef>,
    ) -> crate::Result<Box<dyn Store>> {
        if !Reference::is_meant(self.text) {
            let tag = self.tag.map(str::to_owned);
            let own = module.map(|module| format!("{}-{}", module.name, module.version));
            let folder = call.folder().join(self.text);
            if lacks_scheme(self.text) && !folder.exists() {
                // No folder is made of it; it says itself what is wrong.
                self.text.parse::<Reference>()?;
            }
            return Ok(Box::new(Folder::new(folder, tag.or(own))?));
        }
        if self.tag.is_some() {
            return Err(UsageError::Choice {
                what: "--tag is for folders".into(),
                hint: format!("write the tag behind the repository: {}:TAG", self.text),
            }
            .into());
        }
        let reference: Reference = self.text.parse()?;
        let reference = match module {
            Some(module) => reference.or_tag(&module.version),
            None => reference,
        };
        let reference = match self.access {
            Access::Write => reference.to_write()?,
            Access::Read => reference.to_read()?,
        };
        let way = Way {
            plain_http: self.plain_http,
            environment: call.environment(),
        };
        Ok(Box::new(
            Repository::open(reference, self.access, way).await?,
        ))
    }
}

/// Whether a text is a registry and a repository, rather than a folder: `ghcr.io/shop/dim-staff`.
fn lacks_scheme(text: &str) -> bool {
    let first = text.split_once('/').map(|(first, _)| first);
    first.is_some_and(|first| first.contains(['.', ':']) && !first.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_whose_scheme_was_forgotten_is_no_folder() {
        for (text, forgotten) in [
            ("ghcr.io/shop/dim-staff", true),
            ("localhost:5000/dim-staff:1", true),
            ("./ghcr.io/shop", false),
            ("../a.b/c", false),
            ("/a.b/c", false),
            ("carried", false),
            ("carried/here", false),
            ("carried.1", false),
        ] {
            assert_eq!(lacks_scheme(text), forgotten, "{text}");
        }
    }
}
