//! From one project to another and back.

use anyhow::{Result, ensure};
use tidemill_tests::oci::{Guard, OciRegistry};

use super::*;

/// Component, parameters, name, version and signatures; and the other project promotes it.
#[test]
fn a_module_arrives_in_another_project_with_its_parameters_and_signatures() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let author = project("")?;
    let (id, public) = key(&author, "author.key")?;
    let (other_id, other) = key(&author, "other.key")?;
    let file = author.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{}", trusting(&[&public, &other])))?;
    let push = with_parameters(&author)?;
    for key in ["author.key", "other.key"] {
        json(&author, &format!("sign {push} --key {key}"))?;
        json(&author, &format!("push {push}"))?;
    }
    let name = registry.name("shop/dim-thing");
    let exported = json(&author, &format!("export dim-thing@6.6.6 {name}"))?;
    ensure!(exported["outcome"] == "new", "{exported}");
    ensure!(exported["to"] == format!("{name}:6.6.6"), "{exported}");
    let mut ids = [id.as_str(), other_id.as_str()];
    ids.sort_unstable();
    ensure!(
        exported["signed_by"] == serde_json::json!(ids),
        "{exported}"
    );

    let reader = project(&trusting(&[&public]))?;
    let imported = json(&reader, &format!("import {name}:6.6.6"))?;
    ensure!(imported["is_new"] == true, "{imported}");
    ensure!(imported["module"] == exported["module"], "{imported}");
    ensure!(imported["manifest"] == exported["manifest"], "{imported}");
    ensure!(imported["vouched_by"]["key"] == id, "{imported}");
    let promoted = json(&reader, "promote dim-thing@6.6.6 --why imported")?;
    ensure!(promoted["module"] == exported["module"], "{promoted}");
    let (theirs, ours) = (
        json(&author, "inspect dim-thing@6.6.6")?,
        json(&reader, "inspect dim-thing@6.6.6")?,
    );
    ensure!(ours["digest"] == theirs["digest"], "{ours}");
    ensure!(
        ours["parameters_bytes"] == theirs["parameters_bytes"],
        "{ours}"
    );
    ensure!(ours["parameters_bytes"].as_u64() > Some(0), "{ours}");
    // A stranger's signature says nothing that could be checked, and is left behind.
    ensure!(ours["signed_by"] == serde_json::json!([id]), "{ours}");

    // By the digest of its manifest, whatever the tag means by now; and once that key is trusted, its signature is kept.
    let reader_file = reader.path().join("tidemill.toml");
    std::fs::write(
        &reader_file,
        format!("{SHOP}{}", trusting(&[&public, &other])),
    )?;
    let pinned = format!("{name}@sha256:{}", text(&exported, "/manifest")?);
    let again = json(&reader, &format!("import {pinned}"))?;
    ensure!(again["is_new"] == false, "{again}");
    let ours = json(&reader, "inspect dim-thing@6.6.6")?;
    ensure!(ours["signed_by"] == serde_json::json!(ids), "{ours}");

    // What came back is what went out.
    let back = json(&reader, &format!("export dim-thing@6.6.6 {name}:back"))?;
    ensure!(back["manifest"] == exported["manifest"], "{back}");
    Ok(())
}

#[test]
fn a_second_export_does_nothing_and_another_module_needs_to_be_meant() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let name = registry.name("shop/dim-design:stable");
    let first = json(&shop, &format!("export dim-design@1.0.0 {name}"))?;
    let second = json(&shop, &format!("export dim-design@1.0.0 {name}"))?;
    ensure!(second["outcome"] == "already-there", "{second}");
    ensure!(second["manifest"] == first["manifest"], "{second}");

    let export = format!("export dim-design@1.1.0 {name}");
    let there = text(&first, "/manifest")?;
    refused(
        &shop,
        &export,
        2,
        &["is there already with something else", there, "--overwrite"],
    )?;
    let replaced = json(&shop, &format!("{export} --overwrite"))?;
    ensure!(replaced["outcome"] == "replaced", "{replaced}");
    let reader = project(UNSIGNED)?;
    let imported = json(&reader, &format!("import {name}"))?;
    ensure!(imported["module"]["version"] == "1.1.0", "{imported}");
    Ok(())
}

/// A signature can be added to what is there; one that is there is not lost by an export of somebody who has it not.
#[test]
fn signatures_are_added_to_a_tag_and_never_taken_away() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let poorer = project(UNSIGNED)?;
    std::fs::copy(shop.path().join("two.wasm"), poorer.path().join("two.wasm"))?;
    json(&poorer, "push two.wasm")?;
    let name = registry.name("shop/dim-design");
    let bare = json(&poorer, &format!("export dim-design@1.1.0 {name}"))?;

    let (id, public) = key(&shop, "shop.key")?;
    let file = shop.path().join("tidemill.toml");
    std::fs::write(&file, format!("{SHOP}{}", trusting(&[&public])))?;
    json(&shop, "sign two.wasm --key shop.key")?;
    json(&shop, "push two.wasm")?;
    let signed = json(&shop, &format!("export dim-design@1.1.0 {name}"))?;
    ensure!(signed["outcome"] == "signatures-added", "{signed}");
    ensure!(signed["manifest"] != bare["manifest"], "{signed}");
    let poor = json(&poorer, &format!("export dim-design@1.1.0 {name}"))?;
    ensure!(poor["outcome"] == "already-there", "{poor}");
    ensure!(poor["manifest"] == signed["manifest"], "{poor}");
    let document = manifest(&registry, &poor)?;
    let key = format!("/annotations/tidemill.module.signature.{id}");
    ensure!(document.pointer(&key).is_some(), "{document:#}");
    Ok(())
}

/// Import is a push: neither trust nor immutability nor compatibility can be gone around by way of a registry.
#[test]
fn what_push_refuses_import_refuses() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let name = registry.name("shop/dim-design");
    for version in ["1.0.0", "1.1.0"] {
        json(&shop, &format!("export dim-design@{version} {name}"))?;
    }
    let import = format!("import {name}:1.1.0");

    let strict = project("")?;
    refused(
        &strict,
        &import,
        2,
        &["nobody has signed dim-design@1.1.0", "unsigned = true"],
    )?;
    ensure!(count(&strict)? == 0, "it was not pushed");

    let running = project(UNSIGNED)?;
    json(&running, &format!("import {name}:1.0.0"))?;
    json(&running, "promote dim-design@1.0.0 --why first")?;
    let broken = ["makes something else than 1.0.0", "--breaking"];
    refused(&running, &import, 2, &broken)?;
    ensure!(count(&running)? == 1, "it was not pushed");
    let pushed = json(&running, &format!("{import} --breaking"))?;
    ensure!(
        pushed["changes"]
            .as_array()
            .is_some_and(|all| !all.is_empty()),
        "{pushed}"
    );

    let occupied = project(UNSIGNED)?;
    let other = component(
        "dim-design",
        &[("1.0.0", "1.1.0"), ("file_name", "file_nume")],
    )?;
    std::fs::write(occupied.path().join("other.wasm"), other)?;
    json(&occupied, "push other.wasm")?;
    let immutable = ["dim-design@1.1.0 exists already with other bytes"];
    refused(&occupied, &import, 2, &immutable)?;
    Ok(())
}
