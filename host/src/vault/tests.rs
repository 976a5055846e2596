//! Against a service of the test's own that speaks the two questions. What it says is written as Amazon documents it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::json;

use super::*;
use crate::config::{self, Environment};
use crate::error::ErrorKind;

/// A service that keeps things.
#[derive(Default)]
struct Service {
    /// What a secret holds, by how often it was asked for.
    rotations: Vec<String>,
    /// Questions so far.
    asked: AtomicUsize,
    /// Questions that are refused with this code before it answers.
    refusals: Vec<&'static str>,
}

type Answer = (StatusCode, String);

fn refusal(code: &str) -> Answer {
    let status = match code {
        "InternalServiceError" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "__type": code, "message": "not now" });
    (status, body.to_string())
}

async fn answer(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let asked = service.asked.fetch_add(1, Ordering::SeqCst);
    if let Some(code) = service.refusals.get(asked) {
        return refusal(code);
    }
    let question: Value = serde_json::from_slice(&body).expect("a question is JSON");
    let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    let signed = headers.get("authorization").and_then(|a| a.to_str().ok());
    assert!(signed.is_some_and(|signed| signed.starts_with("AWS4-HMAC-SHA256")));
    let turn = asked - service.refusals.len();
    match target {
        Some("secretsmanager.GetSecretValue") => {
            assert_eq!(question["VersionStage"], "AWSCURRENT");
            match question["SecretId"].as_str() {
                Some("prod/db") => {
                    let last = service.rotations.len() - 1;
                    let text = &service.rotations[turn.min(last)];
                    let body = json!({"ARN": "arn", "Name": "prod/db", "VersionId": "v", "SecretString": text});
                    (StatusCode::OK, body.to_string())
                }
                Some("bytes") => (
                    StatusCode::OK,
                    json!({"Name": "bytes", "SecretBinary": "aGk="}).to_string(),
                ),
                _ => refusal("ResourceNotFoundException"),
            }
        }
        Some("AmazonSSM.GetParameter") => {
            assert_eq!(question["WithDecryption"], true);
            match question["Name"].as_str() {
                Some("/db/host") => {
                    let body = json!({"Parameter": {"Name": "/db/host", "Type": "SecureString", "Value": "db.example.org"}});
                    (StatusCode::OK, body.to_string())
                }
                _ => refusal("ParameterNotFound"),
            }
        }
        other => panic!("nobody asks {other:?}"),
    }
}

async fn serve(service: Service) -> (SocketAddr, Arc<Service>) {
    let service = Arc::new(service);
    let routes = Router::new()
        .route("/", post(answer))
        .with_state(service.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, service)
}

/// The URL of the warehouse of a project, and the vault of that project.
fn project(address: SocketAddr, url: &str) -> (Secret, Vault) {
    let endpoint = format!("http://{address}");
    let variables: Environment = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.as_str()),
        ("AWS_ENDPOINT_URL_SSM", endpoint.as_str()),
        ("AWS_REGION", "eu-west-2"),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "SK"),
    ]
    .into_iter()
    .collect();
    let text = format!("[warehouse]\nurl = \"{url}\"");
    let plan = config::parse(
        &text,
        Path::new("tidemill.toml"),
        Path::new("/p"),
        &variables,
        &[],
    );
    let plan = plan.expect("a good project");
    (plan.warehouse.url, Vault::new(plan.vault))
}

fn rotating(values: &[&str]) -> Service {
    Service {
        rotations: values.iter().map(ToString::to_string).collect(),
        ..Service::default()
    }
}

/// The error of a URL, with its hint.
async fn told(service: Service, url: &str) -> (ErrorKind, String) {
    let (address, _) = serve(service).await;
    let (secret, vault) = project(address, url);
    let error = vault.reveal(&secret).await.expect_err("it cannot be had");
    assert!(!format!("{error:?}").contains("lovelace"));
    (
        error.kind(),
        format!("{error} | {}", error.hint().unwrap_or_default()),
    )
}

const JSON: &str = r#"{"username":"ada","password":"love/lace#1","port":5432,"hosts":["a"]}"#;

