//! Sign requests. The files are not converted; who signs is for the test to say.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    items::{ROOT, Stored, Tree},
    pages,
    people::User,
    state::{State, Visit, text},
    versions::ContentTimes,
    view,
};

pub(super) type SignRequests = BTreeMap<String, SignRequest>;

const MOST_FILES: usize = 10;
const MOST_SIGNERS: usize = 35;
const MOST_DAYS: u64 = 730;
const ROLES: &[&str] = &["signer", "approver", "final_copy_reader"];

#[derive(Debug)]
pub(super) struct SignRequest {
    id: String,
    sequence: u64,
    files: Vec<String>,
    folder: String,
    status: &'static str,
    signers: Vec<Value>,
    asked: Value,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
}

impl SignRequest {
    pub(super) fn json(&self, tree: &Tree) -> Value {
        let mini = |id: &String| tree.get(id).map(|item| view::mini(tree, item));
        let files: Vec<Value> = self.files.iter().filter_map(mini).collect();
        let asked = |name: &str| self.asked.get(name).cloned().unwrap_or_default();
        json!({
            "type": "sign-request",
            "id": self.id,
            "short_id": format!("SR-{}", self.sequence),
            "status": self.status,
            "name": asked("name"),
            "external_id": asked("external_id"),
            "email_subject": asked("email_subject"),
            "email_message": asked("email_message"),
            "days_valid": asked("days_valid"),
            "source_files": files,
            "sign_files": { "files": files, "is_ready_for_download": self.status == "signed" },
            "signing_log": null,
            "parent_folder": mini(&self.folder),
            "signers": self.signers,
            "prepare_url": null,
            "created_at": stamp(self.created_at),
            "finished_at": self.finished_at.map(stamp),
        })
    }
}

/// `POST /sign_requests`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let actor = visit.actor.clone();
    let id = visit.state.request_signatures(&actor, body)?;
    let request = find(&mut visit.state.sign_requests, &id)?;
    Ok(Answer::json(201, &request.json(&visit.state.tree)))
}

/// `GET /sign_requests`
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let state = &*visit.state;
    let mut all: Vec<&SignRequest> = state.sign_requests.values().collect();
    all.sort_by_key(|request| request.sequence);
    let all: Vec<Value> = all.iter().map(|it| it.json(&state.tree)).collect();
    pages::by_marker(visit.head, &all, 100, 1000)
}

/// `GET /sign_requests/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let request = find(&mut visit.state.sign_requests, id)?;
    Ok(Answer::json(200, &request.json(&visit.state.tree)))
}

/// `POST /sign_requests/{id}/cancel`
pub(super) fn cancel(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let request = find(&mut visit.state.sign_requests, id)?;
    if request.finished_at.is_some() {
        let message = "The sign request has come to its end";
        return Err(Refused::bad_request(message));
    }
    request.status = "cancelled";
    request.finished_at = Some(Timestamp::now());
    Ok(Answer::json(200, &request.json(&visit.state.tree)))
}

/// `POST /sign_requests/{id}/resend`
pub(super) fn resend(visit: &mut Visit<'_>, id: &str) -> Outcome {
    match find(&mut visit.state.sign_requests, id)?.finished_at {
        None => Ok(Answer::empty(202)),
        Some(_) => Err(Refused::bad_request("The sign request has come to its end")),
    }
}

impl State {
    /// Asks for signatures, and tells so.
    pub(super) fn request_signatures(
        &mut self,
        actor: &User,
        body: Value,
    ) -> Result<String, Refused> {
        let named = |name: &str| body[name].as_array().map_or(&[][..], Vec::as_slice);
        let files = named("source_files");
        if files.is_empty() || files.len() > MOST_FILES {
            return Err(Refused::parameter("source_files", "1 to 10 files"));
        }
        let files: Vec<String> = files
            .iter()
            .map(|file| {
                let id = text(file, "/id").ok_or_else(|| Refused::missing("source_files.id"))?;
                self.tree.file(id).map(|_| id.to_owned())
            })
            .collect::<Result<_, _>>()?;
        let signers = named("signers");
        if signers.is_empty() || signers.len() > MOST_SIGNERS {
            return Err(Refused::parameter("signers", "1 to 35 signers"));
        }
        let signers = signers.iter().map(signer).collect::<Result<_, _>>()?;
        let folder = match text(&body, "/parent_folder/id") {
            Some(ROOT) => return Err(Refused::parameter("parent_folder", "not the root folder")),
            Some(id) => self.tree.live("folder", id)?.id.clone(),
            None => {
                let first = self
                    .tree
                    .get(&files[0])
                    .and_then(|file| file.parent.clone());
                first.unwrap_or_default()
            }
        };
        let days = body["days_valid"].as_u64().unwrap_or_default();
        if days > MOST_DAYS {
            return Err(Refused::parameter("days_valid", "0 to 730"));
        }
        let request = SignRequest {
            id: self.ids.uuid(),
            sequence: self.sign_requests.len() as u64 + 1,
            files,
            folder,
            status: "sent",
            signers,
            asked: body,
            created_at: Timestamp::now(),
            finished_at: None,
        };
        let id = request.id.clone();
        self.sign_requests.insert(id.clone(), request);
        self.tell_signing(&id, actor, "SIGN_REQUEST.SIGNATURE_REQUESTED", &[]);
        Ok(id)
    }

