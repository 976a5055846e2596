//! Where an object is in a project, and what a stage makes of it.

use std::collections::BTreeSet;

use super::StoredObject;
use crate::error::{Classify, ErrorKind};
use crate::run::Stage;

/// The zones of a project, as far as events can come from them.
#[derive(Debug, Clone)]
pub struct Places {
    /// The URLs of the zones.
    zones: [(Zone, String); 3],
    /// The names of the sources.
    sources: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Ingestion,
    Processed,
    Modules,
}

impl Zone {
    fn name(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::Processed => "processed",
            Self::Modules => "modules",
        }
    }
}

/// What an object is to a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The manifest of a landing of this source, of this number.
    Landing(String, u64),
    /// The processed manifest of this number.
    Processed(u64),
    /// Nothing that this stage waits for, for this reason.
    Other(String),
}

/// Why an object is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is in no zone of the project.
    #[error("s3://{}/{} is in none of the project's zones: {zones}", object.bucket, object.key)]
    Elsewhere {
        /// The object.
        object: StoredObject,
        /// The zones.
        zones: String,
    },
}

impl Classify for PlaceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(
            "let the bucket of the zone notify this function, with the zone's prefix as the filter, or name the zone in \
             [lake] of the project file"
                .into(),
        )
    }
}

impl Places {
    /// The zones at these URLs, of a project with these sources.
    pub fn new(
        ingestion: &str,
        processed: &str,
        modules: &str,
        sources: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            zones: [
                (Zone::Ingestion, ingestion.to_owned()),
                (Zone::Processed, processed.to_owned()),
                (Zone::Modules, modules.to_owned()),
            ],
            sources: sources.into_iter().collect(),
        }
    }

    /// What `object` is to `stage`; `None` stands for all stages one after the other.
    ///
    /// # Errors
    /// `Config` when it is in no zone of the project.
    pub fn of(&self, object: &StoredObject, stage: Option<Stage>) -> Result<Place, PlaceError> {
        let Some((zone, key)) = self.zone_of(object) else {
            let zones = self.zones.iter().map(|(_, url)| url.as_str());
            return Err(PlaceError::Elsewhere {
                object: object.clone(),
                zones: zones.collect::<Vec<_>>().join(", "),
            });
        };
        let awaited = match stage {
            Some(Stage::Transform) => Some(Zone::Ingestion),
            Some(Stage::Load) => Some(Zone::Processed),
            Some(Stage::Extract) | None => None,
        };
        let other = |why: String| Ok(Place::Other(format!("{}: {why}", object.key)));
        let Some(number) = manifest_number(&key) else {
            return other("is no manifest".into());
        };
        if awaited != Some(zone) {
            let name = stage.map_or("run".to_owned(), |stage| stage.to_string());
            return other(format!(
                "is of the {} zone, and {name} begins with {}",
                zone.name(),
                awaited.map_or("a schedule".into(), |zone| format!(
                    "manifests of the {} zone",
                    zone.name()
                ))
            ));
        }
        match (zone, key.split_once("/_manifests/")) {
            (Zone::Processed, None) => Ok(Place::Processed(number)),
            (Zone::Ingestion, Some((source, _))) if self.sources.contains(source) => {
                Ok(Place::Landing(source.to_owned(), number))
            }
            (Zone::Ingestion, Some(_)) => other("is of no source of this project".into()),
            _ => other("is no manifest".into()),
        }
    }

    /// The zone that an object is in, and its key there. One zone may be below another.
    fn zone_of(&self, object: &StoredObject) -> Option<(Zone, String)> {
        let found = self.zones.iter().filter_map(|(zone, url)| {
            let location = url.strip_prefix("s3://")?;
            let (bucket, prefix) = location.split_once('/').unwrap_or((location, ""));
            let prefix = prefix.trim_end_matches('/');
            if bucket != object.bucket {
                return None;
            }
            let key = match prefix {
                "" => object.key.as_str(),
                prefix => object.key.strip_prefix(prefix)?.strip_prefix('/')?,
            };
            Some((prefix.len(), *zone, key.to_owned()))
        });
        let nearest = found.max_by_key(|(length, _, _)| *length)?;
        Some((nearest.1, nearest.2))
    }
}

