//! From what a role asks for to statements of IAM.

use std::collections::{BTreeMap, BTreeSet};

use super::rights::{Access, Place, Rights, Zone, escaped};
use super::{Effect, Statement};
use crate::config::{Encryption, Keeper, Plan, StorePlan};

/// Keys of conditions by operator.
type Conditions = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

/// The statements of `rights`, zone by zone.
pub(super) fn of(plan: &Plan, rights: &Rights) -> Vec<Statement> {
    let account = Account::of(&plan.zones.store);
    let mut statements = Vec::new();
    for (zone, access) in &rights.zones {
        statements.extend(account.zone(*zone, access));
    }
    statements.extend(
        rights
            .project
            .as_ref()
            .map(|object| account.project(object)),
    );
    statements.extend(account.key(&plan.zones.store, rights));
    statements.extend(account.secrets(rights));
    statements
}

/// Where everything is.
struct Account<'p> {
    partition: &'static str,
    region: Option<&'p str>,
    /// Whether the store is Amazon's, which knows conditions that others do not, and keys.
    is_amazon: bool,
}

impl<'p> Account<'p> {
    fn of(store: &'p StorePlan) -> Self {
        let region = store.region.as_deref();
        let begins = |prefix| region.is_some_and(|region| region.starts_with(prefix));
        Self {
            partition: match () {
                () if begins("cn-") => "aws-cn",
                () if begins("us-gov-") => "aws-us-gov",
                () => "aws",
            },
            region,
            is_amazon: store.is_amazons(),
        }
    }

