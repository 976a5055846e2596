//! The project file with every key's place, and what variables and flags put over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::schema::{Node, Shape};
use super::{ConfigError, Place, Setting, Settings};

/// A setting from outside the file: a variable or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    place: Place,
    path: Vec<String>,
    value: String,
}

impl Assignment {
    /// An assignment made by `place`.
    pub(super) fn new(place: Place, path: Vec<String>, value: String) -> Self {
        Self { place, path, value }
    }

    /// The flag `--set KEY=VALUE`.
    ///
    /// # Errors
    /// [`ConfigError::Assignment`] when there is no `=`. Whether the key exists is checked by `load`.
    pub fn flag(text: &str) -> Result<Self, ConfigError> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| ConfigError::Assignment(text.to_owned()))?;
        Ok(Self {
            place: Place::Flag(format!("--set {key}")),
            path: key.trim().split('.').map(str::to_owned).collect(),
            value: value.to_owned(),
        })
    }
}

/// Settings whose keys and types are checked, and the place that each was written at.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    schema: serde_json::Value,
    values: Table,
    places: BTreeMap<Vec<String>, Place>,
}

impl Document {
    /// The settings in `text`, which was read from `file`.
    pub(super) fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let lines = Lines { text, file };
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        };
        let tree = DeTable::parse(text).map_err(syntax)?;
        let values = text.parse::<Table>().map_err(syntax)?;
        let schema = super::schema::root();
        let mut places = BTreeMap::new();
        check_table(tree.get_ref(), &[], Node::top(&schema), &lines, &mut places)?;
        Ok(Self {
            file: file.to_path_buf(),
            schema,
            values,
            places,
        })
    }

    /// Puts a value over what the file says.
    pub(super) fn assign(&mut self, assignment: &Assignment) -> Result<(), ConfigError> {
        let Assignment { place, path, value } = assignment;
        let mut node = Node::top(&self.schema);
        for depth in 0..path.len() {
            let (above, rest) = path.split_at(depth);
            let Some(key) = rest.first() else { break };
            node = known_child(node, above, key, place)?;
        }
        let value = typed(value, node, path, place)?;
        if let Some((key, above)) = path.split_last() {
            let table = above.iter().try_fold(&mut self.values, |table, key| {
                table
                    .entry(key.clone())
                    .or_insert_with(|| Value::Table(Table::new()))
                    .as_table_mut()
            });
            if let Some(table) = table {
                table.insert(key.clone(), value);
                self.places.insert(path.clone(), place.clone());
            }
        }
        Ok(())
    }

    /// The setting that the parts of a variable's name mean: `["SOURCE", "TOTESYS", "URL"]`.
    ///
    /// Names that are free (sources, tables) match those in the file whatever their case and hyphens.
    pub(super) fn path_of(&self, parts: &[&str]) -> Vec<String> {
        let mut table = Some(&self.values);
        parts
            .iter()
            .map(|part| {
                let part = part.to_lowercase();
                let key = table
                    .into_iter()
                    .flat_map(|table| table.keys())
                    .find(|key| key.to_lowercase().replace('-', "_") == part)
                    .cloned()
                    .unwrap_or(part);
                table = table.and_then(|table| table.get(&key)?.as_table());
                key
            })
            .collect()
    }

    /// Whether `key` is a setting at the top of the file.
    pub(super) fn is_top_level(&self, key: &str) -> bool {
        Node::top(&self.schema).child(key).is_some()
    }

    /// The settings as written.
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::deserialize(self.values.clone()).map_err(|error| ConfigError::Syntax {
            place: Place::File(self.file.clone(), None),
            message: error.message().to_owned(),
        })
    }

    /// Where the setting, or else the nearest table around it, was written.
    fn place(&self, path: &[String]) -> Place {
        (0..=path.len())
            .rev()
            .filter_map(|length| path.get(..length))
            .find_map(|path| self.places.get(path).cloned())
            .unwrap_or_else(|| Place::File(self.file.clone(), None))
    }

    /// The text of a setting, its references unresolved; `None` where it is no text.
    pub(super) fn text(&self, path: &[String]) -> Option<&str> {
        let (key, above) = path.split_last()?;
        let table = above
            .iter()
            .try_fold(&self.values, |table, key| table.get(key)?.as_table())?;
        table.get(key)?.as_str()
    }

    /// Whether the setting was written anywhere.
    pub(super) fn has(&self, path: &[String]) -> bool {
        self.places.contains_key(path)
    }

    /// The setting at `path`, for an error.
    pub(super) fn setting(&self, path: &[String]) -> Box<Setting> {
        setting(self.place(path), path)
    }

    /// How the setting may look.
    pub(super) fn example(&self, path: &[String]) -> String {
        path.iter()
            .try_fold(Node::top(&self.schema), |node, key| node.child(key))
            .and_then(Node::example)
            .unwrap_or_default()
    }
}

