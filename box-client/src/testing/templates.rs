//! Metadata templates and what values they take.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    ids::Ids,
    state::{State, Visit, text},
};

const LONGEST_KEY: usize = 64;
const LONGEST_FIELD_KEY: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Template {
    id: String,
    pub(super) scope: String,
    pub(super) key: String,
    pub(super) display_name: String,
    pub(super) hidden: bool,
    /// None takes any text: Box's own `properties`.
    pub(super) fields: Option<Vec<Field>>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    id: String,
    pub(super) key: String,
    pub(super) type_name: String,
    pub(super) display_name: String,
    pub(super) options: Vec<String>,
}

impl Template {
    /// The free-form template that every account has.
    pub(super) fn properties() -> Self {
        Self {
            id: "properties".to_owned(),
            scope: "global".to_owned(),
            key: "properties".to_owned(),
            display_name: "Custom Properties".to_owned(),
            hidden: true,
            fields: None,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn json(&self) -> Value {
        let fields: Vec<Value> = self.fields.iter().flatten().map(Field::json).collect();
        json!({
            "id": self.id,
            "type": "metadata_template",
            "scope": self.scope,
            "templateKey": self.key,
            "displayName": self.display_name,
            "hidden": self.hidden,
            "copyInstanceOnItemCopy": false,
            "fields": fields,
        })
    }

    /// Whether an instance may hold these values.
    pub(super) fn check(&self, values: &Map<String, Value>) -> Result<(), Refused> {
        for (key, value) in values {
            let fits = match &self.fields {
                None => value.is_string(),
                Some(fields) => {
                    let field = fields.iter().find(|field| field.key == *key);
                    field
                        .ok_or_else(|| mismatch(format!("no field '{key}' in the template")))?
                        .takes(value)
                }
            };
            if !fits {
                return Err(mismatch(format!("the value of '{key}' has the wrong type")));
            }
        }
        Ok(())
    }

    fn read(body: &Value, scope: String, ids: &mut Ids) -> Result<Self, Refused> {
        let display_name = text(body, "/displayName").ok_or_else(|| invalid("displayName"))?;
        let key = match body.get("templateKey").filter(|key| !key.is_null()) {
            Some(key) => key
                .as_str()
                .ok_or_else(|| invalid("templateKey"))?
                .to_owned(),
            None => camel_case(display_name),
        };
        if !is_key(&key) {
            return Err(invalid("templateKey"));
        }
        let mut fields = Vec::new();
        for field in body
            .get("fields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let field = Field::read(field, ids)?;
            if fields.iter().any(|known: &Field| known.key == field.key) {
                return Err(invalid("fields"));
            }
            fields.push(field);
        }
        Ok(Self {
            id: ids.uuid(),
            scope,
            key,
            display_name: display_name.to_owned(),
            hidden: body
                .get("hidden")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            fields: Some(fields),
        })
    }
}

impl Field {
    pub(super) fn read(field: &Value, ids: &mut Ids) -> Result<Self, Refused> {
        let member = |name: &'static str| {
            let text = field
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| invalid(name))
        };
        let (type_name, key) = (member("type")?, member("key")?);
        let known = ["string", "float", "date", "enum", "multiSelect", "taxonomy"];
        if !known.contains(&type_name.as_str()) || key.len() > LONGEST_FIELD_KEY {
            return Err(invalid("fields"));
        }
        let options: Vec<String> = field["options"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|option| Some(option.get("key")?.as_str()?.to_owned()))
            .collect();
        if matches!(type_name.as_str(), "enum" | "multiSelect") && options.is_empty() {
            return Err(invalid("options"));
        }
        Ok(Self {
            id: ids.uuid(),
            key,
            type_name,
            display_name: member("displayName")?,
            options,
        })
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "id": self.id,
            "type": self.type_name,
            "key": self.key,
            "displayName": self.display_name,
            "hidden": false,
        });
        if !self.options.is_empty() {
            let options = self.options.iter();
            json["options"] = options
                .map(|key| json!({ "id": format!("{}-{key}", self.id), "key": key }))
                .collect();
        }
        json
    }

    fn takes(&self, value: &Value) -> bool {
        let offered = |value: &Value| {
            value
                .as_str()
                .is_some_and(|key| self.options.iter().any(|option| option == key))
        };
        match self.type_name.as_str() {
            "float" => value.is_number(),
            "date" => value
                .as_str()
                .is_some_and(|at| at.parse::<Timestamp>().is_ok()),
            "enum" => offered(value),
            "multiSelect" => value
                .as_array()
                .is_some_and(|keys| keys.iter().all(offered)),
            _ => value.is_string(),
        }
    }
}

/// `POST /metadata_templates/schema`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let template = visit.state.create_template(&body)?;
    Ok(Answer::json(201, &template.json()))
}

/// `GET /metadata_templates/{scope}/{key}/schema`
pub(super) fn get(visit: &mut Visit<'_>, scope: &str, key: &str) -> Outcome {
    Ok(Answer::json(200, &visit.state.template(scope, key)?.json()))
}

impl State {
    pub(super) fn create_template(&mut self, body: &Value) -> Result<Template, Refused> {
        let scope = self.full_scope(text(body, "/scope").unwrap_or_default());
        if scope != self.scope() {
            let message = "only templates of the own enterprise can be created";
            return Err(Refused::metadata(403, "forbidden", message));
        }
        let template = Template::read(body, scope, &mut self.ids)?;
        if self.template(&template.scope, &template.key).is_ok() {
            let message = format!("template '{}' already exists", template.key);
            return Err(Refused::metadata(409, "tuple_already_exists", message));
        }
        self.templates.push(template.clone());
        Ok(template)
    }

    /// `enterprise` is short for the own enterprise.
    pub(super) fn full_scope(&self, scope: &str) -> String {
        if scope == "enterprise" {
            self.scope()
        } else {
            scope.to_owned()
        }
    }

    pub(super) fn template(&self, scope: &str, key: &str) -> Result<&Template, Refused> {
        let scope = self.full_scope(scope);
        let found = self
            .templates
            .iter()
            .find(|t| t.scope == scope && t.key == key);
        found.ok_or_else(|| {
            let message = format!("template '{scope}.{key}' not found");
            Refused::metadata(404, "instance_tuple_not_found", message)
        })
    }
}

fn invalid(name: &str) -> Refused {
    Refused::metadata(
        400,
        "bad_request",
        format!("'{name}' is missing or invalid"),
    )
}

fn mismatch(message: String) -> Refused {
    Refused::metadata(400, "schema_validation_failed", message)
}

/// `^[a-zA-Z_][-a-zA-Z0-9_]*$`
fn is_key(key: &str) -> bool {
    let start = |c: char| c.is_ascii_alphabetic() || c == '_';
    key.len() <= LONGEST_KEY
        && key.starts_with(start)
        && key
            .chars()
            .all(|c| start(c) || c.is_ascii_digit() || c == '-')
}

fn camel_case(name: &str) -> String {
    let words = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut key = String::new();
    for word in words {
        let (first, rest) = word.split_at(1);
        match key.is_empty() {
            true => key.push_str(&first.to_ascii_lowercase()),
            false => key.push_str(&first.to_ascii_uppercase()),
        }
        key.push_str(rest);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_derived_from_the_display_name() {
        assert_eq!(
            camel_case("Salesforce mapping (new)"),
            "salesforceMappingNew"
        );
        assert!(is_key("salesforceMapping") && is_key("_a-1"));
        assert!(!is_key("1a") && !is_key("") && !is_key("a b") && !is_key(&"a".repeat(65)));
    }
}
