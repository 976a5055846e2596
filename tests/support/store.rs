//! A real S3 server for tests: MinIO in its own folder on its own port, gone with its owner.
//!
//! What cannot be had here panics with what to do: a test has no other answer to it.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tempfile::TempDir;
use tidemill::config::{Secret, StoreCredentials, StorePlan};

/// Who may do everything.
pub const USER: &str = "tidemill";
/// The secret of that user: tests look for it in everything that is written.
pub const SECRET: &str = "a-secret-of-the-tests";
/// The key that objects can be encrypted with; the server is given its bytes when it starts.
pub const KMS_KEY: &str = "key-of-the-tests";
const KMS_BYTES: &str = "OSMM+vkKUTCvQs9YL/CVMIMt43HFhkUpqJxTmGl6rYw=";
/// Another process may take a free port before the server does.
const ATTEMPTS: usize = 5;
/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Store {
    /// Ends before its folder goes.
    _process: Process,
    folder: TempDir,
    port: u16,
    /// When and on which port: no other server has the same.
    began: u64,
    buckets: AtomicU32,
}

impl Store {
    /// The server that the tests of one binary share; each makes a bucket of its own in it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Store>> = Mutex::new(Weak::new());
        let mut shared = SHARED
            .lock()
            .expect("no test fails while it starts a server");
        if let Some(store) = shared.upgrade() {
            return store;
        }
        let store = Arc::new(Self::start());
        *shared = Arc::downgrade(&store);
        store
    }

    /// A server of its own.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("there is room for temporary files");
        let program = lend(&program(), folder.path());
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("the folder is ours");
        hand_over(&[folder.path(), &data]);
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let mut process = Process(launch(&program, folder.path(), port));
            if answers(&mut process.0, port) {
                return Self {
                    _process: process,
                    folder,
                    port,
                    began: now().wrapping_mul(1 << 16) + u64::from(port),
                    buckets: AtomicU32::new(0),
                };
            }
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("the S3 server does not start:\n{log}");
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The variables by which a program finds it and may do everything.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint(), USER, SECRET)
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        client(&self.endpoint(), USER, SECRET)
    }

    /// A new bucket under a name that no other test has, nor one before: machines keep modules of buckets by name.
    pub async fn fresh_bucket(&self) -> String {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let name = format!("bucket-{:x}-{number}", self.began);
        let made = self.client().create_bucket().bucket(&name).send().await;
        made.unwrap_or_else(|error| panic!("no bucket {name}: {error:?}"));
        name
    }

    /// Every object of a bucket, by key, with what it holds.
    pub async fn objects(&self, bucket: &str) -> Vec<(String, Vec<u8>)> {
        let client = self.client();
        let mut pages = client
            .list_objects_v2()
            .bucket(bucket)
            .into_paginator()
            .send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("the server runs");
            for object in page.contents.unwrap_or_default() {
                let key = object.key.expect("an object has a key");
                let got = client.get_object().bucket(bucket).key(&key).send().await;
                let body = got.expect("it was listed").body.collect().await;
                objects.push((key, body.expect("the server runs").to_vec()));
            }
        }
        objects
    }

    /// What a program would know of it from its environment.
    pub fn plan(&self) -> StorePlan {
        StorePlan {
            endpoint: Some(self.endpoint()),
            ..Self::plan_of_anyone()
        }
    }

    /// The same of a server that another process has started, but for its endpoint.
    pub fn plan_of_anyone() -> StorePlan {
        StorePlan {
            region: Some("us-east-1".into()),
            credentials: Some(StoreCredentials {
                id: USER.into(),
                key: Secret::new(SECRET),
                token: None,
            }),
            ..StorePlan::default()
        }
    }

    /// Key, ETag and size of every object of a bucket. For whoever cannot wait: it waits in a thread of its own.
    pub fn listed(&self, bucket: &str) -> Vec<(String, String, u64)> {
        let client = self.client();
        aside(async {
            let mut pages = client
                .list_objects_v2()
                .bucket(bucket)
                .into_paginator()
                .send();
            let mut listed = Vec::new();
            while let Some(page) = pages.next().await {
                for object in page.expect("the server runs").contents.unwrap_or_default() {
                    let size = object.size.and_then(|size| u64::try_from(size).ok());
                    listed.push((
                        object.key.expect("an object has a key"),
                        object.e_tag.unwrap_or_default(),
                        size.unwrap_or_default(),
                    ));
                }
            }
            listed
        })
    }

    /// The bytes of an object, in the same way.
    ///
    /// # Errors
    /// When it is gone.
    pub fn bytes(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let client = self.client();
        aside(async {
            let got = client.get_object().bucket(bucket).key(key).send().await?;
            Ok(got.body.collect().await?.to_vec())
        })
    }

    /// Puts an object over what is there, in the same way.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        let put = self.client().put_object().bucket(bucket).key(key);
        aside(async {
            put.body(bytes.to_vec().into()).send().await?;
            Ok(())
        })
    }

    /// Removes an object, in the same way.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn remove(&self, bucket: &str, key: &str) -> Result<()> {
        let delete = self.client().delete_object().bucket(bucket).key(key);
        aside(async {
            delete.send().await?;
            Ok(())
        })
    }

    /// Its data on the disk.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// The server's process, also one that never answered: it ends with its owner.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // `runuser` passes a request to end on, but not a kill.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Waits in a thread of its own, for a test may not on the thread that runs its tasks.
