//! Webhooks and the rules that Box registers them by.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use url::{Host, Url};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    items::ROOT,
    listing::{marker, number, read_marker},
    oauth::Holder,
    state::{State, Visit, text},
    triggers,
};

/// What Box allows an application and user.
const MOST: usize = 1000;
const LARGEST_PAGE: u64 = 200;

#[derive(Clone)]
pub(super) struct Webhook {
    pub(super) id: u64,
    pub(super) target_type: String,
    pub(super) target_id: String,
    pub(super) address: String,
    pub(super) triggers: Vec<String>,
    /// Whether Box sends nothing for it, and says nothing about that.
    pub(super) is_silent: bool,
    owner: Holder,
    created_at: Timestamp,
}

impl Webhook {
    pub(super) fn json(&self) -> Value {
        let mut json = self.mini();
        json["created_by"] = self.owner.user.mini();
        json["created_at"] = stamp(self.created_at).into();
        json["address"] = self.address.as_str().into();
        json["triggers"] = json!(self.triggers);
        json
    }

    fn mini(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "type": "webhook",
            "target": { "id": self.target_id, "type": self.target_type },
        })
    }
}

/// Who owns what is hidden: its name is that of the application.
impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// `POST /webhooks`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let owner = visit.holder();
    let webhook = visit.state.create_webhook(owner, &body)?;
    Ok(Answer::json(201, &webhook.json()))
}

/// `GET /webhooks`: mini entries of the calling application and user.
pub(super) fn list(visit: &mut Visit<'_>) -> Outcome {
    let limit = number(visit.head, "limit", 100, LARGEST_PAGE)?;
    let after: u64 = match visit
        .head
        .query("marker")
        .filter(|marker| !marker.is_empty())
    {
        Some(marker) => read_marker(marker)?,
        None => 0,
    };
    let owner = visit.holder();
    let mine = visit
        .state
        .webhooks
        .range(after + 1..)
        .filter(|(_, w)| w.owner == owner);
    let mut page: Vec<_> = mine
        .map(|(_, webhook)| webhook)
        .take(limit as usize + 1)
        .collect();
    let more = page.len() > limit as usize;
    page.truncate(limit as usize);
    let next = page.last().filter(|_| more).map(|last| marker(&last.id));
    Ok(Answer::json(
        200,
        &json!({
            "entries": page.iter().map(|webhook| webhook.mini()).collect::<Vec<_>>(),
            "limit": limit,
            "next_marker": next.unwrap_or_default(),
        }),
    ))
}

/// `GET /webhooks/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    Ok(Answer::json(200, &find(visit, id)?.json()))
}

/// `PUT /webhooks/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let mut wanted = find(visit, id)?;
    let state = &mut *visit.state;
    if body.get("target").is_some() {
        (wanted.target_type, wanted.target_id) = state.target(&body)?;
        state.refuse_second(&wanted)?;
    }
    if body.get("triggers").is_some() {
        wanted.triggers = triggers_of(&body)?;
    }
    check_triggers(&wanted.triggers, &wanted.target_type)?;
    if let Some(address) = body.get("address") {
        wanted.address = state.address(address)?;
    }
    let shown = wanted.json();
    state.webhooks.insert(wanted.id, wanted);
    Ok(Answer::json(200, &shown))
}

/// `DELETE /webhooks/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let webhook = find(visit, id)?;
    visit.state.webhooks.remove(&webhook.id);
    Ok(Answer::empty(204))
}

impl State {
    pub(super) fn create_webhook(
        &mut self,
        owner: Holder,
        body: &Value,
    ) -> Result<Webhook, Refused> {
        let (target_type, target_id) = self.target(body)?;
        let triggers = triggers_of(body)?;
        check_triggers(&triggers, &target_type)?;
        let address = self.address(body.get("address").unwrap_or(&Value::Null))?;
        let mut webhook = Webhook {
            id: 0,
            target_type,
            target_id,
            address,
            triggers,
            is_silent: false,
            owner,
            created_at: Timestamp::now(),
        };
        self.refuse_second(&webhook)?;
        if self
            .webhooks
            .values()
            .filter(|w| w.owner == webhook.owner)
            .count()
            >= MOST
        {
            return Err(Refused::bad_request(
                "Too many webhooks for this application and user",
            ));
        }
        webhook.id = self.ids.webhook();
        self.webhooks.insert(webhook.id, webhook.clone());
        Ok(webhook)
    }

