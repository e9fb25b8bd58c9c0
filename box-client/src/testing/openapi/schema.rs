//! From OpenAPI 3.0 schemas to JSON Schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const DEFINITIONS: &str = "/components/schemas/";

/// Keywords that mean the same in both.
const KEPT: &[&str] = &[
    "type",
    "enum",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "uniqueItems",
];

/// The schema with all that it refers to.
pub(super) fn translate(document: &Value, schema: &Value) -> Value {
    let mut translation = Translation {
        document,
        definitions: BTreeMap::new(),
    };
    let mut root = translation.schema(schema);
    if let Some(root) = root.as_object_mut() {
        root.insert("$defs".to_owned(), json!(translation.definitions));
    }
    root
}

struct Translation<'a> {
    document: &'a Value,
    definitions: BTreeMap<String, Value>,
}

impl Translation<'_> {
    fn schema(&mut self, schema: &Value) -> Value {
        let Some(schema) = schema.as_object() else {
            return schema.clone();
        };
        let mut translated = match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.reference(reference),
            None => self.keywords(schema),
        };
        if schema.get("nullable") != Some(&Value::Bool(true)) {
            return translated.into();
        }
        if let Some(Value::String(kind)) = translated.get("type").cloned()
            && !translated.contains_key("enum")
        {
            translated.insert("type".to_owned(), json!([kind, "null"]));
            return translated.into();
        }
        json!({ "anyOf": [translated, { "type": "null" }] })
    }

    fn keywords(&mut self, schema: &Map<String, Value>) -> Map<String, Value> {
        let mut translated = Map::new();
        for (keyword, value) in schema {
            let (keyword, value) = match (keyword.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    let properties = properties
                        .iter()
                        .map(|(name, s)| (name.clone(), self.schema(s)));
                    ("properties", properties.collect::<Map<_, _>>().into())
                }
                ("required", Value::Array(names)) => ("required", defined(schema, names)),
                ("items" | "additionalProperties" | "not", value) => {
                    (keyword.as_str(), self.schema(value))
                }
                ("allOf" | "anyOf", Value::Array(schemas)) => (
                    keyword.as_str(),
                    schemas.iter().map(|s| self.schema(s)).collect(),
                ),
                // Box lists `integer` beside `number`: an integer is both.
                ("oneOf", Value::Array(schemas)) => {
                    ("anyOf", schemas.iter().map(|s| self.schema(s)).collect())
                }
                (keyword, value) if KEPT.contains(&keyword) => (keyword, value.clone()),
                _ => continue,
            };
            translated.insert(keyword.to_owned(), value);
        }
        translated
    }

    fn reference(&mut self, reference: &str) -> Map<String, Value> {
        let name = reference.rsplit('/').next().unwrap_or_default();
        if !self.definitions.contains_key(name) {
            // Entered first, so that a schema may refer to itself.
            self.definitions.insert(name.to_owned(), Value::Bool(true));
            let schema = self.document.pointer(&format!("{DEFINITIONS}{name}"));
            let schema = schema.cloned().unwrap_or(Value::Bool(true));
            let translated = self.schema(&schema);
            self.definitions.insert(name.to_owned(), translated);
        }
        Map::from_iter([("$ref".to_owned(), json!(format!("#/$defs/{name}")))])
    }
}

/// Box's document requires `type` of a lock that only knows `access`, and `grant_type` of a
/// revocation that knows no such thing.
fn defined(schema: &Map<String, Value>, names: &[Value]) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let known = |name: &&Value| {
        let name = name.as_str().unwrap_or_default();
        properties.is_some_and(|properties| properties.contains_key(name))
    };
    names.iter().filter(known).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nullable_becomes_a_type_of_its_own() {
        let document = json!({ "components": { "schemas": {
            "Node": { "type": "object", "properties": { "next": { "$ref": "#/components/schemas/Node" } } },
        } } });
        let schema = json!({ "type": "object", "required": ["a", "undefined"], "properties": {
            "a": { "type": "string", "nullable": true },
            "b": { "$ref": "#/components/schemas/Node", "nullable": true },
            "c": { "type": "string", "enum": ["x"], "nullable": true },
            "description": { "oneOf": [{ "type": "integer" }, { "type": "number" }] },
        } });
        let validator = jsonschema::draft202012::new(&translate(&document, &schema));
        let valid = |instance: Value| validator.as_ref().is_ok_and(|v| v.is_valid(&instance));
        assert!(valid(
            json!({ "a": null, "b": null, "c": null, "description": 3 })
        ));
        assert!(valid(json!({ "a": "x", "b": { "next": {} }, "c": "x" })));
        assert!(!valid(json!({})));
        assert!(!valid(json!({ "a": 1 })));
        assert!(!valid(json!({ "a": "x", "c": "y" })));
        assert!(!valid(json!({ "a": "x", "b": { "next": null } })));
    }
}
