//! The JSON Schema of the settings, and a walk through it: it knows every key, so that nobody keeps a
//! second list of them for messages.

use serde_json::Value;

use super::settings::Settings;

/// The JSON Schema of the project file.
pub(super) fn root() -> Value {
    schemars::schema_for!(Settings).to_value()
}

/// What a setting is written as in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    Text,
    Integer,
    Boolean,
    Texts,
}

impl Shape {
    /// For "is a number, not …".
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Texts => "a list of texts",
        }
    }
}

/// One place in the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'s> {
    root: &'s Value,
    here: &'s Value,
}

impl<'s> Node<'s> {
    /// The top of the project file.
    pub(super) fn top(root: &'s Value) -> Self {
        Self { root, here: root }
    }

    /// What `key` is below this table: a setting of that name, or an entry of a table with free names.
    pub(super) fn child(self, key: &str) -> Option<Self> {
        let table = self.target();
        let here = match table.get("properties") {
            Some(properties) => properties.get(key)?,
            None => table.get("additionalProperties")?,
        };
        Some(Self { here, ..self })
    }

    /// The settings of this table; empty where names are free.
    pub(super) fn keys(self) -> Vec<String> {
        self.target()
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The setting of this table whose name is nearest to `key`, where one is near enough to be meant.
    pub(super) fn nearest(self, key: &str) -> Option<String> {
        const ALIKE: f64 = 0.7;
        self.keys()
            .into_iter()
            .map(|known| (strsim::jaro_winkler(key, &known), known))
            .filter(|(alike, _)| *alike > ALIKE)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, known)| known)
    }

    /// What is written here.
    pub(super) fn shape(self) -> Shape {
        let kind = self.target().get("type");
        let is = |name: &str| match kind {
            Some(Value::String(kind)) => kind == name,
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
            _ => false,
        };
        if is("object") {
            Shape::Table
        } else if is("array") {
            Shape::Texts
        } else if is("integer") {
            Shape::Integer
        } else if is("boolean") {
            Shape::Boolean
        } else {
            Shape::Text
        }
    }

    /// How the value may look, as TOML.
    pub(super) fn example(self) -> Option<String> {
        let example = self.here.get("examples")?.get(0)?;
        Some(example.to_string())
    }

    /// The schema itself, behind any `$ref`.
    fn target(self) -> &'s Value {
        self.here
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(self.here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(path: &[&str]) -> Option<Shape> {
        let root = root();
        path.iter()
            .try_fold(Node::top(&root), |node, key| node.child(key))
            .map(Node::shape)
    }

    #[test]
    fn every_setting_has_its_shape() {
        assert_eq!(shape_of(&["limits"]), Some(Shape::Table));
        assert_eq!(shape_of(&["limits", "memory"]), Some(Shape::Text));
        assert_eq!(shape_of(&["limits", "log_lines"]), Some(Shape::Integer));
        assert_eq!(shape_of(&["source", "any", "exclude"]), Some(Shape::Texts));
        assert_eq!(
            shape_of(&["source", "any", "table", "any", "key"]),
            Some(Shape::Texts)
        );
        assert_eq!(
            shape_of(&["schedule", "any", "reconcile"]),
            Some(Shape::Boolean)
        );
        assert_eq!(shape_of(&["limits", "memroy"]), None);
    }

    #[test]
    fn every_setting_has_an_example_and_a_description() {
        let root = root();
        let mut open = vec![("".to_owned(), Node::top(&root))];
        let mut seen = 0;
        while let Some((path, node)) = open.pop() {
            for key in node.keys() {
                let child = node.child(&key).expect("a key of this table");
                let path = format!("{path}.{key}");
                assert!(child.here.get("description").is_some(), "{path}");
                if child.shape() == Shape::Table {
                    open.push((path.clone(), child));
                    open.extend(child.child("any").map(|entry| (path, entry)));
                } else {
                    assert!(child.example().is_some(), "{path}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 30, "{seen}");
    }
}
