//! Comments on files.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    pages,
    people::User,
    state::{Visit, text},
};

pub(super) type Comments = BTreeMap<String, Comment>;

const LONGEST: usize = 10_000;

#[derive(Debug)]
pub(super) struct Comment {
    id: String,
    file: String,
    reply_to: Option<String>,
    message: String,
    tagged: Option<String>,
    created_by: User,
    created_at: Timestamp,
    modified_at: Timestamp,
}

impl Comment {
    pub(super) fn json(&self) -> Value {
        let (kind, item) = match &self.reply_to {
            Some(comment) => ("comment", comment),
            None => ("file", &self.file),
        };
        json!({
            "type": "comment",
            "id": self.id,
            "is_reply_comment": self.reply_to.is_some(),
            "message": self.message,
            "tagged_message": self.tagged.as_deref().unwrap_or_default(),
            "created_by": self.created_by.mini(),
            "created_at": stamp(self.created_at),
            "modified_at": stamp(self.modified_at),
            "item": { "id": item, "type": kind },
        })
    }
}

/// `POST /comments`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let item = text(&body, "/item/id").ok_or_else(|| Refused::missing("item.id"))?;
    let message = readable(&body)?;
    let (file, reply_to) = match text(&body, "/item/type") {
        Some("file") => (item.to_owned(), None),
        Some("comment") => {
            let known = visit.state.comments.get(item);
            let known = known.ok_or_else(|| Refused::not_found("comment", item))?;
            (known.file.clone(), Some(item.to_owned()))
        }
        _ => return Err(Refused::parameter("item.type", "one of file, comment")),
    };
    visit.state.tree.file(&file)?;
    let now = Timestamp::now();
    let comment = Comment {
        id: visit.state.ids.record(),
        file,
        reply_to,
        message,
        tagged: text(&body, "/tagged_message").map(str::to_owned),
        created_by: visit.actor.clone(),
        created_at: now,
        modified_at: now,
    };
    let shown = comment.json();
    let watched = visit.state.tree.chain(&comment.file);
    let actor = visit.actor.clone();
    visit.state.comments.insert(comment.id.clone(), comment);
    let nothing = Value::Null;
    visit
        .state
        .raise(&watched, "COMMENT.CREATED", &actor, &shown, &nothing);
    Ok(Answer::json(201, &shown))
}

/// `GET /files/{id}/comments`
pub(super) fn list(visit: &mut Visit<'_>, file: &str) -> Outcome {
    visit.state.tree.file(file)?;
    let comments = visit.state.comments.values();
    let all: Vec<Value> = comments
        .filter(|comment| comment.file == file)
        .map(Comment::json)
        .collect();
    pages::by_offset(visit.head, &all, 100, 1000)
}

/// `GET /comments/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    Ok(Answer::json(
        200,
        &find(&mut visit.state.comments, id)?.json(),
    ))
}

/// `PUT /comments/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let message = readable(&visit.json()?)?;
    let comment = find(&mut visit.state.comments, id)?;
    comment.message = message;
    comment.modified_at = Timestamp::now();
    Ok(Answer::json(200, &comment.json()))
}

/// `DELETE /comments/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    find(&mut visit.state.comments, id)?;
    visit.state.comments.remove(id);
    Ok(Answer::empty(204))
}

fn readable(body: &Value) -> Result<String, Refused> {
    let message = text(body, "/message").filter(|text| !text.is_empty());
    let message = message.ok_or_else(|| Refused::missing("message"))?;
    if message.len() > LONGEST {
        return Err(Refused::parameter("message", "too long"));
    }
    Ok(message.to_owned())
}

fn find<'a>(comments: &'a mut Comments, id: &str) -> Result<&'a mut Comment, Refused> {
    comments
        .get_mut(id)
        .ok_or_else(|| Refused::not_found("comment", id))
}
