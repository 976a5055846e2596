//! Passwords that a service keeps and rotates, with a real database that refuses the old one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tidemill_tests::iam::Iam;
use tidemill_tests::postgres::{Server, connect, database_of};
use tidemill_tests::world::{At, Beginning};

use super::account::{Account, schedule};

/// Tests may everything, the program has to know a password.
const RULES: &str = "
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// What the service keeps, whom it gives it to, and how often it was asked.
#[derive(Default)]
struct Kept {
    value: String,
    /// The policy of whoever asks.
    policy: String,
    asked: u32,
}

impl Kept {
    /// Whether the policy lets a secret of this name be read, whose ARN has six characters of the service's own.
    fn may_be_read(&self, name: &str) -> bool {
        let arn = format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-Zx09aQ");
        let iam = Iam::new(&self.policy);
        iam.is_ok_and(|iam| iam.may("secretsmanager:GetSecretValue", &arn, &[]))
    }
}

type Service = Arc<Mutex<Kept>>;

async fn answer(State(kept): State<Service>, body: Bytes) -> (StatusCode, String) {
    let question: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut kept = kept.lock().expect("no test holds it");
    kept.asked += 1;
    match question["SecretId"].as_str() {
        Some(name) if !kept.may_be_read(name) => (
            StatusCode::BAD_REQUEST,
            json!({"__type": "AccessDeniedException", "message": "no"}).to_string(),
        ),
        Some("totesys") => {
            let body = json!({"Name": "totesys", "SecretString": kept.value});
            (StatusCode::OK, body.to_string())
        }
        _ => (
            StatusCode::BAD_REQUEST,
            json!({"__type": "ResourceNotFoundException", "message": "no"}).to_string(),
        ),
    }
}

async fn serve() -> Result<(SocketAddr, Service)> {
    let kept = Service::default();
    let routes = Router::new()
        .route("/", post(answer))
        .with_state(kept.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((address, kept))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_was_rotated_while_a_function_is_warm_is_read_again() -> Result<()> {
    let server = Server::start("");
    server.write("pg_hba.conf", RULES);
    server.restart("");
    let mut account = Account::empty(Beginning {
        scale: 0.2,
        server: Some(Arc::new(server)),
        ..Beginning::at(At::Postgres)
    })
    .await?;
    let (address, kept) = serve().await?;
    let source = account.world.source.clone();
    let (_, rest) = source.split_once("://").context("a URL")?;
    let place = rest
        .rsplit_once('@')
        .map_or(rest, |(_, place)| place)
        .to_owned();
    let role = format!("reader_{}", database_of(&source));
    let admin = connect(&source).await?;
    let set = async |password: &str| -> Result<()> {
        let exists = format!("SELECT 1 FROM pg_roles WHERE rolname = '{role}'");
        let verb = match admin.query(exists.as_str(), &[]).await?.is_empty() {
            true => "CREATE",
            false => "ALTER",
        };
        let statement = format!("{verb} ROLE \"{role}\" LOGIN PASSWORD '{password}'");
        admin.batch_execute(&statement).await?;
        admin
            .batch_execute(&format!(
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{role}\""
            ))
            .await?;
        kept.lock().expect("no test holds it").value =
            json!({"user": role, "password": password}).to_string();
        Ok(())
    };
    set("one/with#special").await?;
    let url = format!(
        "postgresql://${{aws-secret:totesys#user}}:${{aws-secret:totesys#password}}@{place}"
    );
    let endpoint = format!("http://{address}");
    let variables = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint.as_str()),
        ("TIDEMILL_SOURCE__TOTESYS__URL", url.as_str()),
    ];
    // Each role reads its own secrets, as its policy says.
    let mut policies = Vec::new();
    for (name, value) in variables {
        account.world.project.set(name, value);
    }
    for role in ["transform", "load", "extract"] {
        let policy = ["policy", role, "--output", "json"];
        policies.push(account.world.project.done(policy)?);
    }
    for policy in &policies {
        kept.lock().expect("no test holds it").policy = policy.clone();
        let may = kept
            .lock()
            .expect("no test holds it")
            .may_be_read("totesys");
        ensure!(may == (Some(policy) == policies.last()), "{policy}");
    }
    let mut extract = account.function_with("extract", &variables)?;
    account
        .call(&mut extract, &schedule())
        .await?
        .being("done")?;
    account
        .call(&mut extract, &schedule())
        .await?
        .being("done")?;
    ensure!(
        kept.lock().expect("no test holds it").asked == 1,
        "a warm function asks once"
    );
    set("tw0nd").await?;
    account
        .call(&mut extract, &schedule())
        .await?
        .being("done")?;
    ensure!(kept.lock().expect("no test holds it").asked == 2);
    // Neither the old nor the new one fits: the login is told, and neither password.
    kept.lock().expect("no test holds it").value =
        json!({"user": role, "password": "thirdone"}).to_string();
    admin
        .batch_execute(&format!("ALTER ROLE \"{role}\" PASSWORD 'another'"))
        .await?;
    let (kind, message) = account.call(&mut extract, &schedule()).await?.failed()?;
    ensure!(
        kind == "config" && message.contains("refused the login"),
        "{kind}: {message}"
    );
    let log = extract.log() + &message;
    for password in ["one/with", "one%2Fwith", "tw0nd", "thirdone"] {
        ensure!(!log.contains(password), "{password} is in {log}");
    }
    // The load stage needs no source, and asks for nothing.
    let asked = kept.lock().expect("no test holds it").asked;
    let mut transform = account.function_with("transform", &variables)?;
    account
        .call(&mut transform, &json!({}))
        .await?
        .being("done")?;
    ensure!(kept.lock().expect("no test holds it").asked == asked);
    account.world.evolution.run();
    Ok(())
}
