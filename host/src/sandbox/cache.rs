//! Compiled code on disk, so that a start takes milliseconds instead of compiling every module again.
//!
//! Loading compiled code is trusting it like the host itself, so the folder belongs to this user alone,
//! and an entry is used only when its digest, its component and its engine are the expected ones. What
//! fails a check is compiled again and replaced. The digest finds damage, not an attacker who runs as
//! this user: a key beside the entries would be as readable to him as the entries are.
//!
//! A second folder may come with the program, filled by the same program where it was bundled: a function of AWS Lambda
//! starts with it. It is read and never written to, and its entries pass the same checks. Nobody but this user or the
//! system's may have been able to write to it.
//!
//! An entry is read into memory and checked before the engine sees it. Mapping the file instead was
//! rejected: the pages could differ from those that were checked.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::compile::CompileError;
use super::error::{Refusal, SandboxError};
use super::{engine, reason};
use crate::digest::Digest;

/// The first bytes of an entry: what it is and in which layout.
const MAGIC: &[u8; 16] = b"tidemill-cwasm-1";
/// Magic, engine fingerprint, component digest, digest of the code. The last is BLAKE3: it is read at
/// every start, and SHA-256 takes five times as long where the processor has no instructions for it.
const HEADER_BYTES: usize = 16 + 3 * 32;

/// What the name of an entry that is being written begins with.
const DRAFT: &str = ".new-";

/// An entry that has been written for longer is not being written any more.
const DRAFT_AGE: Duration = Duration::from_secs(86_400);

/// How often compiled code was found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Loaded from what came with the program.
    pub bundled: u64,
    /// Loaded from an entry that passed every check.
    pub loaded: u64,
    /// Compiled because there was no entry.
    pub compiled: u64,
    /// Compiled because the entry failed a check.
    pub replaced: u64,
}

/// A folder of compiled components for one engine.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// A folder of entries that came with the program, which is read only.
    bundle: Option<PathBuf>,
    /// How large the folder may become.
    most_bytes: u64,
    fingerprint: Digest,
    bundled: AtomicU64,
    loaded: AtomicU64,
    compiled: AtomicU64,
    replaced: AtomicU64,
}

