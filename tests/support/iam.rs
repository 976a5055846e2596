//! What IAM makes of a policy: which requests it allows, conditions that only Amazon knows included.
//!
//! MinIO checks the same policies for real, but for the conditions on creating objects, which it does not know. Those are
//! judged here, as the service's reference words them. It is a model, no proof of what AWS does.

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON is indexed, which gives null where there is nothing"
)]

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::gate::{Fate, Refusal, Request};

/// A policy that requests are judged by.
#[derive(Debug, Clone)]
pub struct Iam {
    statements: Vec<Statement>,
    /// The key that everything is encrypted with.
    key: Option<Key>,
}

/// A key of the service for keys, as it is known to IAM.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// An alias of it, `alias/…`.
    pub alias: String,
    /// The region in which it is.
    pub region: String,
}

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    /// Operator, key, value.
    conditions: Vec<(String, String, String)>,
}

/// One thing that a request does.
struct Deed {
    action: &'static str,
    resource: String,
}

impl Iam {
    /// The policy in `json`.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(json: &str) -> Result<Self> {
        let policy: Value = serde_json::from_str(json)?;
        ensure!(policy["Version"] == "2012-10-17", "{policy:#}");
        let statements = policy["Statement"]
            .as_array()
            .context("it has no statements")?;
        let statements = statements.iter().map(statement);
        Ok(Self {
            statements: statements.collect::<Result<_>>()?,
            key: None,
        })
    }

    /// The same where everything that is stored is encrypted with a key, whose use the store asks IAM for.
    #[must_use]
    pub fn encrypted_with(self, key: Key) -> Self {
        let key = Some(key);
        Self { key, ..self }
    }

    /// What a call of another service does, by its action, what it is done to, and the keys of conditions.
    pub fn may(
        &self,
        action: &'static str,
        resource: &str,
        context: &[(&'static str, &str)],
    ) -> bool {
        let resource = resource.to_owned();
        let context = context
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        self.allows(&Deed { action, resource }, &context.collect())
    }

    /// What becomes of a request by this policy.
    pub fn judge(&self, request: &Request) -> Fate {
        let context = context(request);
        let deeds = deeds(request);
        let is_allowed = !deeds.is_empty() && deeds.iter().all(|deed| self.allows(deed, &context));
        if !is_allowed || !self.may_use_key(request) {
            return Fate::Refuse(Refusal::DENIED);
        }
        let lists = Deed {
            action: "s3:ListBucket",
            resource: format!("arn:aws:s3:::{}", request.bucket),
        };
        match self.allows(&lists, &BTreeMap::new()) {
            true => Fate::Pass,
            false => Fate::Hide,
        }
    }

    /// Whether the key may be used for what is asked: to make a key for an object, and to open one.
    fn may_use_key(&self, request: &Request) -> bool {
        let Some(key) = &self.key else {
            return true;
        };
        let actions: &[&'static str] = match request.method.as_str() {
            _ if request.key.is_empty() => &[],
            "GET" => &["kms:Decrypt"],
            // What is there before and what is sent now.
            "PUT" if request.asks("partNumber") => &["kms:Decrypt"],
            "POST" if request.asks("uploadId") => &["kms:Decrypt"],
            "PUT" | "POST" => &["kms:GenerateDataKey"],
            _ => &[],
        };
        let via = format!("s3.{}.amazonaws.com", key.region);
        let arn = format!("arn:aws:kms:{}:123456789012:key/{}", key.region, key.id);
        let context = [
            ("kms:ViaService", via.as_str()),
            ("kms:ResourceAliases", &key.alias),
        ];
        actions
            .iter()
            .all(|action| self.may(action, &arn, &context))
    }

    fn allows(&self, deed: &Deed, context: &BTreeMap<&str, String>) -> bool {
        let fitting: Vec<&Statement> = self
            .statements
            .iter()
            .filter(|statement| statement.fits(deed, context))
            .collect();
        !fitting.is_empty() && fitting.iter().all(|statement| statement.allows)
    }
}

impl Statement {
    fn fits(&self, deed: &Deed, context: &BTreeMap<&str, String>) -> bool {
        let met = |(operator, key, value): &(String, String, String)| {
            let found = context.get(key.as_str());
            match operator.as_str() {
                "Null" => (value == "true") == found.is_none(),
                // Of a key that may have several values, one has to be equal; here each has one.
                "Bool" | "StringEquals" | "ForAnyValue:StringEquals" => found == Some(value),
                "StringLike" => found.is_some_and(|found| is_like(value, found)),
                // What is not known is never met.
                _ => false,
            }
        };
        self.actions.iter().any(|action| action == deed.action)
            && self
                .resources
                .iter()
                .any(|resource| is_like(resource, &deed.resource))
            && self.conditions.iter().all(met)
    }
}

fn statement(value: &Value) -> Result<Statement> {
    let texts = |name: &str| -> Result<Vec<String>> {
        let all = value[name]
            .as_array()
            .with_context(|| format!("no {name} in {value:#}"))?;
        let texts = all.iter().map(|text| text.as_str().map(str::to_owned));
        texts.collect::<Option<_>>().context("a text")
    };
    let mut conditions = Vec::new();
    for (operator, keys) in value["Condition"].as_object().into_iter().flatten() {
        for (key, wanted) in keys.as_object().context("keys of a condition")? {
            let wanted = wanted.as_str().context("a text")?;
            conditions.push((operator.clone(), key.clone(), wanted.to_owned()));
        }
    }
    Ok(Statement {
        allows: value["Effect"] == "Allow",
        actions: texts("Action")?,
        resources: texts("Resource")?,
        conditions,
    })
}

/// What a request does to which objects; nothing where it is a request that no stage makes.
fn deeds(request: &Request) -> Vec<Deed> {
    let bucket = format!("arn:aws:s3:::{}", request.bucket);
    let object = format!("{bucket}/{}", request.key);
    let is_bucket = request.key.is_empty();
    let one = |action, resource: &String| {
        let resource = resource.clone();
        vec![Deed { action, resource }]
    };
    match request.method.as_str() {
        "GET" if is_bucket && request.asks("uploads") => {
            one("s3:ListBucketMultipartUploads", &bucket)
        }
        "GET" if is_bucket && request.asks("list-type") => one("s3:ListBucket", &bucket),
        "HEAD" if is_bucket => one("s3:ListBucket", &bucket),
        "GET" if request.asks("uploadId") => one("s3:ListMultipartUploadParts", &object),
        "GET" | "HEAD" if !is_bucket => one("s3:GetObject", &object),
        "PUT" | "POST" if !is_bucket => {
            let mut deeds = one("s3:PutObject", &object);
            if let Some(source) = request.headers.get("x-amz-copy-source") {
                let resource = format!("arn:aws:s3:::{}", source.trim_start_matches('/'));
                deeds.extend(one("s3:GetObject", &resource));
            }
            deeds
        }
        "POST" if is_bucket && request.asks("delete") => {
            let body = String::from_utf8_lossy(&request.body);
            let keys = body.split("<Key>").skip(1);
            let keys = keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0));
            keys.flat_map(|key| one("s3:DeleteObject", &format!("{bucket}/{key}")))
                .collect()
        }
        "DELETE" if request.asks("uploadId") => one("s3:AbortMultipartUpload", &object),
        "DELETE" if !is_bucket => one("s3:DeleteObject", &object),
        _ => Vec::new(),
    }
}

/// The keys of conditions that a request has.
fn context(request: &Request) -> BTreeMap<&'static str, String> {
    let mut context = BTreeMap::new();
    if matches!(request.method.as_str(), "PUT" | "POST") {
        let creates = request.creates().to_string();
        context.insert("s3:ObjectCreationOperation", creates);
        if let Some(condition) = request.headers.get("if-none-match") {
            context.insert("s3:if-none-match", condition.clone());
        }
    }
    if let Some(prefix) = request.query.get("prefix") {
        context.insert("s3:prefix", prefix.clone());
    }
    context
}

/// Whether a text fits a pattern of IAM: `*` is any run of characters, `?` any one.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = pattern.get(first.len_utf8()..).unwrap_or_default();
    let ends = || text.char_indices().map(|(at, _)| at).chain([text.len()]);
    match first {
        '*' => ends().any(|at| is_like(rest, text.get(at..).unwrap_or_default())),
        wanted => text.chars().next().is_some_and(|found| {
            (wanted == '?' || wanted == found)
                && is_like(rest, text.get(found.len_utf8()..).unwrap_or_default())
        }),
    }
}