/// The number of a manifest, where a key is one's: `…_manifests/0000000042.json`.
fn manifest_number(key: &str) -> Option<u64> {
    const DIGITS: usize = 10;
    let (folder, name) = key.rsplit_once('/')?;
    let digits = name.strip_suffix(".json")?;
    let is_folder = folder == "_manifests" || folder.ends_with("/_manifests");
    let is_number = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_digit());
    (is_folder && is_number).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::new(
            "s3://acme-in",
            "s3://acme/lake/processed/",
            "s3://acme/lake",
            ["totesys".to_owned()],
        )
    }

    fn place(bucket: &str, key: &str, stage: Option<Stage>) -> Result<Place, String> {
        let object = StoredObject {
            bucket: bucket.into(),
            key: key.into(),
        };
        places()
            .of(&object, stage)
            .map_err(|error| error.to_string())
    }

    fn other(word: &str) -> Result<Place, String> {
        Ok(Place::Other(word.into()))
    }

    #[test]
    fn a_manifest_is_known_by_zone_and_number() {
        let (landing, processed) = (
            "totesys/_manifests/0000000042.json",
            "lake/processed/_manifests/0000000007.json",
        );
        assert_eq!(
            place("acme-in", landing, Some(Stage::Transform)),
            Ok(Place::Landing("totesys".into(), 42))
        );
        assert_eq!(
            place("acme", processed, Some(Stage::Load)),
            Ok(Place::Processed(7))
        );
    }

    #[test]
    fn a_manifest_of_another_stage_is_ignored_with_a_word() {
        let landing = "totesys/_manifests/0000000042.json";
        assert_eq!(
            place("acme-in", landing, Some(Stage::Load)),
            other(&format!(
                "{landing}: is of the ingestion zone, and load begins with manifests of the processed zone"
            ))
        );
        assert_eq!(
            place("acme-in", landing, None),
            other(&format!(
                "{landing}: is of the ingestion zone, and run begins with a schedule"
            ))
        );
        let promotion = "lake/_promotions/0000000001.json";
        assert_eq!(
            place("acme", promotion, Some(Stage::Transform)),
            other(&format!("{promotion}: is no manifest"))
        );
    }

    #[test]
    fn what_is_no_manifest_is_ignored_with_a_word() {
        for key in [
            "totesys/staff/2026/11/22/run/part-00000.parquet",
            "totesys/_begun/run-0000000001.json",
            "totesys/_manifests/42.json",
            "totesys/_manifests/00000000x2.json",
            "totesys/_manifests/0000000042.json.bak",
            "_manifests/0000000042.json",
            "0000000042.json",
        ] {
            assert_eq!(
                place("acme-in", key, Some(Stage::Transform)),
                other(&format!("{key}: is no manifest"))
            );
        }
        let other_source = "cars/_manifests/0000000001.json";
        assert_eq!(
            place("acme-in", other_source, Some(Stage::Transform)),
            other(&format!("{other_source}: is of no source of this project"))
        );
    }

    #[test]
    fn what_is_in_no_zone_is_refused_by_name() {
        let zones = "s3://acme-in, s3://acme/lake/processed/, s3://acme/lake";
        for (bucket, key) in [
            ("acme-out", "totesys/_manifests/0000000001.json"),
            ("acme", "lakeside/_manifests/0000000001.json"),
            ("acme", "_manifests/0000000001.json"),
        ] {
            assert_eq!(
                place(bucket, key, Some(Stage::Load)),
                Err(format!(
                    "s3://{bucket}/{key} is in none of the project's zones: {zones}"
                ))
            );
        }
    }
}
