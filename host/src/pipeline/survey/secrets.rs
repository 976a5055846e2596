//! Where the secrets of a project come from.

use crate::config::{Plan, Secret};
use crate::pipeline::report::PlannedSecret;

/// Every setting whose value may be secret, with the place that it comes from; none of them is read for it.
pub(in crate::pipeline) fn secrets(plan: &Plan) -> Vec<PlannedSecret> {
    let planned = |setting: String, secret: &Secret| {
        let from = secret.found_in()?.to_owned();
        Some(PlannedSecret { setting, from })
    };
    let sources = plan.sources.iter();
    let urls = sources.map(|(name, source)| (format!("source.{name}.url"), &source.url));
    let urls = urls.chain([("warehouse.url".to_owned(), &plan.warehouse.url)]);
    let collector = plan.telemetry.collector.iter();
    let headers = collector.flat_map(|collector| &collector.headers);
    let headers = headers.map(|(name, value)| (format!("telemetry.headers {name}"), value));
    let mut secrets: Vec<PlannedSecret> = urls
        .chain(headers)
        .filter_map(|(setting, secret)| planned(setting, secret))
        .collect();
    if is_in_buckets(plan) {
        secrets.push(PlannedSecret {
            setting: "credentials of the store".to_owned(),
            from: plan.zones.store.credentials_found_in(),
        });
    }
    secrets
}

/// Whether anything is in a bucket, as far as that is known here.
fn is_in_buckets(plan: &Plan) -> bool {
    let zones = &plan.zones;
    let warehouse = plan.warehouse.url.expose();
    [&zones.ingestion, &zones.processed, &zones.modules]
        .iter()
        .any(|url| url.starts_with("s3://"))
        || warehouse.is_ok_and(|url| url.starts_with("delta://s3://"))
}
