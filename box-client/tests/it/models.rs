//! Reads what Box's document gives as examples, and the least that it allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use box_client::{
    Collaboration, Comment, Conflicting, Event, FieldOption, File, FileMini, FileVersion,
    FileVersionMini, Folder, FolderMini, FoundItem, Grantee, Group, GroupMembership, GroupMini,
    Item, LinkAccess, Lock, MetadataCascadePolicy, MetadataInstance, MetadataTemplate,
    PathCollection, PolicyFolder, Preflight, RestrictedItem, Restriction, SharedLink, SignFiles,
    SignRequest, SignRequestSigner, SignerDecision, StreamPosition, Task, TaskAssignment,
    TemplateField, TokenReply, UploadPart, UploadSession, User, UserMini, Webhook, WebhookMini,
    WebhookTarget,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    desk::document,
    endpoints::{self, TYPED, is},
};

type Reads = fn(&Value) -> Result<(), serde_json::Error>;

fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(value).map(drop)
}

macro_rules! models {
    ($($schema:literal => $model:ident,)+) => {
        &[$(($schema, stringify!($model), reads::<$model>)),+]
    };
}

/// Schemas of the document, or members of them, and the types that read them.
const MODELS: &[(&str, &str, Reads)] = models! {
    "AccessToken" => TokenReply,
    "AccessToken.restricted_to" => Restriction,
    "AccessToken.restricted_to.object" => RestrictedItem,
    "AppItem" => Item,
    "Classification" => MetadataInstance,
    "ClassificationTemplate" => MetadataTemplate,
    "Collaboration" => Collaboration,
    "Collaboration.accessible_by" => Grantee,
    "Comment--Full" => Comment,
    "Event" => Event,
    "Events.next_stream_position" => StreamPosition,
    "File--Full" => File,
    "File--Full.file_version" => FileVersionMini,
    "File--Full.lock" => Lock,
    "File--Full.path_collection" => PathCollection,
    "File--Full.shared_link" => SharedLink,
    "File--Full.shared_link.access" => LinkAccess,
    "File--Mini" => FileMini,
    "FileConflict" => Conflicting,
    "FileVersion--Full" => FileVersion,
    "Folder--Full" => Folder,
    "Folder--Full.shared_link" => SharedLink,
    "Folder--Mini" => FolderMini,
    "Group--Full" => Group,
    "Group--Mini" => GroupMini,
    "GroupMembership" => GroupMembership,
    "Item" => Item,
    "Metadata" => MetadataInstance,
    "Metadata--Full" => MetadataInstance,
    "MetadataCascadePolicy" => MetadataCascadePolicy,
    "MetadataCascadePolicy.parent" => PolicyFolder,
    "MetadataQueryResultItem" => FoundItem,
    "MetadataTemplate" => MetadataTemplate,
    "MetadataTemplate.fields" => TemplateField,
    "MetadataTemplate.fields.options" => FieldOption,
    "SearchResultItem" => FoundItem,
    "SignRequest" => SignRequest,
    "SignRequest.sign_files" => SignFiles,
    "SignRequestSigner" => SignRequestSigner,
    "SignRequestSigner.signer_decision" => SignerDecision,
    "SkillCardsMetadata" => MetadataInstance,
    "Task" => Task,
    "TaskAssignment" => TaskAssignment,
    "TrashFile" => File,
    "TrashFileRestored" => File,
    "TrashFolder" => Folder,
    "TrashFolderRestored" => Folder,
    "UploadPart" => UploadPart,
    "UploadSession" => UploadSession,
    "UploadUrl" => Preflight,
    "User--Full" => User,
    "User--Mini" => UserMini,
    "WebLink" => Item,
    "Webhook" => Webhook,
    "Webhook--Mini" => WebhookMini,
    "Webhook.target" => WebhookTarget,
};

/// What an answer is for. The document calls nothing of it required, and without it there is
/// nothing that a program could do with the rest.
const VITAL: &[(&str, &[&str])] = &[
    ("AccessToken", &["access_token"]),
    ("UploadPart", &["part_id", "offset", "size"]),
    ("UploadSession", &["part_size"]),
];

/// Answers without a model of their own: servers are read for their addresses, by a type that
/// nobody sees, and the other comes only with a parameter that is never sent.
const APART: &[&str] = &["RealtimeServers", "SearchResultsWithSharedLinks"];

/// What the document has no schema of.
const UNDOCUMENTED: &[&str] = &["Complaint"];

/// Deeper members are left out: the document goes round.
const DEPTH: usize = 5;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    /// Each member with its example.
    Everything,
    /// Only what is required.
    Required,
    /// The rest is null.
    Null,
    /// Each member, with only what is required in it.
    Shallow,
    /// Each member, with nothing else in it but null.
    Hollow,
}

impl Of {
    const ALL: [Self; 5] = [
        Self::Everything,
        Self::Required,
        Self::Null,
        Self::Shallow,
        Self::Hollow,
    ];

    /// For what is within.
    fn within(self) -> Self {
        match self {
            Self::Shallow => Self::Required,
            Self::Hollow => Self::Null,
            other => other,
        }
    }
}

