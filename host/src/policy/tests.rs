use std::path::Path;

use serde_json::Value;

use super::*;
use crate::config::{self, Environment};
use crate::error::Classify as _;

const PROJECT: &str = r#"
[lake]
ingestion = "s3://acme-ingestion"
processed = "s3://acme-lake/totesys/processed"
modules   = "s3://acme-lake/totesys/modules"

[lake.s3]
region  = "eu-west-2"
kms_key = "alias/warehouse"

[source.totesys]
url = "${aws-secret:prod/totesys#url}"

[source.crm]
url = "${aws-ssm:/prod/crm/url}"

[warehouse]
url = "postgresql://loader:${aws-secret:prod/star#password}@star/star"

[transform.dim_staff]
module = "dim-staff@1"
source = "totesys"

[transform._odd.name]
module = "fact-payment@1.2.3"
source = "totesys"
"#;

fn plan(text: &str, variables: &[(&str, &str)]) -> Plan {
    let environment: Environment = variables.iter().copied().collect();
    let (file, base) = (Path::new("tidemill.toml"), Path::new("/project"));
    config::parse(text, file, base, &environment, &[]).expect("a good project")
}

fn policy(text: &str, variables: &[(&str, &str)], role: Role) -> Policy {
    of(&plan(text, variables), role, None).expect("it needs something")
}

const ROLES: [Role; 9] = [
    Role::Extract,
    Role::Transform,
    Role::Load,
    Role::Run,
    Role::Serve,
    Role::Sweep,
    Role::Verify,
    Role::Doctor,
    Role::Publish,
];

fn project() -> String {
    PROJECT.replace("[transform._odd.name]", "[transform.\"_odd name\"]")
}

#[test]
fn policies_at_amazon_stay() {
    for role in ROLES {
        let policy = policy(&project(), &[], role);
        insta::assert_snapshot!(
            format!("{role}"),
            serde_json::to_string_pretty(&policy).expect("plain data")
        );
    }
}

#[test]
fn a_store_of_another_kind_is_told_no_condition_that_it_does_not_know() {
    let endpoint = [("AWS_ENDPOINT_URL_S3", "https://minio.example.org:9000")];
    for role in ROLES {
        let policy = policy(&project(), &endpoint, role);
        for statement in &policy.statements {
            let is_about_a_key = statement
                .actions
                .iter()
                .any(|action| action.starts_with("kms:"));
            assert!(
                statement.conditions.is_empty() && !is_about_a_key,
                "{role}: {}",
                statement.sid
            );
        }
    }
    let regional = [("AWS_ENDPOINT_URL_S3", "https://s3.eu-west-2.amazonaws.com")];
    let policy = policy(&project(), &regional, Role::Extract);
    assert!(
        policy
            .statements
            .iter()
            .any(|statement| !statement.conditions.is_empty())
    );
}

/// What a policy allows to be done to an object, as IAM reads it, were all conditions met.
fn allows(policy: &Policy, action: &str, object: &str) -> bool {
    let arn = format!("arn:aws:s3:::{object}");
    let fits = |statement: &&Statement| {
        let mut resources = statement.resources.iter();
        statement.actions.contains(&action) && resources.any(|resource| is_like(resource, &arn))
    };
    let fitting: Vec<&Statement> = policy.statements.iter().filter(fits).collect();
    !fitting.is_empty()
        && fitting
            .iter()
            .all(|statement| statement.effect == Effect::Allow)
}

/// Whether a text fits a pattern in which a star is any run of characters.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| is_like(rest, text.get(at..).unwrap_or_default()))
        }),
    }
}

#[test]
fn nobody_may_remove_what_is_landed_or_made_and_only_sweeping_what_may_be_nobodys() {
    let landed = "acme-ingestion/totesys/staff/2026/11/21/run/part-00000.parquet";
    let made = "acme-lake/totesys/processed/dim_staff/2026/11/21/run/part-00000.parquet";
    let records = [
        "acme-ingestion/totesys/_manifests/0000000001.json",
        "acme-lake/totesys/processed/_manifests/0000000001.json",
        "acme-lake/totesys/modules/_promotions/0000000001.json",
        "acme-lake/totesys/modules/dim-staff/1.0.0/module.wasm",
    ];
    for role in ROLES {
        let policy = policy(&project(), &[], role);
        let removes = |object: &str| allows(&policy, "s3:DeleteObject", object);
        assert_eq!(removes(landed), role == Role::Sweep, "{role}");
        assert_eq!(removes(made), role == Role::Sweep, "{role}");
        for record in records {
            assert!(!removes(record), "{role} {record}");
        }
        for statement in &policy.statements {
            let writes = statement.actions.contains(&"s3:PutObject");
            assert!(
                !writes || !statement.conditions.is_empty(),
                "{role}: {}",
                statement.sid
            );
        }
    }
}

