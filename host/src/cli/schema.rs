//! `schema`: the JSON Schema of the project file.

use clap::Args;

use super::answer::Answer;

/// Print the JSON Schema of tidemill.toml, for editors and checks.
///
/// Example: tidemill schema > tidemill.schema.json
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn answer(self) -> Answer {
        let schema = crate::config::json_schema();
        Answer::new(format!("{schema:#}\n"), &schema)
    }
}
