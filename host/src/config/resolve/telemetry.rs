//! Where measurements go: URLs, headers and intervals.

use super::super::settings::TelemetrySettings;
use super::super::{ConfigError, TelemetryPlan, telemetry};
use super::{Key, Resolver};

impl Resolver<'_> {
    pub(super) fn telemetry(
        &self,
        settings: &TelemetrySettings,
        key: &Key,
    ) -> Result<TelemetryPlan, ConfigError> {
        let otlp = self.text(settings.otlp.as_deref(), &key.of("otlp"))?;
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if let Some(wrong) = otlp.as_ref().filter(|url| !is_url(url)) {
            let problem = "is not a URL that begins with http:// or https://";
            return Err(self.value(&key.of("otlp"), wrong, problem));
        }
        let expanded = self.texts(&settings.headers, &key.of("headers"))?;
        let headers = settings.headers.iter().zip(expanded);
        let headers = headers.map(|(written, header)| {
            let problem = "is not a header as NAME=VALUE";
            let (name, value) = telemetry::header(&header)
                .ok_or_else(|| self.value(&key.of("headers"), written, problem))?;
            let found_in = self.found_in(written, &key.of("headers"));
            Ok((name, value.found(&found_in)))
        });
        let written = telemetry::Written {
            headers: headers.collect::<Result<_, _>>()?,
            interval: self.duration(settings.interval.as_deref(), &key.of("interval"))?,
            emf: settings.emf,
            otlp,
        };
        Ok(TelemetryPlan::new(written, self.environment))
    }
}
