//! Connection URLs: plain data for sources and warehouses, and the one place that takes secrets out of them.
//!
//! How settings become a live connection is said here only where several rooms need the same: [`postgres`] for sources
//! and warehouses, [`aws`] for zones, warehouses and secrets; what goes over those that are paid for by the request is counted
//! in [`traffic`], and whether they answer is known in [`contact`].

pub mod aws;
pub mod contact;
pub mod postgres;
pub mod traffic;

/// Query parameters of a connection URL that hold a secret.
const SECRET_PARAMETERS: [&str; 2] = ["password", "sslpassword"];

/// A URL with its password replaced, for messages.
pub fn redact(text: &str) -> String {
    let Ok(mut url) = ::url::Url::parse(text) else {
        return match text.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…"),
            None => "…".into(),
        };
    };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return format!("{}://…", url.scheme());
    }
    if let Some(query) = url.query() {
        let redacted: Vec<String> = query.split('&').map(redact_parameter).collect();
        url.set_query(Some(&redacted.join("&")));
    }
    url.to_string()
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.contains(&name) => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            (
                "postgresql://ann:secret@db:5432/t",
                "postgresql://ann:***@db:5432/t",
            ),
            (
                "postgresql://db/t?user=ann&password=secret",
                "postgresql://db/t?user=ann&password=***",
            ),
            ("postgresql://ann:secret@a:1,b:2/t", "postgresql://…"),
            ("secret", "…"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }
}
