//! What comes back from a registry and is not what it should be.

use anyhow::{Result, ensure};
use serde_json::json as value;
use tidemill_tests::oci::{Guard, OciRegistry};

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";
const REPOSITORY: &str = "shop/dim-design";

/// Bytes of a component that were changed, added or lost where the registry keeps them.
#[test]
fn a_blob_that_was_changed_in_the_registry_is_not_imported() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let name = registry.name(REPOSITORY);
    let exported = json(&shop, &format!("export dim-design@1.0.0 {name}"))?;
    let document = manifest(&registry, &exported)?;
    let reader = project(UNSIGNED)?;
    let import = format!("import {name}:1.0.0");
    for blob in ["/layers/0/digest", "/config/digest"] {
        let file = registry.blob_file(text(&document, blob)?);
        let whole = std::fs::read(&file)?;
        let turned = whole.iter().enumerate();
        let turned = turned.map(|(at, byte)| if at == 40 { byte ^ 1 } else { *byte });
        let (longer, shorter) = ([whole.as_slice(), b"\0"].concat(), whole.split_last());
        let shorter = shorter.context("it has bytes")?.1.to_vec();
        for (bytes, words) in [
            (turned.collect(), "is damaged: the digest of what came is"),
            (longer, "has more than"),
            (shorter, "is damaged: the digest of what came is"),
        ] {
            std::fs::write(&file, bytes)?;
            refused(&reader, &import, 1, &[words, "hint: "])?;
        }
        std::fs::write(&file, whole)?;
    }
    ensure!(count(&reader)? == 0, "nothing was pushed");

    // The manifest, too: by its tag as well as by its digest.
    let file = registry.blob_file(text(&exported, "/manifest")?);
    let text_of = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text_of.replace("dim-design", "dim-desing"))?;
    let pinned = format!("import {name}@sha256:{}", text(&exported, "/manifest")?);
    for import in [import.as_str(), &pinned] {
        let said = reader.call(format!("module {import}").split(' '))?;
        ensure!(said.code != Some(0), "{said:#?}");
    }
    ensure!(count(&reader)? == 0, "nothing was pushed");
    Ok(())
}

/// A registry with the blobs of `dim-design@1.0.0`, and the manifest of it.
fn planted(shop: &Project) -> Result<(OciRegistry, Value)> {
    let registry = OciRegistry::start(Guard::Open)?;
    let name = registry.name(REPOSITORY);
    let exported = json(shop, &format!("export dim-design@1.0.0 {name}"))?;
    let document = manifest(&registry, &exported)?;
    Ok((registry, document))
}

#[test]
fn what_is_no_module_is_told_for_what_it_is() -> Result<()> {
    let shop = shop()?;
    let (registry, good) = planted(&shop)?;
    let put = |media_type: &str, bytes: &[u8]| registry.put_blob(REPOSITORY, media_type, bytes);
    let image = put(
        "application/vnd.oci.image.config.v1+json",
        b"{\"os\":\"linux\"}",
    )?;
    let tar = put("application/vnd.oci.image.layer.v1.tar", b"tar")?;
    let config = |architecture: &str, os: &str, layer: &str| {
        let config = value!({
            "created": "1970-01-01T00:00:00Z", "architecture": architecture, "os": os, "layerDigests": [layer],
        });
        put(CONFIG, config.to_string().as_bytes())
    };
    let layer = text(&good, "/layers/0/digest")?;
    let of = |config: &Value, layers: &[&Value]| value!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    let wasm = &good["layers"][0];
    let cases = [
        (
            of(&image, &[&tar]),
            2,
            "no Wasm artefact but a container image",
        ),
        (
            of(&image, &[wasm]),
            2,
            "no Wasm artefact but a container image",
        ),
        (
            of(&put("application/json", b"{}")?, &[wasm]),
            2,
            "but something else (its config is application/json)",
        ),
        (
            of(&good["config"], &[&tar]),
            2,
            "its layer is application/vnd.oci.image.layer.v1.tar",
        ),
        (
            of(&good["config"], &[wasm, wasm]),
            2,
            "has 2 layers, and a Wasm artefact has one",
        ),
        (of(&good["config"], &[]), 2, "has 0 layers"),
        (
            of(&config("amd64", "linux", layer)?, &[wasm]),
            2,
            "made for linux and amd64",
        ),
        (
            of(&config("wasm", "wasip1", layer)?, &[wasm]),
            2,
            "made for wasip1 and wasm",
        ),
        (
            of(&config("wasm", "wasip2", "sha256:00")?, &[wasm]),
            1,
            "its config is of other layers",
        ),
        (
            of(&put(CONFIG, b"[]")?, &[wasm]),
            1,
            "its config is unreadable",
        ),
    ];
    let reader = project(UNSIGNED)?;
    let import = format!("import {}:case", registry.name(REPOSITORY));
    for (document, code, words) in cases {
        registry.put_manifest(REPOSITORY, "case", &document)?;
        refused(&reader, &import, code, &[words, "hint: "])?;
    }
    let index = value!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    });
    registry.put_manifest(REPOSITORY, "case", &index)?;
    refused(&reader, &import, 2, &["but a list of several manifests"])?;
    refused(
        &reader,
        &format!("{import}less"),
        2,
        &["there is no oci://", "hint: "],
    )?;
    ensure!(count(&reader)? == 0, "nothing was pushed");
    Ok(())
}

