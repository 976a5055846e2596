//! What `cargo x bundle` writes: the same bytes twice, a root file system in which the program works for nobody in particular
//! with nothing to write to, and an image that a registry takes and gives back.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tidemill_tests::oci::{Guard, OciRegistry};
use tidemill_tests::project::Project;
use tidemill_tests::versions::component;

/// Bundles the program of the tests; gives the folder and what was said.
fn bundle(target: &str, more: &[&str]) -> Result<(TempDir, String)> {
    let out = tempfile::Builder::new()
        .prefix("tidemill-bundle-")
        .tempdir()?;
    let said = tidemill_tests::bundle::make(target, out.path(), more, &[])?;
    Ok((out, said))
}

fn digest(said: &str) -> Result<String> {
    let last = said.lines().last().context("a digest is said")?;
    ensure!(last.starts_with("sha256:"), "{last}");
    Ok(last.to_owned())
}

fn json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// An OCI layout that was written.
struct Layout {
    folder: PathBuf,
    /// The image's manifest, as it is and as what it says.
    manifest: Vec<u8>,
    document: Value,
}

impl Layout {
    fn read(folder: PathBuf) -> Result<Self> {
        let index = json(&folder.join("index.json"))?;
        ensure!(json(&folder.join("oci-layout"))?["imageLayoutVersion"] == "1.0.0");
        let named = index["manifests"][0]["digest"].as_str();
        let mut layout = Self {
            manifest: Vec::new(),
            document: Value::Null,
            folder,
        };
        layout.manifest = layout.blob(named.context("an index names an image")?)?;
        layout.document = serde_json::from_slice(&layout.manifest)?;
        Ok(layout)
    }

    /// A blob, whose bytes are what its name says.
    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let name = digest.strip_prefix("sha256:").context("a digest")?;
        let bytes = fs::read(self.folder.join("blobs/sha256").join(name))?;
        ensure!(
            tidemill::digest::Digest::of(&bytes).to_string() == name,
            "{digest}"
        );
        Ok(bytes)
    }

    fn layers(&self) -> Result<Vec<&str>> {
        let layers = self.document["layers"].as_array().context("layers")?;
        layers
            .iter()
            .map(|layer| layer["digest"].as_str().context("a digest"))
            .collect()
    }

    fn config(&self) -> Result<Value> {
        let digest = self.document["config"]["digest"].as_str();
        Ok(serde_json::from_slice(
            &self.blob(digest.context("a config")?)?,
        )?)
    }

    /// Unpacks the layers, one over the other, as tar does.
    fn unpack(&self, root: &Path) -> Result<()> {
        for layer in self.layers()? {
            let name = layer.strip_prefix("sha256:").context("a digest")?;
            let file = fs::File::open(self.folder.join("blobs/sha256").join(name))?;
            let unpacked = Command::new("tar")
                .args(["-xzpf", "-", "-C"])
                .arg(root)
                .stdin(file)
                .status()?;
            ensure!(unpacked.success(), "{layer} is no archive");
        }
        Ok(())
    }
}

