//! What services of AWS keep: secrets and parameters, asked for when a connection is made.
//!
//! ```text
//! Secret ── ${aws-secret:…}, ${aws-ssm:…} ──▶ Vault ──▶ Secrets Manager, Parameter Store
//!                                              └─ in memory for a few minutes, and asked for again when a login is refused
//! ```
//!
//! Nothing is asked that nobody needs: the load stage never reads the source's password. Values live in memory alone, and
//! neither an error nor a log line holds one; an error names the setting, the secret and what to do.

mod error;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use crate::config::{Keeper, Reference, Secret, VaultPlan};
use crate::connection;
use crate::error::Result;
pub use error::{Problem, VaultError};

/// How long a value is used before it is asked for again: what Amazon's own extension for functions takes.
const FRESH: Duration = Duration::from_secs(300);
/// The version of a secret that applications use; a rotation moves the word.
const CURRENT: &str = "AWSCURRENT";
/// How often a question is asked before it counts as refused; the client waits longer each time, by chance.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// What a connection may take, one attempt, and all attempts of a question together.
const CONNECT: Duration = Duration::from_secs(3);
const ATTEMPT: Duration = Duration::from_secs(5);
const QUESTION: Duration = Duration::from_secs(20);

/// What was read, and what is asked for more. Shared by everything of a process that opens connections.
pub struct Vault {
    plan: VaultPlan,
    /// Made by the first who needs them: a project with other references looks for no credentials.
    clients: OnceCell<Clients>,
    read: Mutex<HashMap<(Keeper, String), Read>>,
}

struct Clients {
    secrets: aws_sdk_secretsmanager::Client,
    parameters: aws_sdk_ssm::Client,
}

struct Read {
    value: String,
    at: Instant,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// The services of this plan. Nothing is contacted yet.
    pub fn new(plan: VaultPlan) -> Self {
        Self {
            plan,
            clients: OnceCell::new(),
            read: Mutex::default(),
        }
    }

    /// The value of a secret, to be handed to a driver and to nobody else.
    ///
    /// # Errors
    /// `Config` when its reference leads nowhere or may not be read, `Unavailable` when the service does not answer.
    pub async fn reveal(&self, secret: &Secret) -> Result<String> {
        self.fill(secret, false).await
    }

    /// The value of a secret after a login with `used` was refused: read once more. `None` when it is the same, or when no
    /// service keeps it.
    ///
    /// # Errors
    /// As [`reveal`](Self::reveal).
    pub async fn renew(&self, secret: &Secret, used: &str) -> Result<Option<String>> {
        let Some(origin) = secret.origin() else {
            return Ok(None);
        };
        let value = self.fill(secret, true).await?;
        let is_new = value != used;
        tracing::info!(%origin, is_new, "the login was refused: read again");
        Ok(is_new.then_some(value))
    }

    async fn fill(&self, secret: &Secret, anew: bool) -> Result<String> {
        let mut values: HashMap<&Reference, String> = HashMap::new();
        // Held until all are read: whoever needs the same waits for the one answer.
        let mut read = self.read.lock().await;
        let mut asked = Vec::new();
        for reference in secret.references() {
            let name = (reference.keeper, reference.name.clone());
            let is_fresh = |read: &Read| read.at.elapsed() < FRESH;
            let is_known = read.get(&name).is_some_and(is_fresh);
            if !is_known || (anew && !asked.contains(&name)) {
                // On the heap: everything that opens a connection waits for this, and a client's futures are deep.
                let asking: BoxFuture<'_, _> = Box::pin(self.ask(reference));
                let value = asking.await;
                let value = value.map_err(|problem| VaultError::new(secret, reference, problem))?;
                let at = Instant::now();
                read.insert(name.clone(), Read { value, at });
                asked.push(name.clone());
            }
            if let Some(known) = read.get(&name) {
                let value = part(&known.value, reference.key.as_deref());
                let value = value.map_err(|problem| VaultError::new(secret, reference, problem))?;
                values.insert(reference, value);
            }
        }
        drop(read);
        let kept = |reference: &Reference| values.get(reference).map(String::as_str);
        // What is not there was not read, and that has been told.
        Ok(secret.filled(kept)?.unwrap_or_default())
    }

    async fn ask(&self, reference: &Reference) -> std::result::Result<String, Problem> {
        let clients = self.clients.get_or_init(|| connect(&self.plan)).await;
        match reference.keeper {
            Keeper::Secrets => {
                let question = clients.secrets.get_secret_value();
                let question = question.secret_id(&reference.name).version_stage(CURRENT);
                let answer = question.send().await.map_err(|e| Problem::of(&e))?;
                answer.secret_string.ok_or(Problem::NoText)
            }
            Keeper::Parameters => {
                let question = clients.parameters.get_parameter();
                let question = question.name(&reference.name).with_decryption(true);
                let answer = question.send().await.map_err(|e| Problem::of(&e))?;
                let value = answer.parameter.and_then(|parameter| parameter.value);
                value.ok_or(Problem::NoText)
            }
        }
    }
}

/// The part of a secret that a reference means.
fn part(text: &str, key: Option<&str>) -> std::result::Result<String, Problem> {
    let Some(key) = key else {
        return Ok(text.to_owned());
    };
    // What a parser says about JSON may quote it.
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Problem::NoObject)?;
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(number @ Value::Number(_)) => Ok(number.to_string()),
        Some(_) => Err(Problem::NoTextAtKey),
        None => Err(Problem::NoKey {
            known: object.keys().cloned().collect(),
        }),
    }
}

async fn connect(plan: &VaultPlan) -> Clients {
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_WAIT);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(QUESTION)
        .build();
    let known = connection::aws::configuration(&plan.account).await;
    let known = known
        .into_builder()
        .retry_config(retries)
        .timeout_config(timeouts);
    let known = known.build();
    let mut secrets = aws_sdk_secretsmanager::config::Builder::from(&known);
    let mut parameters = aws_sdk_ssm::config::Builder::from(&known);
    if plan.secrets.is_some() {
        secrets.set_endpoint_url(plan.secrets.clone());
    }
    if plan.parameters.is_some() {
        parameters.set_endpoint_url(plan.parameters.clone());
    }
    Clients {
        secrets: aws_sdk_secretsmanager::Client::from_conf(secrets.build()),
        parameters: aws_sdk_ssm::Client::from_conf(parameters.build()),
    }
}

#[cfg(test)]
mod tests;
