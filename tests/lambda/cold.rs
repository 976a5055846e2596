//! How a function begins: with compiled modules from its bundle, and without.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::account::{Account, cache};

/// Compiled modules in a folder.
fn compiled(folder: &Path) -> Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut found = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        found += usize::from(path.extension().is_some_and(|kind| kind == "cwasm"));
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_function_takes_compiled_modules_from_its_bundle() -> Result<()> {
    let (mut account, _) = Account::landed().await?;
    // A bundle is what a function has compiled before.
    let mut warm = account.function("transform");
    let first = json!({"tables": ["dim_date"]});
    account.call(&mut warm, &first).await?.being("done")?;
    let bundle = cache()?;
    ensure!(compiled(Path::new(&bundle))? >= 11, "nothing was compiled");
    let tmp = TempDir::new()?;
    let own = tmp.path().join("cache");
    let own = own.display().to_string();
    let variables = [
        ("TIDEMILL_BUNDLED_CODE", bundle.as_str()),
        ("TIDEMILL_CACHE", own.as_str()),
    ];
    let mut transform = account.function_with("transform", &variables);
    let begun = Instant::now();
    let before = transform.start_cold(&account.world.project).await?;
    account
        .call(&mut transform, &json!({}))
        .await?
        .being("done")?;
    let whole = begun.elapsed();
    println!(
        "cold: {before:?} before the first word to the network, {whole:?} to the commit of ten tables"
    );
    ensure!(compiled(Path::new(&own))? == 0, "something was compiled");
    // Without a bundle they are compiled, in processes of their own, and the log says so.
    let empty = TempDir::new()?;
    let empty = empty.path().display().to_string();
    let variables = [
        ("TIDEMILL_BUNDLED_CODE", empty.as_str()),
        ("TIDEMILL_CACHE", own.as_str()),
    ];
    let mut transform = account.function_with("transform", &variables);
    account
        .call(&mut transform, &json!({}))
        .await?
        .being("nothing")?;
    ensure!(compiled(Path::new(&own))? >= 11, "nothing was compiled");
    let log = transform.log();
    ensure!(
        log.contains("the bundle has no compiled code of it"),
        "{log}"
    );
    let mut load = account.function("load");
    account.call(&mut load, &json!({})).await?.being("done")?;
    account.check().await
}
