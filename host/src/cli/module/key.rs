//! `module key`: a pair of keys that modules are signed with.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::authoring::{AuthoringError, KeyFiles, PASSWORD, key};
use crate::cli::answer::Answer;
use crate::cli::invocation::Invocation;

/// Make a pair of keys that modules are signed with, in the format of minisign.
///
/// The secret key goes to FILE, the public one to FILE.pub. A password in the variable
/// MINISIGN_PASSWORD protects the secret key.
///
/// Example: tidemill module key shop.key
#[derive(Debug, Args)]
pub(in crate::cli) struct Key {
    /// The file of the secret key; it must not be there.
    file: PathBuf,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    #[serde(flatten)]
    key: KeyFiles,
    secret_key: PathBuf,
    public_key: PathBuf,
    encrypted: bool,
}

impl Key {
    pub(super) fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let password = call.environment().get(PASSWORD);
        let secret_key = call.folder().join(&self.file);
        let mut public_key = secret_key.clone().into_os_string();
        public_key.push(".pub");
        let made = Made {
            key: key(password)?,
            public_key: public_key.into(),
            encrypted: password.is_some(),
            secret_key,
        };
        create(&made.secret_key, made.key.secret_file.expose())?;
        create(&made.public_key, &made.key.public_file)?;
        Ok(Answer::new(told(&made), &made))
    }
}

/// Writes a new file that nobody else can read.
fn create(file: &Path, text: &str) -> Result<(), AuthoringError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut open| {
        open.write_all(text.as_bytes())?;
        open.sync_all()
    });
    written.map_err(|cause| AuthoringError::Write {
        file: file.to_owned(),
        cause,
    })
}

fn told(made: &Made) -> String {
    let protected = match made.encrypted {
        true => String::new(),
        false => format!(", not protected by a password (set {PASSWORD} for one)"),
    };
    format!(
        "key {}\n  secret  {}{protected}\n  public  {}\nits modules are trusted once the project file says\n\n\
         [modules]\nkeys = [\"{}\"]\n",
        made.key.id,
        made.secret_key.display(),
        made.public_key.display(),
        made.key.public,
    )
}