/// A call of the image's program as a container engine makes it: in a namespace of its own whose root is the image's, which
/// nobody may write to; `/tmp` and `/project` are in memory; as a user without any right. What the variables `PROJECT` and
/// `COMPILED` name is copied into them.
fn contained(root: &Path, config: &Value, arguments: &[&str]) -> Result<Output> {
    // What stands behind `--` sees the image alone.
    const SCRIPT: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mkdir -p "$ROOT/proc"
mount -t proc -o nosuid,nodev,noexec proc "$ROOT/proc"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$ROOT/tmp"
mount -t tmpfs -o mode=0755,uid=65532,gid=65532,nosuid,nodev tmpfs "$ROOT/project"
if [ -d "$PROJECT" ]; then cp -r "$PROJECT/." "$ROOT/project/"; fi
if [ -d "$COMPILED" ]; then mkdir "$ROOT/tmp/cache"; cp -r "$COMPILED" "$ROOT/tmp/cache/tidemill"; fi
chown -R 65532:65532 "$ROOT/project" "$ROOT/tmp"
mount -o remount,ro,bind "$ROOT"
exec chroot --userspec=65532:65532 "$ROOT" "$@"
"#;
    let config = &config["config"];
    let entry = config["Entrypoint"][0].as_str().context("an entry")?;
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount", "--net", "--pid", "--fork", "/bin/sh", "-c", SCRIPT, "sh", entry,
        ])
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("ROOT", root);
    for variable in config["Env"].as_array().context("variables")? {
        let variable = variable.as_str().context("a variable")?;
        let (name, value) = variable.split_once('=').context("NAME=VALUE")?;
        command.env(name, value);
    }
    let output = command.stdin(Stdio::null()).output()?;
    Ok(output)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_image_is_the_same_twice_runs_for_nobody_and_comes_back_from_a_registry() -> Result<()> {
    let (out, first) = bundle("container", &[])?;
    let arch = if cfg!(target_arch = "x86_64") {
        "x86_64"
    } else {
        "arm64"
    };
    let folder = out.path().join(format!("container-{arch}"));
    let layout = Layout::read(folder.join("layout"))?;
    {
        let (_again, second) = bundle("container", &[])?;
        ensure!(digest(&first)? == digest(&second)?, "{first}{second}");
    }
    image_keeps_its_promises(&layout)?;
    root_has_nothing_but_the_program(&layout)?;
    registry_takes_and_gives(&layout)?;
    ensure!(folder.join("context/Containerfile").is_file());
    ensure!(folder.join("context/program.tar").is_file());
    Ok(())
}

fn image_keeps_its_promises(layout: &Layout) -> Result<()> {
    let config = layout.config()?;
    let user = config["config"]["User"].as_str().context("a user")?;
    let (user, group) = user.split_once(':').context("a user and a group")?;
    ensure!(user.parse::<u32>()? >= 1000 && group.parse::<u32>()? >= 1000);
    ensure!(
        config["config"]["Healthcheck"]["Test"][1] == "/usr/bin/tidemill",
        "{config:#}"
    );
    ensure!(
        config["os"] == "linux" && config["architecture"] == "amd64"
            || cfg!(not(target_arch = "x86_64"))
    );
    let ids = config["rootfs"]["diff_ids"].as_array().context("layers")?;
    for (layer, id) in layout.layers()?.into_iter().zip(ids) {
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(layout.blob(layer)?.as_slice()).read_to_end(&mut tar)?;
        let digest = format!("sha256:{}", tidemill::digest::Digest::of(&tar));
        ensure!(
            id.as_str() == Some(&digest),
            "{layer} unpacked is {digest}, not {id}"
        );
    }
    Ok(())
}

fn root_has_nothing_but_the_program(layout: &Layout) -> Result<()> {
    let root = tempfile::Builder::new()
        .prefix("tidemill-root-")
        .tempdir()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    layout.unpack(root.path())?;
    let mut programs = Vec::new();
    files(root.path(), root.path(), &mut |path, mode| {
        ensure!(mode & 0o6000 == 0, "{} gives rights", path.display());
        ensure!(
            mode & 0o022 == 0,
            "{} can be written by others",
            path.display()
        );
        let is_library = path.to_string_lossy().contains(".so");
        if mode & 0o111 != 0 && !is_library {
            programs.push(path.to_owned());
        }
        Ok(())
    })?;
    ensure!(programs == [Path::new("usr/bin/tidemill")], "{programs:?}");
    ensure!(root.path().join("usr/share/doc/libc6/copyright").is_file());
    let certificates = fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt"))?;
    ensure!(certificates.matches("BEGIN CERTIFICATE").count() > 50);

    if !is_root()? {
        // Namespaces of others than root are forbidden on many machines, and CI is root.
        anyhow::bail!("this test makes a mount namespace: run it as root");
    }
    let config = layout.config()?;
    let version = contained(root.path(), &config, &["--version"])?;
    ensure!(version.status.success(), "{}", said(&version));
    ensure!(
        said(&version).starts_with("tidemill "),
        "{}",
        said(&version)
    );

    // The whole line, in memory: source, zones, modules, warehouse.
    let project = Project::totesys(None, None)?;
    let run = {
        let mut config = config.clone();
        let variables = config["config"]["Env"]
            .as_array_mut()
            .context("variables")?;
        variables.push(format!("PROJECT={}", project.path().display()).into());
        // What other tests have compiled: compiling is tried elsewhere, and takes minutes without optimisation.
        let compiled = tidemill_tests::variable("HOME").map(|home| home.join(".cache/tidemill"));
        let compiled = compiled.context("tests have a home")?;
        variables.push(format!("COMPILED={}", compiled.display()).into());
        contained(
            root.path(),
            &config,
            &["run", "--project", "/project", "--output", "json"],
        )?
    };
    ensure!(run.status.success(), "{}", said(&run));
    let report: Value = serde_json::from_slice(&run.stdout)?;
    let loaded = report["load"]["landings"][0]["tables"].as_array();
    ensure!(loaded.map(Vec::len) == Some(11), "{report:#}");
    Ok(())
}