#[test]
fn stages_keep_out_of_each_others_zones() {
    let [extract, transform, load] =
        [Role::Extract, Role::Transform, Role::Load].map(|role| policy(&project(), &[], role));
    let landed = "acme-ingestion/totesys/staff/x";
    let made = "acme-lake/totesys/processed/dim_staff/x";
    assert!(allows(&extract, "s3:PutObject", landed) && !allows(&extract, "s3:GetObject", made));
    assert!(
        allows(&transform, "s3:GetObject", landed) && !allows(&transform, "s3:PutObject", landed)
    );
    // Another source, whose rows no module gets.
    assert!(!allows(
        &transform,
        "s3:GetObject",
        "acme-ingestion/crm/customer/x"
    ));
    assert!(allows(
        &transform,
        "s3:GetObject",
        "acme-lake/totesys/modules/dim-staff/1.0.0/module.wasm"
    ));
    assert!(!allows(
        &transform,
        "s3:GetObject",
        "acme-lake/totesys/modules/dim-date/1.0.0/module.wasm"
    ));
    assert!(allows(&load, "s3:GetObject", made) && !allows(&load, "s3:PutObject", made));
    assert!(!allows(&load, "s3:GetObject", landed));
    for kept in [
        "_current/totesys/staff/x",
        "_failures/dim_staff/x",
        "_begun/x",
    ] {
        let kept = format!("acme-lake/totesys/processed/{kept}");
        assert!(!allows(&load, "s3:GetObject", &kept), "{kept}");
    }
    assert!(allows(
        &load,
        "s3:GetObject",
        "acme-lake/totesys/processed/%5Fodd%20name/x"
    ));
}

#[test]
fn only_rows_are_sent_in_parts_and_forgotten() {
    for (role, allowed) in [
        (Role::Extract, "acme-ingestion/totesys/*.parquet"),
        (Role::Transform, "acme-lake/totesys/processed/*.parquet"),
    ] {
        let policy = policy(&project(), &[], role);
        for sid in ["Abandon", "UploadTo"] {
            let statements = policy.statements.iter();
            let mut resources = statements
                .filter(|statement| statement.sid.starts_with(sid))
                .flat_map(|statement| &statement.resources);
            let allowed = format!("arn:aws:s3:::{allowed}");
            assert!(
                resources.any(|resource| *resource == allowed),
                "{role} {sid}"
            );
            assert!(
                resources.all(|resource| resource.ends_with("/*.parquet")),
                "{role} {sid}"
            );
        }
    }
    for role in [Role::Load, Role::Verify, Role::Publish] {
        let policy = policy(&project(), &[], role);
        let mut actions = policy.statements.iter().flat_map(|s| &s.actions);
        assert!(
            !actions.any(|action| action.contains("Multipart")),
            "{role}"
        );
    }
}

#[test]
fn a_function_may_read_the_project_file_that_it_is_given() {
    let url = "s3://acme-code/prod/tidemill.toml";
    let plan = plan(&project(), &[]);
    for role in ROLES {
        let with = of(&plan, role, Some(url)).expect("a policy");
        let without = of(&plan, role, None).expect("a policy");
        let object = "acme-code/prod/tidemill.toml";
        assert!(allows(&with, "s3:GetObject", object), "{role}");
        assert!(!allows(&without, "s3:GetObject", object), "{role}");
        assert!(!allows(&with, "s3:PutObject", object), "{role}");
        assert!(
            !allows(&with, "s3:GetObject", "acme-code/prod/other"),
            "{role}"
        );
    }
    for wrong in [
        "tidemill.toml",
        "s3://acme-code",
        "s3://acme-code/",
        "s3://acme-code/a/",
    ] {
        let error = of(&plan, Role::Load, Some(wrong)).expect_err("no object");
        assert_eq!(error.to_string(), format!("`{wrong}` names no object"));
    }
}

fn secrets(policy: &Policy) -> Vec<&str> {
    let reading = policy
        .statements
        .iter()
        .filter(|s| s.sid == "ReadSecrets" || s.sid == "ReadParameters");
    reading
        .flat_map(|s| s.resources.iter().map(String::as_str))
        .collect()
}

