use std::collections::VecDeque;

use http::Method;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Call, Config, State};
use super::store::Values;
use super::{ids, sobjects};

/// First answers under their keys.
#[derive(Default)]
pub(super) struct Kept(VecDeque<(String, String, Value)>);

const KEPT_AT_MOST: usize = 10_000;
/// The release that brought uploads to this API.
const SINCE: u32 = 56;

/// `ui-api/records/content-documents[/{id}]/content-versions`: an upload that a key makes happen
/// once.
pub(super) fn upload(
    state: &mut State,
    config: &Config,
    call: &mut Call,
    document: Option<&str>,
) -> Result<Reply, Refusal> {
    if call.version < SINCE {
        return Err(Refusal::not_found());
    }
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "POST"));
    }
    let key = key(call)?;
    if key.is_some() && !config.idempotent_uploads {
        return Err(Refusal::bad("INVALID_INPUT", "Idempotency not supported"));
    }
    let resource = document.and_then(ids::normalise).unwrap_or_default();
    let is_it =
        |kept: &&(String, String, Value)| key.as_ref() == Some(&kept.0) && kept.1 == resource;
    if let Some((_, _, answer)) = state.kept.0.iter().find(is_it) {
        return Ok(Reply::json(201, answer));
    }
    let sent = sobjects::sent(config, call, "ContentVersion")?;
    let mut fields = Values::new();
    for (name, value) in sent.fields {
        let known = match name.as_str() {
            "title" => "Title",
            "description" => "Description",
            "PathOnClient" => "PathOnClient",
            _ => {
                let text = format!("Unrecognized field \"{name}\"");
                return Err(Refusal::bad("JSON_PARSER_ERROR", text));
            }
        };
        fields.insert(known.to_owned(), value);
    }
    if !resource.is_empty() {
        fields.insert("ContentDocumentId".to_owned(), json!(resource));
    }
    let id = state
        .org
        .create("ContentVersion", &fields, sent.blob, &call.actor())?;
    let version = state.org.get_living(&id);
    let document = version.and_then(|it| it.text("ContentDocumentId"));
    let shown = |value: Option<&str>| json!({ "displayValue": null, "value": value });
    let answer = json!({
        "contentDocument": {
            "apiName": "ContentDocument",
            "id": document,
            "fields": { "LatestPublishedVersionId": shown(Some(&id)) },
        },
        "contentDocumentLinks": [],
        "contentVersion": { "apiName": "ContentVersion", "id": id, "fields": {} },
    });
    if let Some(key) = key {
        if state.kept.0.len() == KEPT_AT_MOST {
            state.kept.0.pop_front();
        }
        state.kept.0.push_back((key, resource, answer.clone()));
    }
    Ok(Reply::json(201, &answer))
}

/// The key, if there is one: a UUID of version 4.
fn key(call: &Call) -> Result<Option<String>, Refusal> {
    let Some(key) = call.header("idempotency-key") else {
        return Ok(None);
    };
    let bytes = key.as_bytes();
    let fits = bytes.len() == 36
        && bytes.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'4',
            19 => b"89abAB".contains(byte),
            _ => byte.is_ascii_hexdigit(),
        });
    if fits {
        return Ok(Some(key.to_ascii_lowercase()));
    }
    let text = "The Idempotency-Key must be a UUID of version 4";
    Err(Refusal::bad("INVALID_INPUT", text))
}
