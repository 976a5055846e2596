//! Modules in a folder, for machines without a registry.

use anyhow::{Result, ensure};
use tidemill::digest::Digest;

use super::*;

#[test]
fn a_module_arrives_by_way_of_a_folder() -> Result<()> {
    let author = project("")?;
    let (id, public) = key(&author, "author.key")?;
    let file = author.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{}", trusting(&[&public])))?;
    let push = with_parameters(&author)?;
    json(&author, &format!("sign {push} --key author.key"))?;
    json(&author, &format!("push {push}"))?;
    let exported = json(&author, "export dim-thing@6.6.6 carried")?;
    ensure!(exported["outcome"] == "new", "{exported}");
    let again = json(&author, "export dim-thing@6.6.6 carried")?;
    ensure!(again["outcome"] == "already-there", "{again}");

    let reader = project(&trusting(&[&public]))?;
    let carried = author.path().join("carried");
    let imported = json(&reader, &format!("import {}", carried.display()))?;
    ensure!(imported["module"] == exported["module"], "{imported}");
    ensure!(imported["vouched_by"]["key"] == id, "{imported}");
    json(&reader, "promote dim-thing@6.6.6 --why carried")?;

    // It is an image layout: every file of it is one that other tools look for.
    let mark: Value = serde_json::from_slice(&std::fs::read(carried.join("oci-layout"))?)?;
    assert_eq!(mark, serde_json::json!({"imageLayoutVersion": "1.0.0"}));
    let index: Value = serde_json::from_slice(&std::fs::read(carried.join("index.json"))?)?;
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let manifests = index["manifests"].as_array().context("manifests")?;
    let [manifest] = manifests.as_slice() else {
        anyhow::bail!("{index:#}");
    };
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["annotations"],
        serde_json::json!({"org.opencontainers.image.ref.name": "dim-thing-6.6.6"})
    );
    let blobs = std::fs::read_dir(carried.join("blobs/sha256"))?;
    let mut count = 0;
    for blob in blobs {
        let blob = blob?.path();
        let name = blob
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        assert_eq!(name, Digest::of(std::fs::read(&blob)?).to_string());
        count += 1;
    }
    assert_eq!(count, 3, "manifest, config and component");
    Ok(())
}

#[test]
fn of_several_modules_in_a_folder_one_is_named() -> Result<()> {
    let shop = shop()?;
    json(&shop, "export dim-design@1.0.0 carried")?;
    json(&shop, "export dim-design@1.1.0 carried")?;
    json(&shop, "export dim-design@1.1.0 carried --tag stable")?;
    let words = ["dim-design-1.0.0, dim-design-1.1.0, stable", "--tag"];
    refused(&shop, "import carried", 2, &words)?;
    let imported = json(&shop, "import carried --tag stable")?;
    ensure!(imported["module"]["version"] == "1.1.0", "{imported}");
    refused(
        &shop,
        "import carried --tag nothing",
        2,
        &["there is no nothing in"],
    )?;
    refused(
        &shop,
        "import carried --tag ../x",
        2,
        &["a tag is made of letters"],
    )?;
    let other = ["is there already with something else", "--overwrite"];
    refused(
        &shop,
        "export dim-design@1.0.0 carried --tag stable",
        2,
        &other,
    )?;
    let replaced = json(
        &shop,
        "export dim-design@1.0.0 carried --tag stable --overwrite",
    )?;
    ensure!(replaced["outcome"] == "replaced", "{replaced}");
    let imported = json(&shop, "import carried --tag stable")?;
    ensure!(imported["module"]["version"] == "1.0.0", "{imported}");
    Ok(())
}

#[test]
fn a_folder_that_is_damaged_or_none_is_told() -> Result<()> {
    let shop = shop()?;
    refused(
        &shop,
        "import nowhere",
        2,
        &["there is no artefact in", "hint: "],
    )?;
    refused(&shop, "import home", 2, &["there is no artefact in"])?;
    refused(
        &shop,
        "import lake",
        2,
        &["is no OCI layout: it has no index.json"],
    )?;
    refused(
        &shop,
        "export dim-design@1.0.0 lake",
        2,
        &["is no OCI layout"],
    )?;
    refused(&shop, "import one.wasm", 1, &["cannot read"])?;
    let forgotten = ["it does not begin with oci://"];
    for verb in ["import", "export dim-design@1.0.0"] {
        refused(
            &shop,
            &format!("{verb} ghcr.io/shop/dim-design:1.0.0"),
            2,
            &forgotten,
        )?;
    }
    ensure!(!shop.path().join("ghcr.io").exists(), "no folder was made");

    let exported = json(&shop, "export dim-design@1.0.0 carried")?;
    let carried = shop.path().join("carried");
    let digest = text(&exported, "/manifest")?;
    let manifest = carried.join("blobs/sha256").join(digest);
    let whole = std::fs::read_to_string(&manifest)?;
    std::fs::write(&manifest, whole.replace("dim-design", "dim-desing"))?;
    refused(
        &shop,
        "import carried",
        1,
        &["is damaged: the digest of what came is"],
    )?;
    std::fs::remove_file(&manifest)?;
    refused(&shop, "import carried", 1, &["it has no blob sha256:"])?;
    refused(
        &shop,
        "export dim-design@1.0.0 carried",
        1,
        &["it has no blob"],
    )?;
    let mended = json(&shop, "export dim-design@1.0.0 carried --overwrite")?;
    ensure!(mended["outcome"] == "replaced", "{mended}");
    json(&shop, "import carried")?;
    std::fs::write(carried.join("index.json"), "[]")?;
    refused(&shop, "import carried", 2, &["index.json is unreadable"])?;
    Ok(())
}