/// Its component has the last word on what it is.
#[test]
fn an_artefact_that_says_to_be_another_module_is_refused() -> Result<()> {
    let shop = shop()?;
    let (registry, good) = planted(&shop)?;
    let digest = text(&good, "/annotations/tidemill.module.digest")?;
    let other = format!("sha256:{}", "0".repeat(64));
    let noted = |key: &str, noted: Value| {
        let mut document = good.clone();
        let annotations = document.pointer_mut("/annotations");
        let annotations = annotations.and_then(Value::as_object_mut);
        annotations
            .context("annotations")?
            .insert(key.to_owned(), noted);
        Ok::<_, anyhow::Error>(document)
    };
    let lacking = |key: &str| {
        let mut document = noted("tidemill.module.parameters", value!("AAAA"))?;
        let annotations = document
            .pointer_mut("/annotations")
            .and_then(Value::as_object_mut);
        annotations.context("annotations")?.remove(key);
        Ok::<_, anyhow::Error>(document)
    };
    let cases = [
        (
            noted("org.opencontainers.image.title", value!("dim-staff"))?,
            "it is said to be dim-staff@1.0.0",
        ),
        (
            noted("org.opencontainers.image.version", value!("1.0.1"))?,
            "it is said to be dim-design@1.0.1",
        ),
        (
            noted("tidemill.module.digest", value!(other))?,
            "(000000000000), and its component",
        ),
        (
            noted("tidemill.module.digest", value!("sha256:0"))?,
            "is no digest",
        ),
        (
            noted("tidemill.module.parameters", value!("c2VjcmV0"))?,
            "it is said to be dim-design@1.0.0",
        ),
        (
            noted("tidemill.module.parameters", value!("?"))?,
            "is no base 64",
        ),
        (
            noted("tidemill.module.signature.E7620F1842B4E81F", value!("ada"))?,
            "is none of minisign",
        ),
        (
            lacking("tidemill.module.digest")?,
            "it has no annotation `tidemill.module.digest`",
        ),
        (
            lacking("org.opencontainers.image.title")?,
            "it has no annotation",
        ),
    ];
    let reader = project(UNSIGNED)?;
    let import = format!("import {}:case", registry.name(REPOSITORY));
    for (document, words) in cases {
        registry.put_manifest(REPOSITORY, "case", &document)?;
        refused(&reader, &import, 1, &[words, "hint: "])?;
    }
    ensure!(count(&reader)? == 0, "nothing was pushed");

    // Another tool's artefact says nothing of the sort: what its component says is what it is.
    let mut foreign = good.clone();
    let whole = foreign.as_object_mut().context("a manifest")?;
    whole.remove("annotations");
    registry.put_manifest(REPOSITORY, "case", &foreign)?;
    let imported = json(&reader, &import)?;
    ensure!(
        text(&imported, "/module/name")? == "dim-design",
        "{imported}"
    );
    ensure!(
        digest.ends_with(text(&imported, "/module/digest")?),
        "{imported}"
    );

    // And what is no component of ours is refused by the sandbox.
    let strange = registry.put_blob(REPOSITORY, LAYER, b"\0asm\x0d\0\x01\0")?;
    let config = value!({
        "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [strange["digest"]],
    });
    let config = registry.put_blob(REPOSITORY, CONFIG, config.to_string().as_bytes())?;
    let document =
        value!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [strange]});
    registry.put_manifest(REPOSITORY, "case", &document)?;
    refused(&reader, &import, 1, &["error: "])?;
    Ok(())
}

/// A signature for one module does not let another in that came with it.
#[test]
fn the_signature_of_another_module_is_refused() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let author = project("")?;
    let (_, public) = key(&author, "author.key")?;
    let file = author.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{}", trusting(&[&public])))?;
    let two = component("dim-design", &[("1.0.0", "1.1.0")])?;
    std::fs::write(author.path().join("two.wasm"), two)?;
    json(&author, "sign two.wasm --key author.key")?;
    json(&author, "push two.wasm")?;
    let name = registry.name(REPOSITORY);
    let signed = json(&author, &format!("export dim-design@1.1.0 {name}"))?;
    let signed = manifest(&registry, &signed)?;

    let shop = shop()?;
    let evil = json(&shop, &format!("export dim-design@1.1.0 {name}:evil"))?;
    let mut evil = manifest(&registry, &evil)?;
    let annotations = signed["annotations"]
        .as_object()
        .context("annotations")?
        .iter();
    let signature = annotations.filter(|(key, _)| key.contains("signature"));
    for (key, text) in signature {
        evil["annotations"][key] = text.clone();
    }
    registry.put_manifest(REPOSITORY, "evil", &evil)?;
    let reader = project(&trusting(&[&public]))?;
    let import = format!("import {name}:evil");
    refused(
        &reader,
        &import,
        1,
        &["the signature of dim-design@1.1.0", "or for other bytes"],
    )?;
    ensure!(count(&reader)? == 0, "nothing was pushed");
    Ok(())
}