    fn target(&self, body: &Value) -> Result<(String, String), Refused> {
        let type_name =
            text(body, "/target/type").ok_or_else(|| Refused::missing("target.type"))?;
        let id = text(body, "/target/id").ok_or_else(|| Refused::missing("target.id"))?;
        if !matches!(type_name, "file" | "folder") {
            return Err(Refused::parameter("target.type", "one of file, folder"));
        }
        if type_name == "folder" && id == ROOT {
            return Err(Refused::parameter(
                "target",
                "webhooks are not allowed on the root folder",
            ));
        }
        self.tree.live(type_name, id)?;
        Ok((type_name.to_owned(), id.to_owned()))
    }

    /// One webhook per item, application and user.
    fn refuse_second(&self, wanted: &Webhook) -> Result<(), Refused> {
        let same = |webhook: &&Webhook| {
            webhook.id != wanted.id
                && webhook.target_id == wanted.target_id
                && webhook.owner == wanted.owner
        };
        let Some(existing) = self.webhooks.values().find(same) else {
            return Ok(());
        };
        let message = format!(
            "Webhook:{} already exists on the specified target.",
            existing.id
        );
        let refused = Refused::new(409, "conflict", "Bad Request");
        Err(refused.because("invalid_parameter", "existWebhookId", message))
    }

    fn address(&self, address: &Value) -> Result<String, Refused> {
        let text = address
            .as_str()
            .ok_or_else(|| Refused::missing("address"))?;
        let url = Url::parse(text).map_err(|_| Refused::parameter("address", "not a URL"))?;
        let (host, loopback) = match url.host() {
            Some(Host::Domain(name)) => (name.to_owned(), name == "localhost"),
            Some(Host::Ipv4(ip)) => (ip.to_string(), IpAddr::V4(ip).is_loopback()),
            Some(Host::Ipv6(ip)) => (ip.to_string(), IpAddr::V6(ip).is_loopback()),
            None => return Err(Refused::parameter("address", "not a URL")),
        };
        if host == "box.com" || host.ends_with(".box.com") {
            return Err(Refused::parameter("address", "not a host of Box"));
        }
        if self.config.http_addresses.unwrap_or(loopback) && url.scheme().starts_with("http") {
            return Ok(text.to_owned());
        }
        if url.scheme() != "https" || url.port().is_some() {
            return Err(Refused::parameter("address", "must be https on port 443"));
        }
        Ok(text.to_owned())
    }
}

impl Visit<'_> {
    fn holder(&self) -> Holder {
        Holder {
            user: self.actor.clone(),
            client: self.client.clone(),
            limits: None,
        }
    }
}

fn find(visit: &Visit<'_>, id: &str) -> Result<Webhook, Refused> {
    let owner = visit.holder();
    let known = id
        .parse()
        .ok()
        .and_then(|id: u64| visit.state.webhooks.get(&id));
    known
        .filter(|webhook| webhook.owner == owner)
        .cloned()
        .ok_or_else(|| Refused::not_found("webhook", id))
}

fn triggers_of(body: &Value) -> Result<Vec<String>, Refused> {
    let listed = body
        .get("triggers")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty());
    let listed = listed.ok_or_else(|| Refused::missing("triggers"))?;
    let names = listed
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect::<Option<_>>();
    names.ok_or_else(|| Refused::parameter("triggers", "not a list of names"))
}

fn check_triggers(names: &[String], target_type: &str) -> Result<(), Refused> {
    for name in names {
        triggers::fits(name, target_type)
            .map_err(|reason| Refused::parameter("triggers", format!("{name}: {reason}")))?;
    }
    Ok(())
}
