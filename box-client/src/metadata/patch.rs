//! Changes to a template's values, all or none of them.

use serde::Serialize;
use serde_json::Value;

/// A JSON Patch of a template's values: the changes are made in order, all or none. Keys are the
/// template's field keys.
///
/// ```
/// use box_client::MetadataPatch;
///
/// // Only if nobody has moved the stage on meanwhile.
/// let patch = MetadataPatch::new().test("stage", "Open").replace("stage", "Closed Won");
/// assert_eq!(patch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
#[must_use = "goes into an update"]
pub struct MetadataPatch(Vec<Change>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Change {
    op: &'static str,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

impl MetadataPatch {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value, whether there is one or not.
    pub fn add(self, key: &str, value: impl Into<Value>) -> Self {
        self.push("add", key, Some(value.into()), None)
    }

    /// Sets a value that has to be there.
    pub fn replace(self, key: &str, value: impl Into<Value>) -> Self {
        self.push("replace", key, Some(value.into()), None)
    }

    /// Removes a value that has to be there.
    pub fn remove(self, key: &str) -> Self {
        self.push("remove", key, None, None)
    }

    /// Goes on only if the value is this one; otherwise the update is a
    /// [`Conflict`](crate::ErrorKind::Conflict) with code `failed_json_patch_application`.
    pub fn test(self, key: &str, value: impl Into<Value>) -> Self {
        self.push("test", key, Some(value.into()), None)
    }

    /// Moves a value to another key.
    pub fn move_value(self, from: &str, to: &str) -> Self {
        self.push("move", to, None, Some(pointer(from)))
    }

    /// Copies a value to another key.
    pub fn copy_value(self, from: &str, to: &str) -> Self {
        self.push("copy", to, None, Some(pointer(from)))
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether doing it twice is doing it once. A test of the old value fails the second time.
    pub(super) fn is_idempotent(&self) -> bool {
        self.0
            .iter()
            .all(|change| matches!(change.op, "add" | "replace"))
    }

    fn push(
        mut self,
        op: &'static str,
        key: &str,
        value: Option<Value>,
        from: Option<String>,
    ) -> Self {
        self.0.push(Change {
            op,
            path: pointer(key),
            value,
            from,
        });
        self
    }
}

/// RFC 6901.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    proptest! {
        #[test]
        fn a_key_of_any_characters_names_itself(key in "\\PC{1,12}") {
            let mut values = Map::new();
            values.insert(key.clone(), json!("here"));
            let found = Value::Object(values).pointer(&pointer(&key)).cloned();
            prop_assert_eq!(found, Some(json!("here")));
        }
    }

    #[test]
    fn a_patch_is_written_as_rfc_6902_has_it() {
        let patch = MetadataPatch::new()
            .test("stage", "Open")
            .add("a/b", 1.5)
            .remove("old")
            .move_value("x", "y");
        assert_eq!(
            serde_json::to_value(&patch).unwrap(),
            json!([
                { "op": "test", "path": "/stage", "value": "Open" },
                { "op": "add", "path": "/a~1b", "value": 1.5 },
                { "op": "remove", "path": "/old" },
                { "op": "move", "path": "/y", "from": "/x" },
            ])
        );
    }
}