#[test]
fn a_secret_is_for_the_stage_that_goes_there() {
    let source = "arn:aws:secretsmanager:eu-west-2:*:secret:prod/totesys-??????";
    let crm = "arn:aws:ssm:eu-west-2:*:parameter/prod/crm/url";
    let star = "arn:aws:secretsmanager:eu-west-2:*:secret:prod/star-??????";
    let of_role = |role| policy(&project(), &[], role);
    assert_eq!(secrets(&of_role(Role::Extract)), [source, crm]);
    assert_eq!(secrets(&of_role(Role::Transform)), [""; 0]);
    assert_eq!(secrets(&of_role(Role::Load)), [star]);
    assert_eq!(secrets(&of_role(Role::Run)), [star, source, crm]);
}

#[test]
fn a_warehouse_in_a_bucket_is_written_by_loading_alone() {
    let text = project().replace(
        "postgresql://loader:${aws-secret:prod/star#password}@star/star",
        "delta://s3://acme-star/public",
    );
    for (role, writes, removes) in [
        (Role::Extract, false, false),
        (Role::Transform, false, false),
        (Role::Load, true, true),
        (Role::Sweep, false, true),
        (Role::Verify, false, false),
    ] {
        let policy = policy(&text, &[], role);
        let rows = "acme-star/public/dim_staff/part-00000.parquet";
        let log = "acme-star/public/dim_staff/_delta_log/00000000000000000000.json";
        assert_eq!(allows(&policy, "s3:PutObject", log), writes, "{role}");
        assert_eq!(allows(&policy, "s3:DeleteObject", rows), removes, "{role}");
        assert_eq!(allows(&policy, "s3:DeleteObject", log), writes, "{role}");
    }
    insta::assert_snapshot!(
        "load_into_a_bucket",
        serde_json::to_string_pretty(&policy(&text, &[], Role::Load)).expect("plain data")
    );
}

#[test]
fn a_project_of_folders_is_told_that_it_needs_none() {
    let error = of(&plan("", &[]), Role::Extract, None).expect_err("folders");
    assert_eq!(
        error.to_string(),
        "extract needs no policy: the ingestion zone is a folder"
    );
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint().is_some_and(|hint| hint.contains("s3://")));
    let mixed = "[lake]\nprocessed = \"s3://acme\"\n[source.a]\nurl = \"sqlite://a\"";
    let mixed = plan(mixed, &[]);
    let policy = of(&mixed, Role::Transform, None).expect("one zone is a bucket");
    assert_eq!(
        policy.notes,
        [
            "the ingestion zone is a folder",
            "the modules zone is a folder"
        ]
    );
    let error = of(
        &plan("[lake]\ningestion = \"s3:///x\"", &[]),
        Role::Extract,
        None,
    )
    .expect_err("no bucket");
    assert_eq!(error.to_string(), "`s3:///x` names no bucket");
}

#[test]
fn what_is_not_known_here_is_said() {
    let text = project().replace(
        "postgresql://loader:${aws-secret:prod/star#password}@star/star",
        "${env:WAREHOUSE_URL}",
    );
    let policy = policy(&text, &[], Role::Load);
    assert!(
        policy
            .notes
            .iter()
            .any(|note| note.contains("WAREHOUSE_URL")),
        "{:?}",
        policy.notes
    );
}

#[test]
fn a_policy_is_json_as_iam_reads_it() {
    let json = serde_json::to_value(policy(&project(), &[], Role::Run)).expect("plain data");
    assert_eq!(json["Version"], "2012-10-17");
    let statements = json["Statement"].as_array().expect("statements");
    let mut sids: Vec<&str> = statements
        .iter()
        .filter_map(|s| s["Sid"].as_str())
        .collect();
    assert!(
        sids.iter()
            .all(|sid| sid.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    );
    sids.sort_unstable();
    sids.dedup();
    assert_eq!(sids.len(), statements.len());
    assert!(
        statements
            .iter()
            .all(|s| matches!(&s["Resource"], Value::Array(all) if !all.is_empty()))
    );
    assert!(json.get("notes").is_none() && statements.iter().all(|s| s.get("purpose").is_none()));
}

#[test]
fn a_wildcard_in_a_name_stands_for_itself() {
    let text = "[lake]\ningestion = \"s3://acme/a*b\"\n[source.\"what?\"]\nurl = \"sqlite://x\"";
    let policy = policy(text, &[], Role::Extract);
    let all: Vec<&String> = policy
        .statements
        .iter()
        .flat_map(|s| &s.resources)
        .collect();
    assert!(
        all.iter()
            .any(|r| *r == "arn:aws:s3:::acme/a${*}b/what${?}/*"),
        "{all:?}"
    );
}

#[test]
fn other_partitions_have_other_arns() {
    let text = project().replace("eu-west-2", "cn-north-1");
    let policy = policy(&text, &[], Role::Extract);
    assert!(
        policy
            .statements
            .iter()
            .all(|s| s.resources.iter().all(|r| r.starts_with("arn:aws-cn:")))
    );
}
