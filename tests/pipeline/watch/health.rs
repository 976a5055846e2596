//! Health of `serve`: alive, ready, and what is not.

use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidemill_tests::service::{Service, get};

use super::shop;

fn ready(address: &str) -> Result<(u16, Value)> {
    let (code, body) = get(address, "/readyz")?;
    Ok((code, serde_json::from_str(&body)?))
}

fn checks(told: &Value) -> Result<Vec<(String, bool)>> {
    let checks = told["checks"].as_array().context("a list of checks")?;
    let checks = checks.iter().map(|check| {
        let name = check["name"].as_str().context("a check has a name")?;
        Ok((name.to_owned(), check["ok"] == true))
    });
    checks.collect()
}

const ALL: [&str; 5] = [
    "source totesys",
    "ingestion zone",
    "processed zone",
    "modules zone",
    "warehouse",
];

#[test]
fn a_service_that_reaches_everything_is_ready_and_says_so_to_its_own_program() -> Result<()> {
    let project = shop("")?;
    let mut service = Service::start(&project)?;
    let address = service.address()?;
    service.until("run ended")?;
    ensure!(get(&address, "/healthz")? == (200, "ok\n".to_owned()));
    let (code, told) = ready(&address)?;
    ensure!(code == 200 && told["ready"] == true, "{told:#}");
    let expected: Vec<_> = ALL.iter().map(|name| ((*name).to_owned(), true)).collect();
    ensure!(checks(&told)? == expected, "{told:#}");

    let healthy = project.done(["health", "--address", &address])?;
    ensure!(healthy == "ok\n", "{healthy}");
    project.done(["health", "--ready", "--address", &address])?;
    service.signal("TERM")?;
    service.until("stopped")?;
    ensure!(service.end()?.0 == Some(0));
    let silent = project.call(["health", "--address", &address])?;
    ensure!(silent.code == Some(1), "{silent:#?}");
    ensure!(
        silent.stderr.starts_with("error: no serve answers at"),
        "{silent:#?}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_reached_is_named_with_its_reason_and_without_its_password() -> Result<()> {
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut project = shop("")?;
    let url = format!("postgresql://ada:lovelace@{closed}/totesys");
    project.set("TOTESYS_URL", &url);
    let mut service = Service::start(&project)?;
    let address = service.address()?;
    ensure!(get(&address, "/healthz")?.0 == 200, "it lives all the same");
    let (code, told) = ready(&address)?;
    ensure!(code == 503 && told["ready"] == false, "{told:#}");
    let expected: Vec<_> = ALL
        .iter()
        .map(|name| ((*name).to_owned(), *name != "source totesys"))
        .collect();
    ensure!(checks(&told)? == expected, "{told:#}");
    let detail = told["checks"][0]["detail"].as_str().context("a reason")?;
    ensure!(detail.contains(&closed.to_string()), "{detail}");
    ensure!(!told.to_string().contains("lovelace"), "{told:#}");
    let asked = project.call(["health", "--ready", "--address", &address])?;
    ensure!(asked.code == Some(1), "{asked:#?}");
    Ok(())
}
