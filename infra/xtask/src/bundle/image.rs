//! The image: an OCI layout, and the folder that a container engine builds the same image from.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::image::{
    Arch as OciArch, ConfigBuilder, Descriptor, HistoryBuilder, ImageConfigurationBuilder,
    ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, RootFsBuilder,
    Sha256Digest,
};
use serde_json::{Value, json};

use super::arch::Arch;
use super::containerfile::{Containerfile, Health};
use super::layers::{Effort, Layer, sha256};
use super::program::Program;
use super::tree::Tree;

/// A time that is the same whenever the image is made.
const NO_TIME: &str = "1970-01-01T00:00:00Z";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes layout and context; gives the layout's path and the digest of the image.
///
/// # Errors
/// When the Containerfile is not understood, or a file cannot be written.
pub(super) fn write(
    out: &Path,
    arch: Arch,
    containerfile: &Path,
    trees: [Tree; 2],
    program: &Program,
    effort: Effort,
) -> Result<(PathBuf, String)> {
    let text = fs::read_to_string(containerfile)
        .with_context(|| format!("cannot read {}", containerfile.display()))?;
    let file = Containerfile::parse(&text)?;
    let [system, project] = trees;
    let mut of_program = Tree::default();
    of_program.add_program(
        file.entry
            .first()
            .context("it has an entry")?
            .trim_start_matches('/'),
        program.bytes().to_vec(),
    );
    let mut of_project = project.below(file.folder.trim_start_matches('/'));
    of_project.add_folder_named(file.folder.trim_start_matches('/'), 0o755);
    let trees = [
        ("system.tar", system),
        ("program.tar", of_program),
        ("project.tar", of_project),
    ];
    let folder = out.join(format!("container-{}", arch.name()));
    // What an earlier call left is not part of this one.
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let layout = Layout::create(&folder.join("layout"))?;
    let context = folder.join("context");
    fs::create_dir_all(&context)?;
    fs::write(context.join("Containerfile"), &text)?;
    let mut layers = Vec::new();
    for archive in &file.archives {
        let tree = trees.iter().find(|(name, _)| name == archive);
        let Some((_, tree)) = tree else {
            bail!("the Containerfile adds {archive}, which the bundler does not make");
        };
        let layer = Layer::new(tree, effort)?;
        fs::write(context.join(archive), &layer.tar)?;
        layers.push((archive.clone(), layer));
    }
    let digest = layout.write(arch, &file, &layers)?;
    Ok((folder.join("layout"), digest))
}

/// A folder that is an OCI image layout.
struct Layout(PathBuf);

impl Layout {
    fn create(folder: &Path) -> Result<Self> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", blobs.display()))?;
        Ok(Self(folder.to_owned()))
    }

    fn blob(&self, kind: MediaType, bytes: &[u8]) -> Result<Descriptor> {
        let digest = sha256(bytes);
        let path = self.0.join("blobs/sha256").join(&digest);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let digest: Sha256Digest = digest.parse()?;
        Ok(Descriptor::new(kind, bytes.len() as u64, digest))
    }

    /// Writes the image; gives the digest of its manifest.
    fn write(
        &self,
        arch: Arch,
        file: &Containerfile,
        layers: &[(String, Layer)],
    ) -> Result<String> {
        let blobs: Result<Vec<_>> = layers
            .iter()
            .map(|(_, layer)| self.blob(MediaType::ImageLayerGzip, &layer.gzip))
            .collect();
        let configuration = configuration(arch, file, layers)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(self.blob(MediaType::ImageConfig, &configuration)?)
            .layers(blobs?)
            .annotations(annotations())
            .build()?;
        let manifest = sorted(&serde_json::to_value(manifest)?);
        let mut named = self.blob(MediaType::ImageManifest, manifest.as_bytes())?;
        let reference = "org.opencontainers.image.ref.name";
        named.set_annotations(Some([(reference.to_owned(), VERSION.to_owned())].into()));
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests([named])
            .build()?;
        let version = OciLayoutBuilder::default()
            .image_layout_version("1.0.0")
            .build()?;
        let index = sorted(&serde_json::to_value(index)?);
        fs::write(self.0.join("index.json"), index)?;
        fs::write(self.0.join("oci-layout"), version.to_string()?)?;
        Ok(sha256(manifest.as_bytes()))
    }
}

fn configuration(arch: Arch, file: &Containerfile, layers: &[(String, Layer)]) -> Result<Vec<u8>> {
    let config = ConfigBuilder::default()
        .user(&file.user)
        .working_dir(&file.folder)
        .env(file.environment.clone())
        .exposed_ports(file.ports.clone())
        .stop_signal(&file.stop_signal)
        .entrypoint(file.entry.clone())
        .cmd(file.arguments.clone())
        .build()?;
    let unpacked = layers
        .iter()
        .map(|(_, layer)| format!("sha256:{}", sha256(&layer.tar)));
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(unpacked.collect::<Vec<_>>())
        .build()?;
    let history: Result<Vec<_>, _> = layers
        .iter()
        .map(|(archive, _)| {
            let by = format!("ADD {archive} /");
            HistoryBuilder::default()
                .created(NO_TIME)
                .created_by(by)
                .build()
        })
        .collect();
    let configuration = ImageConfigurationBuilder::default()
        .created(NO_TIME)
        .architecture(match arch {
            Arch::X86_64 => OciArch::Amd64,
            Arch::Arm64 => OciArch::ARM64,
        })
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history(history?)
        .build()?;
    let mut document: Value = serde_json::from_str(&configuration.to_string()?)?;
    // The format knows no health; engines write and read it here all the same.
    if let (Some(health), Some(config)) = (&file.health, document.get_mut("config")) {
        let config = config.as_object_mut().context("a config is an object")?;
        config.insert("Healthcheck".into(), health.document());
    }
    Ok(sorted(&document).into_bytes())
}

/// JSON with its keys in order: the library keeps some in maps that have none.
fn sorted(document: &Value) -> String {
    in_order(document).to_string()
}

fn in_order(document: &Value) -> Value {
    match document {
        Value::Object(map) => {
            let keys: BTreeMap<&String, &Value> = map.iter().collect();
            let pairs = keys.into_iter();
            let pairs = pairs.map(|(key, value)| (key.clone(), in_order(value)));
            Value::Object(pairs.collect())
        }
        Value::Array(items) => items.iter().map(in_order).collect(),
        other => other.clone(),
    }
}

impl Health {
    fn document(&self) -> Value {
        let test: Vec<&str> = std::iter::once("CMD")
            .chain(self.command.iter().map(String::as_str))
            .collect();
        let nanos = |duration: std::time::Duration| duration.as_secs() * 1_000_000_000;
        json!({
            "Test": test,
            "Interval": nanos(self.interval),
            "Timeout": nanos(self.timeout),
            "StartPeriod": nanos(self.start),
            "Retries": self.retries,
        })
    }
}

fn annotations() -> HashMap<String, String> {
    [
        ("title", "tidemill"),
        ("version", VERSION),
        ("licenses", "Apache-2.0"),
        (
            "description",
            "Moves a company's data into a warehouse through sandboxed WebAssembly transforms.",
        ),
    ]
    .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()))
    .into()
}
