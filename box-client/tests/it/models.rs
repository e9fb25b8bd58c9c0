//! Reads what Box's document gives as examples, and the least that it allows.

use std::{collections::BTreeSet, fs};

use box_client::{
    Collaboration, Comment, Event, File, FileMini, FileVersion, Folder, FolderMini, FoundItem,
    Group, GroupMembership, GroupMini, MetadataCascadePolicy, MetadataInstance, MetadataTemplate,
    SignRequest, SignRequestSigner, Task, TaskAssignment, User, UserMini, Webhook, WebhookMini,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::desk::document;

type Reads = fn(&Value) -> Result<(), serde_json::Error>;

fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(value).map(drop)
}

/// Schemas of the document and the types that read them.
const MODELS: &[(&str, Reads)] = &[
    ("Collaboration", reads::<Collaboration>),
    ("Comment--Full", reads::<Comment>),
    ("Event", reads::<Event>),
    ("File--Full", reads::<File>),
    ("File--Mini", reads::<FileMini>),
    ("FileVersion--Full", reads::<FileVersion>),
    ("Folder--Full", reads::<Folder>),
    ("Folder--Mini", reads::<FolderMini>),
    ("Group--Full", reads::<Group>),
    ("Group--Mini", reads::<GroupMini>),
    ("GroupMembership", reads::<GroupMembership>),
    ("MetadataCascadePolicy", reads::<MetadataCascadePolicy>),
    ("Metadata--Full", reads::<MetadataInstance>),
    ("MetadataQueryResultItem", reads::<FoundItem>),
    ("MetadataTemplate", reads::<MetadataTemplate>),
    ("SearchResultItem", reads::<FoundItem>),
    ("SignRequest", reads::<SignRequest>),
    ("SignRequestSigner", reads::<SignRequestSigner>),
    ("Task", reads::<Task>),
    ("TaskAssignment", reads::<TaskAssignment>),
    ("TrashFile", reads::<File>),
    ("TrashFolder", reads::<Folder>),
    ("User--Full", reads::<User>),
    ("User--Mini", reads::<UserMini>),
    ("Webhook", reads::<Webhook>),
    ("Webhook--Mini", reads::<WebhookMini>),
];

/// Deeper members are left out: the document goes round.
const DEPTH: usize = 5;

#[derive(Clone, Copy)]
enum Of {
    /// Each member with its example.
    Everything,
    /// Only what is required.
    Required,
    /// The rest is null.
    Null,
}

#[test]
fn every_documented_shape_is_read() {
    let Some(path) = document() else { return };
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut unread = Vec::new();
    for (name, read) in MODELS {
        let schema = &document["components"]["schemas"][*name];
        assert!(schema.is_object(), "{name} is not in the document");
        for of in [Of::Everything, Of::Required, Of::Null] {
            for value in examples(&document, schema, of, DEPTH) {
                if let Err(error) = read(&value) {
                    unread.push(format!("{name}: {error}: {value}"));
                }
            }
        }
    }
    assert!(unread.is_empty(), "{}", unread.join("\n"));
}

#[test]
fn every_example_of_an_answer_is_read() {
    let Some(path) = document() else { return };
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut read = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            for answer in operation["responses"].as_object().into_iter().flatten() {
                let media = &answer.1["content"]["application/json"];
                let named = media["schema"]["$ref"].as_str();
                let model = named.and_then(|it| it.rsplit('/').next());
                let Some((name, reads)) = MODELS.iter().find(|(name, _)| Some(*name) == model)
                else {
                    continue;
                };
                let many = media["examples"].as_object().into_iter().flatten();
                let many = many.map(|(_, example)| &example["value"]);
                for example in many.chain(media.get("example")) {
                    reads(example).unwrap_or_else(|error| panic!("{verb} {path} {name}: {error}"));
                    read += 1;
                }
            }
        }
    }
    assert!(
        read >= 8,
        "the document had examples of files and folders: {read}"
    );
}

/// One value for each of the shapes that the schema allows.
fn examples(document: &Value, schema: &Value, of: Of, depth: usize) -> Vec<Value> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(&name[1..]).unwrap();
        return examples(document, schema, of, depth);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(shapes) = schema[key].as_array() {
            let shapes = shapes.iter();
            return shapes
                .flat_map(|it| examples(document, it, of, depth))
                .collect();
        }
    }
    let mut members = Map::new();
    let mut required = BTreeSet::new();
    gather(document, schema, &mut members, &mut required);
    if members.is_empty() {
        return vec![scalar(document, schema, depth)];
    }
    if depth == 0 {
        return Vec::new();
    }
    let mut values = vec![json!({})];
    for (name, member) in &members {
        let is_required = required.contains(name) || name == "id" || name == "type";
        let shapes = match of {
            Of::Required if !is_required => continue,
            Of::Null if !is_required => vec![Value::Null],
            _ => examples(document, member, of, depth - 1),
        };
        for (n, shape) in shapes.into_iter().enumerate() {
            // One value for each shape of a member, with the first shapes of the others.
            let mut value = values[0].clone();
            value[name] = shape;
            match n {
                0 => values
                    .iter_mut()
                    .for_each(|it| it[name] = value[name].clone()),
                _ => values.push(value),
            }
        }
    }
    values
}

fn gather(
    document: &Value,
    schema: &Value,
    members: &mut Map<String, Value>,
    required: &mut BTreeSet<String>,
) {
    if let Some(name) = schema["$ref"].as_str() {
        return gather(
            document,
            document.pointer(&name[1..]).unwrap(),
            members,
            required,
        );
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(document, part, members, required);
    }
    let names = schema["required"].as_array().into_iter().flatten();
    required.extend(names.filter_map(Value::as_str).map(str::to_owned));
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        members.insert(name.clone(), member.clone());
    }
}

fn scalar(document: &Value, schema: &Value, depth: usize) -> Value {
    // The parts of the whole: some hold an example, some the type.
    let parts: Vec<&Value> = schema["allOf"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([schema])
        .collect();
    let resolved = parts.iter().map(|part| match part["$ref"].as_str() {
        Some(name) => document.pointer(&name[1..]).unwrap(),
        None => part,
    });
    for part in resolved {
        if let Some(word) = part["enum"].get(0) {
            return word.clone();
        }
        match part["type"].as_str() {
            Some("array") => {
                let items = examples(
                    document,
                    &part["items"],
                    Of::Everything,
                    depth.saturating_sub(1),
                );
                return items.into();
            }
            Some("object") => return part.get("example").cloned().unwrap_or_else(|| json!({})),
            Some("boolean") => return true.into(),
            Some("integer" | "number") => {
                return part.get("example").cloned().unwrap_or_else(|| 1.into());
            }
            Some("string") => {
                let default = if part["format"] == "date-time" {
                    "2012-12-12T10:53:43-08:00"
                } else {
                    "text"
                };
                return part
                    .get("example")
                    .cloned()
                    .unwrap_or_else(|| default.into());
            }
            _ => {}
        }
    }
    Value::Null
}
