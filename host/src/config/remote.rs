//! Values that are kept in a service of Amazon's: which settings refer to which of them, without asking for any.

use toml::Value;

use super::document::Document;

/// A value that a setting refers to by `${aws-secret:NAME#KEY}` or `${aws-ssm:NAME}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteValue {
    /// The setting: `["source", "totesys", "url"]`.
    pub setting: Vec<String>,
    /// Where the value is kept.
    pub service: RemoteService,
    /// What it is called there: a name, a path or an ARN.
    pub name: String,
}

/// A service that keeps values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemoteService {
    /// AWS Secrets Manager.
    SecretsManager,
    /// The parameters of AWS Systems Manager.
    Parameters,
}

/// Every value of these services that `document` refers to, in the order of the settings.
pub(super) fn values(document: &Document) -> Vec<RemoteValue> {
    let mut found = Vec::new();
    for (key, value) in document.values() {
        walk(&mut vec![key.clone()], value, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn walk(setting: &mut Vec<String>, value: &Value, found: &mut Vec<RemoteValue>) {
    match value {
        Value::String(text) => found.extend(references(text).filter_map(|reference| {
            let (service, name) = remote(reference)?;
            let setting = setting.clone();
            Some(RemoteValue {
                setting,
                service,
                name,
            })
        })),
        // The entries of a list are one setting.
        Value::Array(entries) => entries.iter().for_each(|entry| walk(setting, entry, found)),
        Value::Table(table) => {
            for (key, value) in table {
                setting.push(key.clone());
                walk(setting, value, found);
                setting.pop();
            }
        }
        _ => {}
    }
}

/// What stands between `${` and `}` in a text, where the dollar is not doubled.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("${").filter_map(|(at, start)| {
        let is_plain = text.get(..at).is_some_and(|before| before.ends_with('$'));
        let (reference, _) = text.get(at + start.len()..)?.split_once('}')?;
        (!is_plain).then_some(reference)
    })
}

fn remote(reference: &str) -> Option<(RemoteService, String)> {
    let (kind, name) = reference.split_once(':')?;
    Some(match kind {
        // Behind the last `#` is the key within the secret.
        "aws-secret" => {
            let name = name.rsplit_once('#').map_or(name, |(name, _)| name);
            (RemoteService::SecretsManager, name.to_owned())
        }
        "aws-ssm" => (RemoteService::Parameters, name.to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_stand() {
        let text = r#"
name = "$${aws-secret:not/one}"
[lake]
modules = "s3://${aws-ssm:/tidemill/bucket}/modules"
[source.totesys]
url = "postgresql://${aws-secret:db#user}:${aws-secret:db#password}@${env:HOST}/totesys"
exclude = ["a", "${aws-ssm:excluded}"]
"#;
        let document = Document::parse(text, Path::new("tidemill.toml")).expect("a good file");
        let found = values(&document).into_iter().map(|value| {
            let setting = value.setting.join(".");
            (setting, value.service, value.name)
        });
        let value =
            |setting: &str, service, name: &str| (setting.to_owned(), service, name.to_owned());
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                value(
                    "lake.modules",
                    RemoteService::Parameters,
                    "/tidemill/bucket"
                ),
                value(
                    "source.totesys.exclude",
                    RemoteService::Parameters,
                    "excluded"
                ),
                value("source.totesys.url", RemoteService::SecretsManager, "db"),
            ]
        );
    }
}