    fn zone(&self, zone: Zone, access: &Access) -> Vec<Statement> {
        let name = zone.name();
        let place = &access.place;
        let bucket = format!("arn:{}:s3:::{}", self.partition, place.bucket);
        let below = |patterns: &BTreeSet<String>| -> Vec<String> {
            let prefix = escaped(&place.prefix);
            let patterns = patterns.iter();
            patterns
                .map(|pattern| format!("{bucket}/{prefix}{pattern}"))
                .collect()
        };
        let mut statements = vec![allow(
            format!("Find{name}"),
            match access.unfinished.is_empty() {
                true => &["s3:ListBucket"],
                false => &["s3:ListBucket", "s3:ListBucketMultipartUploads"],
            },
            vec![bucket.clone()],
            "tells that an object is not there: without it the store says that it is forbidden, and the end of a log \
             could not be found",
        )];
        statements.push(allow(
            format!("Read{name}"),
            &["s3:GetObject"],
            below(&access.read),
            "reads objects",
        ));
        let created = below(&access.create);
        let sent = match access.create.is_empty() {
            true => Vec::new(),
            false => below(&access.sent),
        };
        statements.extend(self.creation(name, created, sent));
        statements.push(allow(
            format!("Write{name}"),
            &["s3:PutObject"],
            below(&access.write),
            match access.delete.is_superset(&access.write) {
                true => "writes files of tables, some of which are written over by design",
                false => "asks the store for its time, and notes when it was swept",
            },
        ));
        statements.push(allow(
            format!("Abandon{name}"),
            match access.unfinished.is_empty() {
                true => &["s3:AbortMultipartUpload"],
                false => &["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            },
            below(&access.sent.union(&access.unfinished).cloned().collect()),
            "forgets uploads that were never finished, which nobody can see",
        ));
        statements.push(allow(
            format!("Remove{name}"),
            &["s3:DeleteObject"],
            below(&access.delete),
            match zone {
                Zone::Warehouse => "removes files that no version of a table needs any more",
                _ if access.keep.is_empty() => {
                    "removes its own notes, and nothing that is landed or made"
                }
                _ => "removes what no manifest names",
            },
        ));
        statements.push(Statement {
            effect: Effect::Deny,
            ..allow(
                format!("Keep{name}"),
                &["s3:DeleteObject"],
                below(&access.keep),
                "leaves what was committed, whatever else allows",
            )
        });
        statements.retain(|statement| !statement.resources.is_empty());
        statements
    }

    /// The reading of the project file, of whatever version.
    fn project(&self, object: &Place) -> Statement {
        let (bucket, key) = (&object.bucket, escaped(&object.prefix));
        allow(
            "ReadProject".into(),
            &["s3:GetObject"],
            vec![format!("arn:{}:s3:::{bucket}/{key}", self.partition)],
            "reads the project file, which says everything that this function does",
        )
    }

    /// Objects are created and never written over, which Amazon itself sees to.
    fn creation(&self, zone: &str, created: Vec<String>, sent: Vec<String>) -> Vec<Statement> {
        let creates = allow(
            format!("CreateIn{zone}"),
            &["s3:PutObject"],
            created,
            "creates objects",
        );
        if !self.is_amazon {
            return vec![creates];
        }
        vec![
            Statement {
                conditions: condition("Null", "s3:if-none-match", "false"),
                purpose: "creates objects, under the condition that they are not there: none can be written over",
                ..creates
            },
            Statement {
                conditions: condition("Bool", "s3:ObjectCreationOperation", "false"),
                ..allow(
                    format!("UploadTo{zone}"),
                    &["s3:PutObject"],
                    sent,
                    "sends the parts of large objects, which become one by the statement before",
                )
            },
        ]
    }

    /// The use of the key that objects are encrypted with.
    fn key(&self, store: &StorePlan, rights: &Rights) -> Option<Statement> {
        let Some(Encryption::Service(Some(key))) = &store.encryption else {
            return None;
        };
        let needs_none = rights.zones.is_empty() && rights.project.is_none();
        if !self.is_amazon || needs_none {
            return None;
        }
        let writes = |zone: &Access| !zone.create.is_empty() || !zone.write.is_empty();
        let region = self.region.unwrap_or("*");
        let via = self
            .region
            .map(|region| format!("s3.{region}.amazonaws.com"));
        let mut conditions = match via {
            Some(via) => condition("StringEquals", "kms:ViaService", &via),
            None => condition("StringLike", "kms:ViaService", "s3.*.amazonaws.com"),
        };
        let key_of = |name: &str| format!("arn:{}:kms:{region}:*:key/{name}", self.partition);
        let resource = match key.split_once(":alias/") {
            // What an alias stands for is said by the key itself.
            Some((_, alias)) => {
                let alias = format!("alias/{alias}");
                conditions.extend(condition(
                    "ForAnyValue:StringEquals",
                    "kms:ResourceAliases",
                    &alias,
                ));
                key_of("*")
            }
            None if key.starts_with("alias/") => {
                conditions.extend(condition(
                    "ForAnyValue:StringEquals",
                    "kms:ResourceAliases",
                    key,
                ));
                key_of("*")
            }
            None if key.starts_with("arn:") => key.clone(),
            None => key_of(key),
        };
        Some(Statement {
            conditions,
            ..allow(
                "UseKey".into(),
                match rights.zones.values().any(writes) {
                    true => &["kms:Decrypt", "kms:GenerateDataKey"],
                    false => &["kms:Decrypt"],
                },
                vec![resource],
                "uses the key of [lake.s3], by way of the store alone",
            )
        })
    }

    fn secrets(&self, rights: &Rights) -> Vec<Statement> {
        let resources = |keeper: Keeper| -> Vec<String> {
            let values = rights.secrets.iter();
            let names = values.filter(|value| value.keeper == keeper);
            let arns: BTreeSet<String> = names.map(|value| self.arn(keeper, &value.name)).collect();
            arns.into_iter().collect()
        };
        let mut statements = vec![
            allow(
                "ReadSecrets".into(),
                &["secretsmanager:GetSecretValue"],
                resources(Keeper::Secrets),
                "reads the secrets that the settings of this stage refer to",
            ),
            allow(
                "ReadParameters".into(),
                &["ssm:GetParameter"],
                resources(Keeper::Parameters),
                "reads the parameters that the settings of this stage refer to",
            ),
        ];
        statements.retain(|statement| !statement.resources.is_empty());
        statements
    }

    fn arn(&self, keeper: Keeper, name: &str) -> String {
        let region = self.region.unwrap_or("*");
        let partition = self.partition;
        match keeper {
            _ if name.starts_with("arn:") => name.to_owned(),
            // The service puts six characters of its own behind a name.
            Keeper::Secrets => {
                let name = escaped(name);
                format!("arn:{partition}:secretsmanager:{region}:*:secret:{name}-??????")
            }
            Keeper::Parameters => {
                let name = escaped(name.trim_start_matches('/'));
                format!("arn:{partition}:ssm:{region}:*:parameter/{name}")
            }
        }
    }
}

fn allow(
    sid: String,
    actions: &[&'static str],
    resources: Vec<String>,
    purpose: &'static str,
) -> Statement {
    Statement {
        sid,
        effect: Effect::Allow,
        actions: actions.to_vec(),
        resources,
        conditions: Conditions::new(),
        purpose,
    }
}

fn condition(operator: &'static str, key: &'static str, value: &str) -> Conditions {
    BTreeMap::from([(operator, BTreeMap::from([(key, value.to_owned())]))])
}