/// The key as TOML writes it: `source.totesys.table."hr.staff".key`.
fn dotted(path: &[String]) -> String {
    let bare = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    path.iter()
        .map(|key| {
            if bare(key) {
                key.clone()
            } else {
                format!("\"{key}\"")
            }
        })
        .collect::<Vec<_>>()
        .join(".")
}

fn setting(place: Place, path: &[String]) -> Box<Setting> {
    Box::new(Setting {
        place,
        key: dotted(path),
    })
}

/// A text that knows its lines.
struct Lines<'t> {
    text: &'t str,
    file: &'t Path,
}

impl Lines<'_> {
    fn place(&self, at: usize) -> Place {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::File(self.file.to_path_buf(), Some(line))
    }
}

fn check_table(
    table: &DeTable<'_>,
    above: &[String],
    node: Node<'_>,
    lines: &Lines<'_>,
    places: &mut BTreeMap<Vec<String>, Place>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let place = lines.place(key.span().start);
        let child = known_child(node, above, key.get_ref(), &place)?;
        let mut path = above.to_vec();
        path.push(key.get_ref().to_string());
        match (child.shape(), value.get_ref()) {
            (Shape::Table, DeValue::Table(inner)) => {
                check_table(inner, &path, child, lines, places)?;
            }
            (Shape::Text, DeValue::String(_))
            | (Shape::Integer, DeValue::Integer(_))
            | (Shape::Boolean, DeValue::Boolean(_)) => {}
            (Shape::Texts, DeValue::Array(items))
                if items
                    .iter()
                    .all(|item| matches!(item.get_ref(), DeValue::String(_))) => {}
            (expected, found) => {
                return Err(ConfigError::Type {
                    setting: setting(place, &path),
                    found: found_name(found),
                    expected: expected.name(),
                    example: child.example(),
                });
            }
        }
        places.insert(path, place);
    }
    Ok(())
}

fn known_child<'s>(
    node: Node<'s>,
    above: &[String],
    key: &str,
    place: &Place,
) -> Result<Node<'s>, ConfigError> {
    node.child(key).ok_or_else(|| {
        let mut path = above.to_vec();
        path.push(key.to_owned());
        ConfigError::UnknownKey {
            setting: setting(place.clone(), &path),
            nearest: node.nearest(key),
            known: node.keys(),
        }
    })
}

/// The value of a variable or a flag as the type its setting has. Lists are separated by commas.
fn typed(text: &str, node: Node<'_>, path: &[String], place: &Place) -> Result<Value, ConfigError> {
    let value = match node.shape() {
        Shape::Text => Some(Value::String(text.to_owned())),
        Shape::Integer => text.trim().parse().ok().map(Value::Integer),
        Shape::Boolean => text.trim().parse().ok().map(Value::Boolean),
        Shape::Texts => texts(text.trim()),
        Shape::Table => None,
    };
    value.ok_or_else(|| ConfigError::Type {
        setting: setting(place.clone(), path),
        found: "a text",
        expected: node.shape().name(),
        example: node.example(),
    })
}

/// A list as the file has it, `["a", "b"]`, or as people write one on a command line, `a,b`.
fn texts(text: &str) -> Option<Value> {
    if text.starts_with('[') {
        let list = format!("list = {text}").parse::<Table>().ok()?;
        let list = list.get("list").filter(|_| list.len() == 1)?;
        let is_texts = list.as_array()?.iter().all(Value::is_str);
        return is_texts.then(|| list.clone());
    }
    let items = text.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    Some(Value::Array(
        items.map(|item| Value::String(item.to_owned())).collect(),
    ))
}

fn found_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
