//! Who may: passwords, tokens and TLS; and that no secret is ever told or given to others.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tidemill_tests::oci::{Guard, OciRegistry, PASSWORD, USER};

use super::fake::{Answer, Fake};
use super::*;

/// The file of `docker login` for a registry.
fn logged_in(host: &str, user: &str, password: &str) -> String {
    serde_json::json!({"auths": {host: {"username": user, "password": password}}}).to_string()
}

fn write(project: &Project, file: &str, text: &str) -> Result<String> {
    let file = project.path().join(file);
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

#[test]
fn a_registry_is_told_who_asks_by_what_docker_and_podman_keep() -> Result<()> {
    let registry = OciRegistry::start(Guard::Login)?;
    let host = registry.host();
    let name = registry.name("shop/dim-design");
    let export = format!("export dim-design@1.0.0 {name}");
    let mut shop = shop()?;
    let nobody = [
        "is refused to those who did not log in",
        "docker login 127.0.0.1:",
    ];
    refused(&shop, &export, 2, &nobody)?;

    let kept = write(
        &shop,
        "home/.docker/config.json",
        &logged_in(&host, USER, "sinking-tide"),
    )?;
    let wrong = ["is refused to ada", "check what this user may do there"];
    let said = refused(&shop, &format!("{export} -vv"), 2, &wrong)?;
    ensure!(!said.stderr.contains("sinking-tide"), "{}", said.stderr);
    ensure!(!said.stderr.contains("Basic "), "{}", said.stderr);

    std::fs::write(kept, logged_in(&host, USER, PASSWORD))?;
    let exported = json(&shop, &export)?;
    ensure!(exported["outcome"] == "new", "{exported}");

    // Podman's own place, in the form that `podman login` writes.
    let mut reader = project(UNSIGNED)?;
    let import = format!("import {name}:1.0.0");
    refused(&reader, &import, 2, &nobody)?;
    let auth = serde_json::json!({"auths": {&host: {"auth": "YWRhOnJpc2luZy10aWRl"}}});
    write(
        &reader,
        "home/.config/containers/auth.json",
        &auth.to_string(),
    )?;
    json(&reader, &import)?;

    // A file that somebody names is the one that counts, and must be there.
    reader.set("REGISTRY_AUTH_FILE", "/nowhere/auth.json");
    refused(
        &reader,
        &import,
        2,
        &["cannot use the credentials in /nowhere/auth.json"],
    )?;
    let broken = write(&reader, "broken.json", &format!("{{\"auths\": {PASSWORD}"))?;
    reader.set("REGISTRY_AUTH_FILE", &broken);
    let said = refused(
        &reader,
        &import,
        2,
        &["it is not the JSON of docker or podman"],
    )?;
    ensure!(!said.stderr.contains(PASSWORD), "{}", said.stderr);
    let folder = shop.path().join("elsewhere");
    write(&shop, "elsewhere/config.json", "{}")?;
    shop.set("DOCKER_CONFIG", &folder.display().to_string());
    refused(&shop, &export, 2, &nobody)?;
    Ok(())
}

/// What keeps passwords in a system's own store; one that fails may say anything, and is not repeated.
#[test]
fn credential_helpers_are_asked_and_not_repeated() -> Result<()> {
    let registry = OciRegistry::start(Guard::Login)?;
    let mut shop = shop()?;
    let helpers = shop.path().join("bin");
    for (name, script) in [
        (
            "tide",
            format!("cat >/dev/null; echo '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'"),
        ),
        (
            "none",
            "cat >/dev/null; echo 'credentials not found in native keychain'; exit 1".into(),
        ),
        ("loud", format!("cat >/dev/null; echo '{PASSWORD}'; exit 1")),
    ] {
        let file = write(
            &shop,
            &format!("bin/docker-credential-{name}"),
            &format!("#!/bin/sh\n{script}\n"),
        )?;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    }
    let path = tidemill_tests::variable("PATH").context("there is a PATH")?;
    shop.set("PATH", &format!("{}:{}", helpers.display(), path.display()));
    let export = format!("export dim-design@1.0.0 {}", registry.name("dim-design"));
    let with = |helper: &str| {
        let text = serde_json::json!({"credsStore": helper}).to_string();
        write(&shop, "home/.docker/config.json", &text)
    };
    with("none")?;
    refused(&shop, &export, 2, &["did not log in"])?;
    with("loud")?;
    let said = refused(
        &shop,
        &export,
        2,
        &["the credential helper docker-credential-loud failed"],
    )?;
    ensure!(!said.stderr.contains(PASSWORD), "{}", said.stderr);
    with("tide")?;
    json(&shop, &export)?;
    Ok(())
}

/// A registry that wants a token of its server, which is on another port.
fn with_tokens(token: &'static str) -> Result<(Fake, Fake)> {
    let server = Fake::start(move |_| Answer::json(200, &serde_json::json!({"token": token})))?;
    let realm = format!(
        "Bearer realm=\"http://{}/token?own=1\",service=\"the registry\"",
        server.host()
    );
    let registry = Fake::start(move |request| match request.header("authorization") {
        Some(told) if told == "Bearer whale" => Answer::json(404, &serde_json::json!({})),
        _ => Answer::empty(401).with("WWW-Authenticate", &realm),
    })?;
    Ok((registry, server))
}

#[test]
fn a_token_is_asked_for_with_a_password_with_an_identity_token_and_by_nobody() -> Result<()> {
    let (registry, server) = with_tokens("whale")?;
    let reader = project(UNSIGNED)?;
    let host = registry.host();
    let import = format!("import oci://{host}/shop/dim-design:1.0.0");
    let missing = ["there is no oci://"];
    refused(&reader, &import, 2, &missing)?;
    let asked = server.last()?;
    ensure!(asked.header("authorization").is_none(), "{asked:?}");
    for part in [
        "GET /token?own=1&",
        "service=the+registry",
        "scope=repository%3Ashop%2Fdim-design%3Apull",
    ] {
        ensure!(asked.head.contains(part), "{asked:?}");
    }

    write(
        &reader,
        "home/.docker/config.json",
        &logged_in(&host, USER, PASSWORD),
    )?;
    refused(&reader, &import, 2, &missing)?;
    let asked = server.last()?;
    // base64 of ada:rising-tide
    ensure!(
        asked.header("authorization").as_deref() == Some("Basic YWRhOnJpc2luZy10aWRl"),
        "{asked:?}"
    );
    // The password is for the server of tokens and not for the registry.
    for request in registry.requests() {
        let told = request.header("authorization").unwrap_or_default();
        ensure!(!told.starts_with("Basic"), "{request:?}");
    }

    let identity =
        serde_json::json!({"auths": {&host: {"auth": "YWRhOg==", "identitytoken": "krill"}}});
    write(&reader, "home/.docker/config.json", &identity.to_string())?;
    refused(&reader, &import, 2, &missing)?;
    let asked = server.last()?;
    ensure!(asked.head.starts_with("POST /token?own=1 "), "{asked:?}");
    for part in [
        "grant_type=refresh_token",
        "refresh_token=krill",
        "scope=repository%3Ashop%2Fdim-design%3Apull",
    ] {
        ensure!(asked.body.contains(part), "{asked:?}");
    }
    Ok(())
}

#[test]
fn a_token_that_is_none_does_no_harm() -> Result<()> {
    for (token, words) in [
        ("two\nlines", "what is to be told is no text"),
        ("krill", "is refused to those who did not log in"),
    ] {
        let (registry, _server) = with_tokens(token)?;
        let reader = project(UNSIGNED)?;
        let import = format!("import oci://{}/dim-design:1.0.0", registry.host());
        refused(&reader, &import, 2, &[words, "hint: "])?;
    }
    Ok(())
}

/// A registry may send a client elsewhere with an upload or for a blob; its password stays behind.
#[test]
fn a_password_does_not_follow_to_another_host() -> Result<()> {
    let elsewhere = Fake::start(|_| Answer::empty(201))?;
    let location = format!("http://{}/upload?state=1", elsewhere.host());
    let registry = Fake::start(move |request| match request.header("authorization") {
        None => Answer::empty(401).with("WWW-Authenticate", "Basic realm=\"tide\""),
        Some(_) if request.head.starts_with("POST ") => {
            Answer::empty(202).with("Location", &location)
        }
        Some(_) if request.head.starts_with("PUT ") => Answer::empty(201),
        Some(_) => Answer::empty(404),
    })?;
    let shop = shop()?;
    let host = registry.host();
    write(
        &shop,
        "home/.docker/config.json",
        &logged_in(&host, USER, PASSWORD),
    )?;
    json(
        &shop,
        &format!("export dim-design@1.0.0 oci://{host}/dim-design"),
    )?;
    let uploads = elsewhere.requests();
    ensure!(uploads.len() == 2, "config and component: {uploads:?}");
    for upload in uploads {
        ensure!(upload.header("authorization").is_none(), "{upload:?}");
        ensure!(
            upload
                .head
                .starts_with("PUT /upload?state=1&digest=sha256%3A"),
            "{upload:?}"
        );
    }
    Ok(())
}

#[test]
fn a_registry_with_tls_must_be_trusted() -> Result<()> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let certificate = own.signed_by(&key, &issuer)?.pem();
    let registry = OciRegistry::start(Guard::Tls(&certificate, &key.serialize_pem()))?;
    let mut shop = shop()?;
    let export = format!("export dim-design@1.0.0 {}", registry.name("dim-design"));
    let strange = [
        "there is no TLS connection to the registry",
        "SSL_CERT_FILE",
    ];
    refused(&shop, &export, 2, &strange)?;
    let file = write(&shop, "authority.pem", &trusted)?;
    shop.set("SSL_CERT_FILE", &file);
    json(&shop, &export)?;
    Ok(())
}

/// 0.0.0.0 leads to this machine and is not its name for itself, so that it stands for any other here.
#[test]
fn another_machine_is_spoken_to_without_tls_only_when_that_is_meant() -> Result<()> {
    let registry = OciRegistry::start(Guard::Open)?;
    let shop = shop()?;
    let host = registry.host().replace("127.0.0.1", "0.0.0.0");
    let export = format!("export dim-design@1.0.0 oci://{host}/dim-design");
    refused(
        &shop,
        &export,
        2,
        &[
            "there is no TLS connection to the registry 0.0.0.0",
            "--plain-http",
        ],
    )?;
    json(&shop, &format!("{export} --plain-http"))?;
    json(
        &shop,
        &format!("import oci://{host}/dim-design:1.0.0 --plain-http"),
    )?;
    Ok(())
}