pub(crate) fn aside<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("there is room for a runtime").block_on(work)
        });
        waiting.join().expect("the server runs")
    })
}

/// The variables by which a program finds a store, as this user.
pub fn environment(endpoint: &str, user: &str, secret: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL_S3", endpoint),
        ("AWS_ACCESS_KEY_ID", user),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_REGION", "us-east-1"),
        // Nothing of the person who runs the tests, and no question to a machine that is none of Amazon's.
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A client of a store, as this user.
pub fn client(endpoint: &str, user: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(user, secret, None, None, "tests"))
        .force_path_style(true);
    Client::from_conf(config.build())
}

fn program() -> PathBuf {
    let program = super::variable("TIDEMILL_MINIO");
    program.expect("there is no S3 server to test with; run the tests with `cargo x test`")
}

/// The program where the user that it runs as can reach it.
fn lend(program: &Path, folder: &Path) -> PathBuf {
    let lent = folder.join("minio");
    if std::fs::hard_link(program, &lent).is_err() {
        std::fs::copy(program, &lent).expect("there is room for temporary files");
    }
    lent
}

fn launch(program: &Path, folder: &Path, port: u16) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("the folder is ours");
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command
        .args([
            "server",
            "--quiet",
            "--address",
            &format!("127.0.0.1:{port}"),
        ])
        .arg(folder.join("data"))
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("MINIO_ROOT_USER", USER)
        .env("MINIO_ROOT_PASSWORD", SECRET)
        .env("MINIO_KMS_SECRET_KEY", format!("{KMS_KEY}:{KMS_BYTES}"))
        .env("MINIO_BROWSER", "off")
        .env("MINIO_UPDATE", "off")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be had twice"))
        .stderr(log);
    command.spawn().expect("`cargo x test` made the program")
}

/// Whether it comes to answer; false when it ends before.
#[allow(
    clippy::disallowed_methods,
    reason = "another process is waited for, which tells nobody that it is ready"
)]
fn answers(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() && is_ready(port) {
            return true;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a server says nowhere that it is ready: it is asked again until the deadline"
        )]
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn is_ready(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // Without a host it is a bad request.
        stream.write_all(
            b"GET /minio/health/live HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = [0; 15];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b" 200 OK"))
    };
    ask().unwrap_or(false)
}

#[expect(
    clippy::disallowed_methods,
    reason = "names differ from those of every test before"
)]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Lets everybody write there: the user that the server runs as is another.
fn hand_over(folders: &[&Path]) {
    for folder in folders {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
            .expect("it is ours");
    }
}