#[tokio::test]
async fn a_url_is_put_together_from_both_services_and_asked_for_once() {
    let (address, service) = serve(rotating(&[JSON])).await;
    let (secret, vault) = project(
        address,
        "postgresql://${aws-secret:prod/db#username}:${aws-secret:prod/db#password}@${aws-ssm:/db/host}:${aws-secret:prod/db#port}/star",
    );
    for _ in 0..2 {
        let value = vault.reveal(&secret).await.expect("it is there");
        assert_eq!(
            value,
            "postgresql://ada:love%2Flace%231@db.example.org:5432/star"
        );
    }
    assert_eq!(service.asked.load(Ordering::SeqCst), 2);
    assert!(!format!("{vault:?} {secret:?}").contains("love"));
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_read_again() {
    let (address, service) = serve(rotating(&["postgresql://one", "postgresql://two"])).await;
    let (secret, vault) = project(address, "${aws-secret:prod/db}");
    let before = vault.reveal(&secret).await.expect("it is there");
    assert_eq!(before, "postgresql://one");
    let after = vault.renew(&secret, &before).await.expect("it is there");
    assert_eq!(after.as_deref(), Some("postgresql://two"));
    // From then on that is the one, and a second refusal is not the password's.
    let now = vault.reveal(&secret).await.expect("it is there");
    assert_eq!(now, "postgresql://two");
    assert_eq!(vault.renew(&secret, &now).await.expect("it is there"), None);
    assert_eq!(service.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_no_service_keeps_is_not_asked_for() {
    let (address, service) = serve(Service::default()).await;
    let (secret, vault) = project(address, "postgresql://h/d");
    assert_eq!(
        vault.reveal(&secret).await.expect("known"),
        "postgresql://h/d"
    );
    assert_eq!(
        vault
            .renew(&secret, "postgresql://h/d")
            .await
            .expect("known"),
        None
    );
    assert_eq!(service.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_service_that_is_asked_too_often_is_asked_again() {
    let service = Service {
        refusals: vec!["ThrottlingException", "InternalServiceError"],
        ..rotating(&["postgresql://one"])
    };
    let (address, service) = serve(service).await;
    let (secret, vault) = project(address, "${aws-secret:prod/db}");
    let value = vault.reveal(&secret).await.expect("the third answer");
    assert_eq!(value, "postgresql://one");
    assert_eq!(service.asked.load(Ordering::SeqCst), 3);
    let service = Service {
        refusals: vec!["ThrottlingException"; 9],
        ..rotating(&["postgresql://one"])
    };
    let (kind, said) = told(service, "${aws-secret:prod/db}").await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert_eq!(
        said,
        "tidemill.toml:2: `warehouse.url` refers to the AWS secret prod/db, and the service asks for fewer questions \
         | run again in a moment, or raise the account's limit"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_named_without_its_value() {
    let denied = || Service {
        refusals: vec!["AccessDeniedException"],
        ..Service::default()
    };
    let secret = |text: &str| rotating(&[text]);
    for (service, url, expected) in [
        (
            denied(),
            "${aws-secret:prod/db#password}",
            "the AWS secret prod/db#password, which may not be read: AccessDeniedException: not now | allow the role \
             secretsmanager:GetSecretValue on the secret `prod/db`, and kms:Decrypt on the key that it is encrypted with",
        ),
        (
            Service::default(),
            "${aws-secret:prod/none}",
            "the AWS secret prod/none, which is not there | make a secret `prod/none` in this account and region, or mend \
             the name",
        ),
        (
            Service::default(),
            "${aws-ssm:/none}",
            "the AWS parameter /none, which is not there | make a parameter `/none` in this account and region, or mend the \
             name",
        ),
        (
            secret(r#"{"user":"lovelace","pass":"lovelace"}"#),
            "${aws-secret:prod/db#password}",
            "the AWS secret prod/db#password, and it has no such key | it has: pass, user",
        ),
        (
            secret("lovelace"),
            "${aws-secret:prod/db#password}",
            "the AWS secret prod/db#password, and what it holds is no JSON object, so that it has no keys | write \
             ${aws-secret:prod/db} for all of it, or store a JSON object",
        ),
        (
            secret(r#"{"password":["lovelace"]}"#),
            "${aws-secret:prod/db#password}",
            "the AWS secret prod/db#password, and what is there is no text | name a key that holds a text or a number",
        ),
        (
            Service::default(),
            "${aws-secret:bytes}",
            "the AWS secret bytes, which holds no text | store a text in the secret `bytes`; bytes cannot be used",
        ),
    ] {
        let (kind, said) = told(service, url).await;
        assert_eq!(kind, ErrorKind::Config, "{said}");
        assert_eq!(
            said,
            format!("tidemill.toml:2: `warehouse.url` refers to {expected}")
        );
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_matter_of_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let (secret, vault) = project(address, "${aws-ssm:/db/host}");
    let error = vault.reveal(&secret).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains("the AWS parameter /db/host"),
        "{error}"
    );
}