impl Cache {
    /// Opens the folder and makes it when it is not there.
    ///
    /// # Errors
    /// `Config` when the folder belongs to somebody else or others may write to it.
    pub(super) fn open(folder: &Path, engine: &Engine) -> Result<Self, SandboxError> {
        private_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            bundle: None,
            most_bytes: u64::MAX,
            fingerprint: engine::fingerprint(engine),
            bundled: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
            compiled: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
        })
    }

    /// The same cache, beside what came with the program in this folder. One that anybody else could have written to is
    /// left alone, with a warning: the modules are compiled then.
    pub(super) fn bundled(mut self, folder: &Path) -> Self {
        match bundle_reason(folder) {
            Ok(None) => self.bundle = Some(folder.to_owned()),
            Ok(Some(reason)) => {
                tracing::warn!(folder = %folder.display(), reason, "bundled code is not used");
            }
            // It is not there, as with most projects.
            Err(_) => {}
        }
        self
    }

    /// The same cache, whose folder does not grow beyond this size: the oldest entries go.
    pub(super) fn of_at_most(self, most_bytes: u64) -> Self {
        Self { most_bytes, ..self }
    }

    /// Compiled code of the bundle, if it has that of this component for this engine.
    fn of_bundle(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let folder = self.bundle.as_ref()?;
        let component = digest.short();
        let loaded = match fs::read(folder.join(self.name(digest))) {
            Ok(entry) => self.load(engine, &entry, digest),
            Err(_) => None,
        };
        match &loaded {
            Some(_) => tracing::debug!(%component, "compiled code is the bundle's"),
            None => {
                tracing::info!(%component, "the bundle has no compiled code of it for this engine and processor");
            }
        }
        loaded
    }

    pub(super) fn counts(&self) -> CacheCounts {
        CacheCounts {
            bundled: self.bundled.load(Ordering::Relaxed),
            loaded: self.loaded.load(Ordering::Relaxed),
            compiled: self.compiled.load(Ordering::Relaxed),
            replaced: self.replaced.load(Ordering::Relaxed),
        }
    }

    /// The compiled form of the component whose digest is `digest`; `compile` makes it where it is not there.
    ///
    /// # Errors
    /// Those of `compile`. A cache that cannot be written costs time, not the run.
    pub(super) fn component(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> Result<Vec<u8>, CompileError>,
    ) -> Result<Component, CompileError> {
        if let Some(loaded) = self.of_bundle(engine, digest) {
            self.bundled.fetch_add(1, Ordering::Relaxed);
            return Ok(loaded);
        }
        let path = self.folder.join(self.name(digest));
        let counter = match fs::read(&path) {
            Ok(entry) => match self.load(engine, &entry, digest) {
                Some(loaded) => {
                    self.loaded.fetch_add(1, Ordering::Relaxed);
                    return Ok(loaded);
                }
                None => &self.replaced,
            },
            Err(_) => &self.compiled,
        };
        let code = compile()?;
        let compiled = trust(engine, &code)
            .map_err(|e| CompileError::Refused(Refusal::Invalid(reason(&e))))?;
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.store(&path, &code, digest) {
            tracing::warn!(%error, "compiled module is not kept");
        }
        Ok(compiled)
    }

    /// Whether there is an entry for the component whose digest is `digest`.
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.folder.join(self.name(digest)).exists()
    }

    /// Keeps compiled code without loading it: it may be for machines of another kind.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, digest: Digest, code: &[u8]) -> io::Result<()> {
        self.store(&self.folder.join(self.name(digest)), code, digest)
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{}.cwasm", self.fingerprint.short())
    }

    fn header(&self, digest: Digest, code: &[u8]) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(self.fingerprint.as_bytes());
        header.extend_from_slice(digest.as_bytes());
        header.extend_from_slice(blake3::hash(code).as_bytes());
        header
    }

    fn load(&self, engine: &Engine, entry: &[u8], digest: Digest) -> Option<Component> {
        let (header, code) = entry.split_at_checked(HEADER_BYTES)?;
        if header != self.header(digest, code) {
            return None;
        }
        trust(engine, code).ok()
    }

    /// Writes beside and renames, so that a reader sees a whole entry or none, and of two hosts that
    /// compile the same component the later one replaces equal bytes.
    fn store(&self, path: &Path, code: &[u8], digest: Digest) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(DRAFT)
            .tempfile_in(&self.folder)?;
        file.write_all(&self.header(digest, code))?;
        file.write_all(code)?;
        let file = file.persist(path)?;
        sweep_drafts(&self.folder, file.metadata()?.modified()?)?;
        match self.most_bytes {
            u64::MAX => Ok(()),
            most_bytes => trim(&self.folder, most_bytes, path),
        }
    }
}

