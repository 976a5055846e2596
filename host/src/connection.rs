//! Connection URLs: plain data for sources and warehouses, and the one place that takes secrets out of them.

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
    url.to_string()
}