fn files(root: &Path, folder: &Path, look: &mut dyn FnMut(&Path, u32) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            files(root, &path, look)?;
        } else {
            ensure!(found.is_file(), "{} is a link", path.display());
            look(path.strip_prefix(root)?, found.permissions().mode())?;
        }
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output()?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn registry_takes_and_gives(layout: &Layout) -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let kinds: BTreeMap<&str, &str> = [&layout.document["config"]]
        .into_iter()
        .chain(layout.document["layers"].as_array().context("layers")?)
        .filter_map(|blob| Some((blob["digest"].as_str()?, blob["mediaType"].as_str()?)))
        .collect();
    for (digest, kind) in &kinds {
        registry.put_blob("shop/tidemill", kind, &layout.blob(digest)?)?;
    }
    registry.put_manifest_bytes("shop/tidemill", "latest", &layout.manifest)?;
    let pulled = registry.manifest_bytes("shop/tidemill", "latest")?;
    ensure!(pulled == layout.manifest, "another image came back");
    for digest in kinds.keys() {
        ensure!(
            fs::read(registry.blob_file(digest))? == layout.blob(digest)?,
            "{digest}"
        );
    }
    Ok(())
}

#[test]
fn the_archive_of_a_function_is_the_same_twice_and_holds_no_secret_and_no_data() -> Result<()> {
    let project = Project::with_file(
        "[source.shop]\nurl = \"sqlite://shop.sqlite\"\n[modules]\nunsigned = true\n\
         [transform.dim_design]\nmodule = \"dim-design@1\"\n",
    )?;
    let module = project.path().join("target/design.wasm");
    fs::create_dir_all(project.path().join("target"))?;
    fs::write(&module, component("dim-design", &[])?)?;
    project.done(["module", "push", "target/design.wasm"])?;
    project.done(["module", "promote", "dim-design@1.0.0", "--why", "first"])?;
    fs::write(project.path().join(".env"), "KEY=lovelace\n")?;
    fs::write(project.path().join("shop.sqlite"), "rows\n")?;
    fs::create_dir_all(project.path().join("lake/ingestion"))?;
    fs::write(project.path().join("lake/ingestion/part"), "rows\n")?;
    let folder = project.path().display().to_string();
    let (out, first) = bundle("lambda", &["--project", &folder])?;
    {
        let (_again, second) = bundle("lambda", &["--project", &folder])?;
        ensure!(digest(&first)? == digest(&second)?, "{first}{second}");
    }
    let archive = fs::read_dir(out.path())?
        .next()
        .context("an archive")??
        .path();
    let mut archive = zip::ZipArchive::new(fs::File::open(archive)?)?;
    let mut modes: BTreeMap<String, Option<u32>> = BTreeMap::new();
    for place in 0..archive.len() {
        let entry = archive.by_index(place)?;
        modes.insert(entry.name()?.into_owned(), entry.unix_mode());
    }
    let names: Vec<&str> = modes.keys().map(String::as_str).collect();
    let listed = format!("{modes:?}");
    ensure!(modes.get("bootstrap") == Some(&Some(0o100755)), "{listed}");
    ensure!(names.contains(&"tidemill.toml"), "{listed}");
    let compiled = names
        .iter()
        .filter(|name| name.starts_with("compiled/") && name.ends_with(".cwasm"));
    ensure!(compiled.count() == 1, "{listed}");
    let module = "lake/modules/dim-design/1.0.0/module.wasm";
    ensure!(names.contains(&module), "{listed}");
    let strangers = names.iter().find(|name| {
        name.starts_with("lake/ingestion") || name.starts_with(".env") || name.ends_with(".sqlite")
    });
    ensure!(strangers.is_none(), "{strangers:?}");
    Ok(())
}
