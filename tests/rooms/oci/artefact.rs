//! The artefact in the registry, field by field, as the layout wants it.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json as value;
use tidemill::digest::Digest;
use tidemill_tests::oci::{Guard, OciRegistry};

use super::*;

#[test]
fn an_artefact_is_laid_out_as_the_cncf_has_it() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let name = registry.name("shop/dim-design");
    let exported = json(&shop, &format!("export dim-design@1.0.0 {name}"))?;
    let component = std::fs::read(shop.path().join("one.wasm"))?;
    let layer = format!("sha256:{}", Digest::of(&component));

    let document = manifest(&registry, &exported)?;
    assert_eq!(
        keys(&document),
        [
            "annotations",
            "config",
            "layers",
            "mediaType",
            "schemaVersion"
        ]
    );
    assert_eq!(document["schemaVersion"], 2);
    assert_eq!(
        document["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        document["layers"],
        value!([{
            "mediaType": "application/wasm",
            "digest": layer,
            "size": component.len(),
            "annotations": {"org.opencontainers.image.title": "dim-design.wasm"},
        }])
    );
    assert_eq!(
        document["annotations"],
        value!({
            "org.opencontainers.image.title": "dim-design",
            "org.opencontainers.image.version": "1.0.0",
            "tidemill.module.digest": format!("sha256:{}", text(&exported, "/module/digest")?),
        })
    );
    assert_eq!(std::fs::read(registry.blob_file(&layer))?, component);

    assert_eq!(keys(&document["config"]), ["digest", "mediaType", "size"]);
    assert_eq!(
        document["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let digest = text(&document, "/config/digest")?;
    let config = std::fs::read(registry.blob_file(digest))?;
    assert_eq!(digest, format!("sha256:{}", Digest::of(&config)));
    assert_eq!(document["config"]["size"], config.len());
    assert_eq!(
        registry.document(digest)?,
        value!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [layer],
            "component": {
                "exports": ["tidemill:transform/transform@1.0.0"],
                "imports": ["tidemill:transform/log@1.0.0", "tidemill:transform/types@1.0.0"],
                "target": "tidemill:transform/module@1.0.0",
            },
        })
    );
    Ok(())
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().into_iter().flatten();
    let keys: BTreeSet<&str> = object.map(|(key, _)| key.as_str()).collect();
    keys.into_iter().collect()
}

/// The whole module, also as annotations that nobody else reads.
#[test]
fn parameters_and_signatures_are_annotations() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let author = project("")?;
    let (id, public) = key(&author, "author.key")?;
    let file = author.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{}", trusting(&[&public])))?;
    let push = with_parameters(&author)?;
    json(&author, &format!("sign {push} --key author.key"))?;
    json(&author, &format!("push {push}"))?;
    let name = registry.name("dim-thing");
    let exported = json(&author, &format!("export dim-thing@6.6.6 {name}"))?;
    let document = manifest(&registry, &exported)?;
    let layers = document["layers"].as_array().context("layers")?;
    assert_eq!(layers.len(), 1);
    let signature = std::fs::read_to_string(author.path().join("thing.wasm.minisig"))?;
    let noted = format!("/annotations/tidemill.module.signature.{id}");
    assert_eq!(text(&document, &noted)?, signature);
    assert!(
        document
            .pointer("/annotations/tidemill.module.parameters")
            .is_some()
    );
    Ok(())
}
