//! An OCI registry of a test's own: the CNCF's Distribution on a port of this machine, with its blobs in a folder.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// The variable by which `cargo x test` names the program.
const PROGRAM: &str = "TIDEMILL_OCI_REGISTRY";
/// Where Debian's package puts it.
const DEBIAN: &str = "/usr/bin/docker-registry";
/// As whom it runs where the tests run as root.
const NOBODY: u32 = 65_534;
/// How long it may take to start, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// What its log says once it can be asked.
const LISTENING: &str = "listening on 127.0.0.1:";

/// What the manifest of an image is.
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The one who may log in.
pub const USER: &str = "ada";
/// And the password.
pub const PASSWORD: &str = "rising-tide";
/// Both as `htpasswd -B` writes them.
const HTPASSWD: &str = "ada:$2b$04$Uf/SOwGXhlG2tpFL1.P7ZOKmmy/up8bITcbYliLvkmxiaOIv0j2RW\n";

/// A registry that runs. It is stopped and its folder removed with it.
#[derive(Debug)]
pub struct OciRegistry {
    folder: TempDir,
    process: Child,
    port: u16,
}

/// What a registry demands.
#[derive(Debug, Clone, Copy)]
pub enum Guard<'g> {
    /// Nothing.
    Open,
    /// [`USER`] and [`PASSWORD`].
    Login,
    /// TLS, of which this are the certificate and its key.
    Tls(&'g str, &'g str),
}

impl OciRegistry {
    /// Starts one.
    ///
    /// # Errors
    /// When there is none to start; the message says what to run.
    pub fn start(guard: Guard<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidemill-oci-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        // The program may lie where only we may go.
        std::fs::copy(program()?, at("registry")).context("the program can be copied")?;
        std::fs::write(at("config.json"), config(folder.path(), guard)?)?;
        std::fs::write(at("log"), "")?;
        hand_over(folder.path())?;
        let log = std::fs::File::options().append(true).open(at("log"))?;
        let mut command = Command::new(at("registry"));
        command
            .arg("serve")
            .arg(at("config.json"))
            .current_dir(folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let process = command.spawn().context("the registry starts")?;
        let mut registry = Self {
            folder,
            process,
            port: 0,
        };
        registry.port = registry.wait()?;
        Ok(registry)
    }

    /// Host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What an artefact in it is called.
    pub fn name(&self, artefact: &str) -> String {
        format!("oci://{}/{artefact}", self.host())
    }

    /// The file in which it keeps a blob, a manifest's too.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        let first: String = digits.chars().take(2).collect();
        let blobs = self
            .folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(first).join(digits).join("data")
    }

    /// A document that it keeps.
    ///
    /// # Errors
    /// When there is none of that digest, or it is no JSON.
    pub fn document(&self, digest: &str) -> Result<Value> {
        let file = self.blob_file(digest);
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Puts a blob into a repository as a client does, and gives the descriptor of it.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn put_blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = format!("sha256:{}", tidemill::digest::Digest::of(bytes));
        let begun = self.call("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
        let location = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        let location = location.context("an upload has a location")?.trim();
        let path = location
            .split_once(&self.host())
            .map_or(location, |(_, path)| path);
        let path = format!("{path}&digest={digest}");
        let put = self.call("PUT", &path, "application/octet-stream", bytes)?;
        ensure!(put.starts_with("HTTP/1.1 201"), "{put}");
        Ok(serde_json::json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }

    /// Puts a manifest into a repository as a client does.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<()> {
        let media_type = manifest.get("mediaType").and_then(Value::as_str);
        let media_type = media_type.context("a manifest has a type")?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = self.call("PUT", &path, media_type, manifest.to_string().as_bytes())?;
        ensure!(put.starts_with("HTTP/1.1 201"), "{put}");
        Ok(())
    }

    /// Puts the manifest of an image into a repository, byte by byte.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub fn put_manifest_bytes(&self, repository: &str, tag: &str, manifest: &[u8]) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = self.call("PUT", &path, IMAGE, manifest)?;
        ensure!(put.starts_with("HTTP/1.1 201"), "{put}");
        Ok(())
    }

    /// The manifest of an image in a repository, byte by byte.
    ///
    /// # Errors
    /// When there is none of that tag.
    pub fn manifest_bytes(&self, repository: &str, tag: &str) -> Result<Vec<u8>> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let got = self.call("GET", &path, "", b"")?;
        let (head, body) = got.split_once("\r\n\r\n").context("an answer")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{got}");
        Ok(body.as_bytes().to_vec())
    }

    /// The answer to a request, its head and its body.
    fn call(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(self.host())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: {IMAGE}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.host(),
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Waits until it can be asked; gives its port.
    #[expect(
        clippy::disallowed_methods,
        reason = "another process writes the log, and nothing tells when"
    )]
    fn wait(&mut self) -> Result<u16> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("log"))?;
            let port = log.split_once(LISTENING).map(|(_, rest)| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse()
            });
            if let Some(port) = port {
                return Ok(port?);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("the registry ended with {status}:\n{log}");
            }
            ensure!(
                Instant::now() < deadline,
                "the registry does not start:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for OciRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; nothing in its folder is worth an orderly end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Its settings. JSON is YAML.
fn config(folder: &Path, guard: Guard<'_>) -> Result<String> {
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": folder.join("data")}},
        "http": {"addr": "127.0.0.1:0"},
    });
    let whole = config.as_object_mut().context("settings")?;
    let file = |name: &str, text: &str| -> Result<PathBuf> {
        let file = folder.join(name);
        std::fs::write(&file, text)?;
        Ok(file)
    };
    match guard {
        Guard::Open => {}
        Guard::Login => {
            let users = file("htpasswd", HTPASSWD)?;
            let auth = serde_json::json!({"htpasswd": {"realm": "tidemill", "path": users}});
            whole.insert("auth".into(), auth);
        }
        Guard::Tls(certificate, key) => {
            let tls = serde_json::json!({
                "addr": "127.0.0.1:0",
                "tls": {"certificate": file("cert.pem", certificate)?, "key": file("key.pem", key)?},
            });
            whole.insert("http".into(), tls);
        }
    }
    Ok(config.to_string())
}

/// The program that `cargo x test` names, or the one that Debian's package installed.
fn program() -> Result<PathBuf> {
    let named = super::variable(PROGRAM).unwrap_or_else(|| DEBIAN.into());
    ensure!(
        named.is_file(),
        "there is no OCI registry to test with; run the tests with `cargo x test`"
    );
    Ok(named)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Gives a folder and what is in it to whom the registry runs as.
fn hand_over(folder: &Path) -> Result<()> {
    let program = folder.join("registry");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    if !is_root() {
        return Ok(());
    }
    chown(folder, Some(NOBODY), Some(NOBODY))?;
    for entry in std::fs::read_dir(folder)? {
        chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}