    /// One signs, which is a version of the first file. After the last of them the end is told of,
    /// and the file is not put together yet.
    pub(super) fn sign_one(
        &mut self,
        id: &str,
        email: &str,
        stored: Stored,
    ) -> Result<Vec<String>, Refused> {
        let file = self.decide(id, email, "signed")?;
        let sign = User::sign();
        let mut told = self.add_version(&sign, &file, None, stored, ContentTimes::default())?;
        told.extend(self.tell_signing(id, &sign, "SIGN_REQUEST.SIGNER_SIGNED", &[email]));
        let request = find(&mut self.sign_requests, id)?;
        let is_open = |signer: &Value| {
            signer["role"] != "final_copy_reader" && signer["signer_decision"].is_null()
        };
        if !request.signers.iter().any(is_open) {
            request.status = "finalizing";
            let emails: Vec<String> = request
                .signers
                .iter()
                .filter_map(|signer| text(signer, "/email").map(str::to_owned))
                .collect();
            let emails: Vec<_> = emails.iter().map(String::as_str).collect();
            told.extend(self.tell_signing(id, &sign, "SIGN_REQUEST.COMPLETED", &emails));
        }
        Ok(told)
    }

    /// The signed file is put together, which is its last version.
    pub(super) fn finish_signing(
        &mut self,
        id: &str,
        stored: Stored,
    ) -> Result<Vec<String>, Refused> {
        let request = find(&mut self.sign_requests, id)?;
        if request.status != "finalizing" {
            return Err(Refused::bad_request("Not all have signed"));
        }
        let file = request.files[0].clone();
        let sign = User::sign();
        let told = self.add_version(&sign, &file, None, stored, ContentTimes::default())?;
        let request = find(&mut self.sign_requests, id)?;
        request.status = "signed";
        request.finished_at = Some(Timestamp::now());
        Ok(told)
    }

    /// One declines, which ends the request.
    pub(super) fn decline_signing(
        &mut self,
        id: &str,
        email: &str,
    ) -> Result<Vec<String>, Refused> {
        self.decide(id, email, "declined")?;
        let request = find(&mut self.sign_requests, id)?;
        request.status = "declined";
        request.finished_at = Some(Timestamp::now());
        Ok(self.tell_signing(id, &User::sign(), "SIGN_REQUEST.DECLINED", &[email]))
    }

    /// Notes what a signer has decided, and gives the file.
    fn decide(&mut self, id: &str, email: &str, decision: &str) -> Result<String, Refused> {
        let request = find(&mut self.sign_requests, id)?;
        if request.status != "sent" {
            let message = "The sign request waits for nobody";
            return Err(Refused::bad_request(message));
        }
        let is_it = |signer: &&mut Value| {
            text(signer, "/email") == Some(email) && signer["signer_decision"].is_null()
        };
        let signer = request.signers.iter_mut().find(is_it);
        let signer = signer.ok_or_else(|| Refused::not_found("signer", email))?;
        let now = stamp(Timestamp::now());
        signer["signer_decision"] = json!({ "type": decision, "finalized_at": now });
        Ok(request.files[0].clone())
    }

    fn tell_signing(
        &mut self,
        id: &str,
        actor: &User,
        trigger: &str,
        emails: &[&str],
    ) -> Vec<String> {
        let Some(request) = self.sign_requests.get(id) else {
            return Vec::new();
        };
        let external = request.asked.get("external_id").cloned();
        let info = json!({
            "sign_request_id": id, "signer_emails": emails,
            "external_id": external.unwrap_or_default(),
        });
        let mut told = Vec::new();
        for file in request.files.clone() {
            let chain = self.tree.chain(&file);
            told.extend(self.tell_item(&chain, trigger, actor, &file, &info));
        }
        told
    }

    /// All have signed: what the webhook says of it. Without a request for the file there is one
    /// that nobody can look at.
    pub(super) fn all_signed(&mut self, file: &str, emails: &[&str]) -> Value {
        let mut open = self.sign_requests.values_mut();
        let request =
            open.find(|it| it.finished_at.is_none() && it.files.iter().any(|id| id == file));
        let now = Timestamp::now();
        let (id, external_id) = match request {
            Some(request) => {
                request.status = "signed";
                request.finished_at = Some(now);
                for signer in &mut request.signers {
                    signer["signer_decision"] =
                        json!({ "type": "signed", "finalized_at": stamp(now) });
                }
                let external = request.asked.get("external_id").cloned();
                (request.id.clone(), external.unwrap_or_default())
            }
            None => (self.ids.uuid(), Value::Null),
        };
        json!({ "sign_request_id": id, "signer_emails": emails, "external_id": external_id })
    }
}

fn signer(asked: &Value) -> Result<Value, Refused> {
    let role = text(asked, "/role").unwrap_or("signer");
    let email = text(asked, "/email").filter(|email| email.contains('@'));
    if !ROLES.contains(&role) || email.is_none() {
        return Err(Refused::parameter(
            "signers",
            "each with an email and a role",
        ));
    }
    Ok(json!({
        "email": email,
        "role": role,
        "order": asked.get("order").and_then(Value::as_u64).unwrap_or_default(),
        "is_in_person": asked["is_in_person"] == true,
        "has_viewed_document": false,
        "signer_decision": null,
    }))
}

fn find<'a>(all: &'a mut SignRequests, id: &str) -> Result<&'a mut SignRequest, Refused> {
    all.get_mut(id)
        .ok_or_else(|| Refused::not_found("sign_request", id))
}
