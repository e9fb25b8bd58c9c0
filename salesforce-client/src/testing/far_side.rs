use jiff::Timestamp;
use serde_json::json;

use super::base64_json::VersionJson;
use super::blob::Sink;
use super::refusal::Refusal;
use super::schema::{CustomObject, Field};
use super::state::Shared;
use super::store::Values;

/// What a person does in the browser, for the handle and the control calls.
pub(super) fn create(shared: &Shared, object: &str, values: &Values) -> Result<String, Refusal> {
    let actor = shared.config.person(Timestamp::now());
    if !object.eq_ignore_ascii_case("ContentVersion") {
        return shared.lock().org.create(object, values, None, &actor);
    }
    let body = json!(values).to_string();
    let staged = VersionJson::read_all(body.as_bytes(), shared.config.keep_bytes)?;
    shared
        .lock()
        .org
        .create(object, &staged.fields, staged.blob, &actor)
}

pub(super) fn update(shared: &Shared, id: &str, values: &Values) -> Result<(), Refusal> {
    let mut state = shared.lock();
    let object = state
        .org
        .schema
        .by_id(id)
        .ok_or_else(Refusal::not_found)?
        .name
        .clone();
    state
        .org
        .update(&object, id, values, &shared.config.person(Timestamp::now()))
}

pub(super) fn delete(shared: &Shared, id: &str) -> Result<(), Refusal> {
    let mut state = shared.lock();
    let object = state
        .org
        .schema
        .by_id(id)
        .ok_or_else(Refusal::not_found)?
        .name
        .clone();
    state
        .org
        .delete(&object, id, &shared.config.person(Timestamp::now()))
}

pub(super) fn undelete(shared: &Shared, id: &str) -> Result<(), Refusal> {
    let actor = shared.config.person(Timestamp::now());
    shared.lock().org.undelete(id, &actor)
}

/// A new file of the other user, or a new version of any file.
pub(super) fn add_version(
    shared: &Shared,
    values: &Values,
    content: &[u8],
) -> Result<String, Refusal> {
    let mut sink = Sink::new(shared.config.keep_bytes);
    sink.write(content);
    let blob = sink.finish()?;
    let actor = shared.config.person(Timestamp::now());
    shared
        .lock()
        .org
        .create("ContentVersion", values, Some(blob), &actor)
}

pub(super) fn add_custom_field(shared: &Shared, object: &str, field: Field) -> Result<(), Refusal> {
    shared
        .lock()
        .org
        .schema
        .add_custom_field(object, field, Timestamp::now())
}

pub(super) fn add_custom_object(shared: &Shared, object: CustomObject) -> Result<(), Refusal> {
    let now = Timestamp::now();
    shared.lock().org.schema.add_custom_object(object, now)
}

pub(super) fn issue_token(shared: &Shared) -> String {
    let config = &shared.config;
    let mut state = shared.lock();
    state.auth.open_session(
        &config.org_id,
        &config.integration_user,
        None,
        Timestamp::now(),
    )
}

pub(super) fn issue_refresh_token(shared: &Shared) -> String {
    shared
        .lock()
        .auth
        .grant(&shared.config.integration_user, None)
}
