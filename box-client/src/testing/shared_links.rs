//! Links by which others open a file or folder.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Outcome, Refused},
    clock::stamp,
    items::Item,
    state::{State, Visit},
};

const SHORTEST_PASSWORD: usize = 8;
const SHORTEST_VANITY_NAME: usize = 12;

#[derive(Clone, Debug)]
pub(super) struct Link {
    key: String,
    vanity_name: Option<String>,
    access: String,
    password: Option<String>,
    unshared_at: Option<Timestamp>,
    can_download: bool,
    can_edit: bool,
}

/// What a caller wants of the link: the members that were sent, or none to have it removed.
#[derive(Clone, Debug)]
pub(super) struct Wish(Option<Value>);

impl Wish {
    pub(super) fn read(value: &Value) -> Result<Self, Refused> {
        if value.is_null() {
            return Ok(Self(None));
        }
        let wrong = |name: &str, message: &str| Err(Refused::parameter(name, message));
        if !value.is_object() {
            return wrong("shared_link", "an object or null");
        }
        let access = value.get("access").map(|access| access.as_str());
        if access.is_some_and(|it| !matches!(it, Some("open" | "company" | "collaborators"))) {
            return wrong("access", "one of open, company, collaborators");
        }
        if let Some(password) = value["password"].as_str()
            && !is_strong(password)
        {
            return wrong("password", "too weak");
        }
        if let Some(name) = value["vanity_name"].as_str()
            && name.chars().count() < SHORTEST_VANITY_NAME
        {
            return wrong("vanity_name", "at least 12 characters");
        }
        if let Some(at) = value["unshared_at"].as_str() {
            match at.parse::<Timestamp>() {
                Ok(at) if at > Timestamp::now() => {}
                _ => return wrong("unshared_at", "a time to come"),
            }
        }
        Ok(Self(Some(value.clone())))
    }
}

/// Eight characters, with one that is no lower-case letter.
fn is_strong(password: &str) -> bool {
    password.chars().count() >= SHORTEST_PASSWORD
        && password.contains(|c: char| !c.is_ascii_lowercase())
}

impl State {
    pub(super) fn set_link(
        &mut self,
        type_name: &str,
        id: &str,
        wish: &Wish,
    ) -> Result<(), Refused> {
        let key = self.ids.secret();
        let item = self.tree.live_mut(type_name, id)?;
        let Wish(Some(wish)) = wish else {
            item.shared_link = None;
            return Ok(());
        };
        let is_file = !item.is_folder();
        let link = item.shared_link.get_or_insert_with(|| Link {
            key,
            vanity_name: None,
            access: "open".to_owned(),
            password: None,
            unshared_at: None,
            can_download: true,
            can_edit: false,
        });
        if let Some(access) = wish["access"].as_str() {
            access.clone_into(&mut link.access);
        }
        if let Some(password) = wish.get("password") {
            link.password = password.as_str().map(str::to_owned);
        }
        if let Some(name) = wish["vanity_name"].as_str() {
            link.vanity_name = Some(name.to_owned());
        }
        if let Some(at) = wish["unshared_at"].as_str() {
            link.unshared_at = at.parse().ok();
        }
        if let Some(can) = wish["permissions"]["can_download"].as_bool() {
            link.can_download = can;
        }
        if let Some(can) = wish["permissions"]["can_edit"].as_bool() {
            link.can_edit = can && is_file;
        }
        Ok(())
    }
}

impl Link {
    pub(super) fn json(&self, item: &Item) -> Value {
        let url = format!("https://app.box.com/s/{}", self.key);
        let download = format!("https://app.box.com/shared/static/{}", self.key);
        json!({
            "url": url,
            "download_url": (!item.is_folder()).then_some(download),
            "vanity_url": self.vanity_url(),
            "vanity_name": self.vanity_name,
            "effective_access": self.access,
            "effective_permission": match (self.can_edit, self.can_download) {
                (true, _) => "can_edit",
                (false, true) => "can_download",
                (false, false) => "can_preview",
            },
            "is_password_enabled": self.password.is_some(),
            "unshared_at": self.unshared_at.map(stamp),
            "download_count": 0,
            "preview_count": 0,
            "access": self.access,
            "permissions": {
                "can_preview": true,
                "can_download": self.can_download,
                "can_edit": self.can_edit,
            },
        })
    }

    fn vanity_url(&self) -> Option<String> {
        let name = self.vanity_name.as_ref()?;
        Some(format!("https://app.box.com/v/{name}"))
    }

    fn is(&self, url: &str) -> bool {
        let ended = self.unshared_at.is_some_and(|at| at <= Timestamp::now());
        !ended
            && (url == format!("https://app.box.com/s/{}", self.key)
                || self.vanity_url().is_some_and(|vanity| vanity == url))
    }
}

/// `GET /shared_items`
pub(super) fn find(visit: &mut Visit<'_>) -> Outcome {
    let header = visit.head.header("boxapi").unwrap_or_default();
    let id = opened(visit.state, header)?;
    visit.show(200, &id)
}

/// A link that is sent along with another call has to be one.
pub(super) fn check(visit: &Visit<'_>) -> Result<(), Refused> {
    match visit.head.header("boxapi") {
        Some(header) => opened(visit.state, header).map(drop),
        None => Ok(()),
    }
}

fn opened(state: &State, header: &str) -> Result<String, Refused> {
    let (url, password) = match header.split_once("&shared_link_password=") {
        Some((url, password)) => (url, Some(password)),
        None => (header, None),
    };
    let url = url
        .strip_prefix("shared_link=")
        .ok_or_else(|| Refused::bad_request("BoxApi names no shared_link"))?;
    let live = state.tree.all().filter(|item| item.trashed_at.is_none());
    let (item, link) = live
        .filter_map(|item| Some((item, item.shared_link.as_ref()?)))
        .find(|(_, link)| link.is(url))
        .ok_or_else(|| Refused::new(404, "not_found", "Not Found"))?;
    if link
        .password
        .as_deref()
        .is_some_and(|right| password != Some(right))
    {
        let message = "The password of the shared link is missing or wrong";
        return Err(Refused::new(403, "incorrect_shared_item_password", message));
    }
    Ok(item.id.clone())
}
