use http::Method;
use serde_json::Value;

use super::checks::no_such_column;
use super::query::{LARGEST_BATCH, QUERY, batch_size, first_page};
use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::ObjectDef;
use super::sobjects::only;
use super::state::{Call, Config, State};
use super::{files, view};

/// `sobjects/{X}/{id}/{relationship}`: the parent, or the children as a page of rows.
pub(super) fn answer(
    state: &mut State,
    config: &Config,
    call: &Call,
    object: &str,
    id: &str,
    relationship: &str,
) -> Result<Reply, Refusal> {
    only(&call.method, Method::GET)?;
    let org = &state.org;
    let def = org.object(object)?;
    let record = org.find(def, id)?;
    if let Some(reference) = def.relationship(relationship) {
        let parent = record.text(&reference.name).and_then(|id| org.get(id));
        let (parent_def, parent) = parent.ok_or_else(Refusal::not_found)?;
        let fields = fields(call, parent_def)?;
        let row = view::record(parent_def, parent, fields, call.version);
        return Ok(Reply::json(200, &row));
    }
    let child = org.schema.child(def, relationship);
    let (child, field) = child.ok_or_else(Refusal::not_found)?;
    let fields = fields(call, child)?;
    let is_file = matches!(&*child.name, "ContentVersion" | "ContentDocument");
    let children = org.living(&child.name).filter(|it| {
        it.text(field) == Some(record.id.as_str())
            && (!is_file || files::is_reachable(org, it, &call.user))
    });
    let rows: Vec<Value> = children
        .map(|it| view::record(child, it, fields.iter().copied(), call.version))
        .collect();
    let batch = batch_size(config, call).unwrap_or(LARGEST_BATCH);
    Ok(first_page(&mut state.cursors, call, rows, batch, QUERY))
}

fn fields<'a>(call: &Call, def: &'a ObjectDef) -> Result<Vec<&'a str>, Refusal> {
    let Some(names) = call.query.get("fields") else {
        return Ok(def.fields.iter().map(|it| it.name.as_str()).collect());
    };
    let names = names.split(',').map(str::trim).map(|name| {
        let field = def.field(name).ok_or_else(|| no_such_column(name, def))?;
        Ok(field.name.as_str())
    });
    names.collect()
}