fn read_document() -> Option<Value> {
    let bytes = fs::read(document()?).unwrap();
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// A schema by its name, or a member's by its way there: `File--Full.lock`.
fn schema(document: &Value, path: &str) -> Value {
    let mut steps = path.split('.');
    let name = steps.next().unwrap();
    let mut schema = document["components"]["schemas"][name].clone();
    for step in steps {
        schema = member(document, &schema, step);
        if schema["type"] == "array" {
            schema = schema["items"].clone();
        }
    }
    assert!(schema.is_object(), "{path} is not in the document");
    schema
}

fn member(document: &Value, schema: &Value, name: &str) -> Value {
    let (mut members, mut required) = (Map::new(), BTreeSet::new());
    gather(document, schema, &mut members, &mut required);
    members.remove(name).unwrap_or_default()
}

#[test]
fn every_documented_shape_is_read() {
    let Some(document) = read_document() else {
        return;
    };
    let vital: BTreeMap<_, _> = VITAL.iter().copied().collect();
    let mut unread = Vec::new();
    for (path, model, read) in MODELS {
        let vital = vital.get(path).copied().unwrap_or_default();
        for of in Of::ALL {
            for mut value in examples(&document, &schema(&document, path), of, DEPTH) {
                for name in vital {
                    let schema = member(&document, &schema(&document, path), name);
                    value[name] = scalar(&document, &schema, DEPTH);
                }
                if let Err(error) = read(&value) {
                    unread.push(format!("{model} of {path}, {of:?}: {error}: {value}"));
                }
            }
        }
    }
    assert!(unread.is_empty(), "{}", unread.join("\n"));
}

#[test]
fn an_answer_without_what_it_is_for_is_none() {
    let Some(document) = read_document() else {
        return;
    };
    for (path, vital) in VITAL {
        let (_, _, read) = MODELS.iter().find(|(known, _, _)| known == path).unwrap();
        let schema = schema(&document, path);
        let whole = examples(&document, &schema, Of::Everything, DEPTH).remove(0);
        read(&whole).unwrap();
        for name in *vital {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(*name).unwrap();
            assert!(read(&without).is_err(), "{path} without {name}");
        }
    }
}

#[test]
fn no_model_of_the_crate_is_left_out() {
    let mut source = String::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    endpoints::read(folder, &mut source);
    let derived = source.split("#[derive(").skip(1).filter_map(|rest| {
        let (traits, rest) = rest.split_once(")]")?;
        // Attributes, then the item.
        let item = rest.lines().find(|line| line.starts_with("pub "))?;
        let between = &rest[..rest.find(item)?];
        let is_model = traits.contains("Deserialize") && between.contains("#[non_exhaustive]");
        let is_next = !between.contains("#[derive(") && !between.contains('}');
        (is_model && is_next).then(|| name_in(item))
    });
    let by_hand = source.split("> Deserialize<'de> for ").skip(1);
    let by_hand = by_hand.map(|rest| rest.split(' ').next().unwrap());
    // That of the words' macro, which reads every text.
    let by_hand = by_hand.filter(|name| *name != "$name");
    let models: BTreeSet<&str> = derived.chain(by_hand).collect();
    let known: BTreeSet<&str> = MODELS.iter().map(|(_, model, _)| *model).collect();
    let missing: Vec<_> = models
        .iter()
        .filter(|model| !known.contains(*model) && !UNDOCUMENTED.contains(model))
        .collect();
    assert!(missing.is_empty(), "to be put into MODELS: {missing:?}");
    assert!(models.len() > 40, "the source was not understood");
}

/// The name in `pub struct Name {`.
fn name_in(item: &str) -> &str {
    let name = item.split(' ').nth(2).unwrap_or_default();
    name.split(['<', '(', ';']).next().unwrap_or_default()
}

#[test]
fn the_answer_of_every_typed_endpoint_is_among_the_models() {
    let Some(document) = read_document() else {
        return;
    };
    let mut missing = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let verb = verb.to_ascii_uppercase();
            if !TYPED.iter().any(|it| it.0 == verb && is(path, it.1)) {
                continue;
            }
            let answers = operation["responses"].as_object().unwrap().iter();
            for (_, answer) in answers.filter(|(status, _)| status.starts_with('2')) {
                let schema = &answer["content"]["application/json"]["schema"];
                if !schema.is_null() && !is_modelled(&document, schema) {
                    missing.insert(format!("{verb} {path}: {schema}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether there is a type for it, or for all that it can be or lists.
fn is_modelled(document: &Value, schema: &Value) -> bool {
    let name = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    if let Some(name) = name {
        return APART.contains(&name)
            || MODELS.iter().any(|(known, _, _)| *known == name)
            || is_modelled(document, &document["components"]["schemas"][name]);
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(shapes) = schema[key].as_array() {
            return shapes.iter().all(|shape| is_modelled(document, shape));
        }
    }
    let listed = member(document, schema, "entries");
    let wrapped = member(document, schema, "part");
    (!listed.is_null() && is_modelled(document, &listed["items"]))
        || (!wrapped.is_null() && is_modelled(document, &wrapped))
}

#[test]
fn every_example_of_an_answer_is_read() {
    let Some(document) = read_document() else {
        return;
    };
    let mut read = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            for answer in operation["responses"].as_object().into_iter().flatten() {
                let media = &answer.1["content"]["application/json"];
                let named = media["schema"]["$ref"].as_str();
                let model = named.and_then(|it| it.rsplit('/').next());
                let Some((_, name, reads)) = MODELS.iter().find(|(it, _, _)| Some(*it) == model)
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
            _ => examples(document, member, of.within(), depth - 1),
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
