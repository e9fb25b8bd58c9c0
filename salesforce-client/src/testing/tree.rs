use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::{Name, ObjectDef};
use super::state::{Call, State};
use super::store::{Actor, Org, Values};

#[derive(Deserialize)]
struct Tree {
    records: Vec<Values>,
}

const RECORDS_AT_MOST: usize = 200;
const LEVELS_AT_MOST: usize = 5;
const TYPES_AT_MOST: usize = 5;

/// `composite/tree/{X}`: records with their children, all of them or none.
pub(super) fn answer(state: &mut State, call: &mut Call, object: &str) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let tree: Tree = call.json()?;
    let mut nodes = Vec::new();
    let def = state.org.object(object)?;
    for record in &tree.records {
        flatten(&state.org, def, record, None, 1, &mut nodes)?;
    }
    check(&nodes)?;
    let before = state.org.clone();
    let actor = call.actor();
    let mut ids: Vec<Option<String>> = Vec::with_capacity(nodes.len());
    let mut results = Vec::new();
    let mut has_errors = false;
    for node in &nodes {
        match create(&mut state.org, node, &ids, &actor) {
            Ok(id) => {
                results.push(json!({ "referenceId": node.reference, "id": id }));
                ids.push(Some(id));
            }
            Err(refusal) => {
                if !has_errors {
                    results.clear();
                }
                has_errors = true;
                ids.push(None);
                let errors = refusal.save_result();
                results.push(json!({ "referenceId": node.reference, "errors": errors }));
            }
        }
        if has_errors {
            results.retain(|result| result.get("errors").is_some());
        }
    }
    let body = json!({ "hasErrors": has_errors, "results": results });
    if has_errors {
        state.org = before;
        return Ok(Reply::json(400, &body));
    }
    Ok(Reply::json(201, &body))
}

struct Node {
    object: Name,
    reference: String,
    fields: Values,
    /// Place of the parent, and the child's field that names it.
    parent: Option<(usize, String)>,
}

/// Parents stand before their children.
fn flatten(
    org: &Org,
    def: &ObjectDef,
    record: &Values,
    parent: Option<(usize, String)>,
    level: usize,
    nodes: &mut Vec<Node>,
) -> Result<(), Refusal> {
    if level > LEVELS_AT_MOST {
        let text = "The tree is deeper than five levels";
        return Err(Refusal::bad("INVALID_INPUT", text));
    }
    let attributes = record.get("attributes");
    let text = |name: &str| {
        attributes
            .and_then(|it| it.get(name))
            .and_then(Value::as_str)
    };
    let (Some(object), Some(reference)) = (text("type"), text("referenceId")) else {
        let text = "Each record needs the attributes type and referenceId";
        return Err(Refusal::bad("INVALID_INPUT", text));
    };
    if !object.eq_ignore_ascii_case(&def.name) {
        let text = format!(
            "The type {object} is not the one that stands here: {}",
            def.name
        );
        return Err(Refusal::bad("INVALID_INPUT", text));
    }
    let mut fields = record.clone();
    let mut children = Vec::new();
    fields.retain(|name, value| {
        let records = value.get("records").and_then(Value::as_array);
        if let Some(records) = records {
            children.push((name.clone(), records.clone()));
        }
        records.is_none() && name != "attributes"
    });
    let place = nodes.len();
    nodes.push(Node {
        object: def.name.clone(),
        reference: reference.to_owned(),
        fields,
        parent,
    });
    for (relationship, records) in children {
        let Some((child, field)) = org.schema.child(def, &relationship) else {
            let text = format!("No such relationship {relationship} on {}", def.name);
            return Err(Refusal::bad("INVALID_FIELD", text));
        };
        for record in records {
            let Value::Object(record) = record else {
                return Err(Refusal::unparsable("record", &record.to_string()));
            };
            let parent = Some((place, field.to_owned()));
            flatten(org, child, &record, parent, level + 1, nodes)?;
        }
    }
    Ok(())
}

fn check(nodes: &[Node]) -> Result<(), Refusal> {
    if nodes.len() > RECORDS_AT_MOST {
        let text = "The tree has more than 200 records";
        return Err(Refusal::bad("INVALID_INPUT", text));
    }
    let mut types: Vec<&str> = nodes.iter().map(|node| &*node.object).collect();
    types.sort_unstable();
    types.dedup();
    if types.len() > TYPES_AT_MOST {
        let text = "The tree has more than five types";
        return Err(Refusal::bad("INVALID_INPUT", text));
    }
    for (place, node) in nodes.iter().enumerate() {
        let is_twice = |other: &Node| other.reference == node.reference;
        if nodes[..place].iter().any(is_twice) {
            let text = format!("Duplicate referenceId: {}", node.reference);
            return Err(Refusal::bad("INVALID_INPUT", text));
        }
    }
    Ok(())
}

fn create(
    org: &mut Org,
    node: &Node,
    ids: &[Option<String>],
    actor: &Actor,
) -> Result<String, Refusal> {
    let mut fields = node.fields.clone();
    if let Some((parent, field)) = &node.parent
        && let Some(Some(id)) = ids.get(*parent)
    {
        fields.insert(field.clone(), json!(id));
    }
    org.create(&node.object, &fields, None, actor)
}