/// Makes compiled code ready to run.
#[allow(unsafe_code)]
fn trust(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` must only see what `precompile_component` of a compatible engine gave; it checks
    // version and settings itself. `code` is one of three things. Fresh from `Compiler::compile`: made in this
    // process, or by a process of this very program that nobody but we talked to. Or an entry of the cache:
    // it lies in a folder that only this user can write (`private_folder`), it was written by `store` from
    // the same, every byte of it is covered by the digest in the header, and the header names this engine's
    // fingerprint and this component. Or an entry of the bundle, with the same header, in a folder that only this user
    // or the system's can write (`bundle_reason`): whoever can change that can change the program beside it. `code` is our own copy in memory, so it cannot change after the check.
    unsafe { Component::deserialize(engine, code) }
}

/// Removes entries that were never finished, a day and more before `now`: of a program that was killed. To write one
/// takes less than a second.
fn sweep_drafts(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_draft = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(DRAFT));
        // Another program may have removed or finished it meanwhile.
        let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified()) else {
            continue;
        };
        if is_draft && now.duration_since(written).is_ok_and(|age| age > DRAFT_AGE) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Removes the oldest entries of a folder that holds more than `most_bytes`, but not the one at `kept`.
fn trim(folder: &Path, most_bytes: u64, kept: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Another program may have removed it meanwhile.
        if let Ok(metadata) = entry.metadata() {
            entries.push((metadata.modified()?, metadata.len(), entry.path()));
        }
    }
    entries.sort();
    let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, size, path) in entries {
        if bytes <= most_bytes {
            break;
        }
        if path != kept {
            fs::remove_file(&path)?;
            bytes -= size;
        }
    }
    Ok(())
}

/// Makes the folder for this user alone, or checks that it is.
fn private_folder(folder: &Path) -> Result<(), SandboxError> {
    let refuse = |reason: &str, cause: Option<io::Error>| SandboxError::Cache {
        path: folder.display().to_string(),
        reason: reason.to_owned(),
        cause,
    };
    create_private(folder).map_err(|e| refuse("it cannot be made", Some(e)))?;
    let found = fs::symlink_metadata(folder).map_err(|e| refuse("it cannot be read", Some(e)))?;
    if !found.is_dir() {
        return Err(refuse("it is not a folder", None));
    }
    // The owner of a new file is this user: there is no other way to ask without unsafe code.
    let probe = tempfile::tempfile_in(folder)
        .and_then(|file| file.metadata())
        .map_err(|e| refuse("it cannot be written", Some(e)))?;
    others_reason(&found, &probe).map_or(Ok(()), |reason| Err(refuse(reason, None)))
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Why the folder of a bundle is not to be trusted.
fn bundle_reason(folder: &Path) -> io::Result<Option<&'static str>> {
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Ok(Some("it is not a folder"));
    }
    let ours = tempfile::tempfile().and_then(|file| file.metadata())?;
    Ok(match is_of_system(&found) {
        true => others_reason(&found, &found),
        false => others_reason(&found, &ours),
    })
}

/// Whether a folder belongs to the user that everything of the system belongs to.
#[cfg(unix)]
fn is_of_system(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.uid() == 0
}

#[cfg(not(unix))]
fn is_of_system(_: &fs::Metadata) -> bool {
    true
}

/// Why others could have put code into the folder.
#[cfg(unix)]
fn others_reason(folder: &fs::Metadata, ours: &fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    if folder.uid() != ours.uid() {
        Some("it belongs to another user")
    } else if folder.mode() & 0o022 != 0 {
        Some("others may write to it")
    } else {
        None
    }
}

#[cfg(not(unix))]
fn others_reason(_: &fs::Metadata, _: &fs::Metadata) -> Option<&'static str> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(folder: &Path) -> u32 {
        fs::metadata(folder)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    }

    #[test]
    fn what_a_killed_program_did_not_finish_is_removed_after_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::UNIX_EPOCH + 400 * DRAFT_AGE;
        let write = |name: &str, age: Duration| {
            let path = folder.path().join(name);
            let file = fs::File::create(&path).expect("a file");
            file.set_modified(now - age).expect("it is ours");
            path
        };
        let old = write(".new-a", 2 * DRAFT_AGE);
        let young = write(".new-b", DRAFT_AGE / 2);
        let entry = write("c.cwasm", 300 * DRAFT_AGE);
        sweep_drafts(folder.path(), now).expect("the folder is there");
        assert!(!old.exists());
        assert!(young.exists() && entry.exists());
    }

    #[test]
    fn a_folder_that_is_too_large_loses_its_oldest_entries() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::UNIX_EPOCH + 400 * DRAFT_AGE;
        let write = |name: &str, age: u32| {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).expect("a file");
            let file = fs::File::options()
                .append(true)
                .open(&path)
                .expect("a file");
            file.set_modified(now - age * DRAFT_AGE)
                .expect("it is ours");
            path
        };
        let (newest, middle, oldest) = (write("a", 1), write("b", 2), write("c", 3));
        trim(folder.path(), 300, &newest).expect("the folder is there");
        assert!(newest.exists() && middle.exists() && oldest.exists());
        trim(folder.path(), 250, &newest).expect("the folder is there");
        assert!(newest.exists() && middle.exists() && !oldest.exists());
        // What is needed now stays, however old it is.
        trim(folder.path(), 10, &middle).expect("the folder is there");
        assert!(!newest.exists() && middle.exists());
    }

    #[test]
    fn a_new_folder_is_private() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = root.path().join("a/b");
        private_folder(&folder).expect("it can be made");
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for bits in [0o770, 0o702, 0o777] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(bits)).expect("ours");
            let error = private_folder(root.path()).expect_err("others may write");
            assert!(
                error.to_string().contains("others may write to it"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_link_to_a_folder_is_refused() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        create_private(&real).expect("it can be made");
        std::os::unix::fs::symlink(&real, &link).expect("it can be linked");
        let error = private_folder(&link).expect_err("a link");
        assert!(error.to_string().contains("not a folder"), "{error}");
    }
}
