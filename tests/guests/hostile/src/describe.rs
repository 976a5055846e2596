//! The description that a script asks for.

use crate::bindings::tidemill::transform::types::{
    Delivery, Description, Input, LoadMode, Output, Role,
};
use crate::script::{Script, Words};

pub(crate) fn description(script: &Script) -> Description {
    let text = |name| script.setting(name).expect("a setting").text();
    let inputs: Vec<Input> = script.all("input").map(input).collect();
    let copies = script
        .setting("inputs")
        .map_or(1, |mut words| words.number());
    Description {
        name: text("name"),
        version: text("version"),
        inputs: (0..copies).flat_map(|_| inputs.clone()).collect(),
        output: Output {
            table: text("output"),
            schema: script.setting("output-schema").expect("a schema").bytes(),
            primary_key: script.setting("primary-key").map_or(vec![], Words::texts),
            mode: mode(script.setting("mode").expect("a mode").word()),
        },
        properties: script
            .all("property")
            .map(|mut words| (words.text(), words.text()))
            .collect(),
    }
}

fn input(mut words: Words<'_>) -> Input {
    Input {
        table: words.text(),
        schema: words.bytes(),
        delivery: match words.word() {
            "changes" => Delivery::Changes,
            _ => Delivery::Current,
        },
        role: match words.word() {
            "lookup" => Role::Lookup,
            _ => Role::Streamed,
        },
        key: words.texts(),
    }
}

fn mode(word: &str) -> LoadMode {
    match word {
        "upsert" => LoadMode::Upsert,
        "append-versions" => LoadMode::AppendVersions,
        "overwrite" => LoadMode::Overwrite,
        _ => LoadMode::Scd2,
    }
}
