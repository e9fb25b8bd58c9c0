//! Everything that this Box holds.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    builder::Config,
    cascades::Policies,
    collaborations::Collaboration,
    comments::{Comment, Comments},
    event_log::EventLog,
    events::Events,
    groups::Groups,
    head::Head,
    ids::Ids,
    items::{Kind, Tree},
    oauth::Tokens,
    people::User,
    sign_requests::SignRequests,
    tasks::Tasks,
    templates::Template,
    upload::Received,
    upload_sessions::Session,
    users::Profiles,
    view::{self, Fields},
    webhooks::Webhook,
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Arc<Config>,
    pub(super) ids: Ids,
    pub(super) users: Vec<User>,
    pub(super) tree: Tree,
    pub(super) upload_sessions: BTreeMap<String, Session>,
    pub(super) tokens: Tokens,
    pub(super) templates: Vec<Template>,
    pub(super) webhooks: BTreeMap<u64, Webhook>,
    pub(super) collaborations: BTreeMap<u64, Collaboration>,
    pub(super) events: Events,
    pub(super) profiles: Profiles,
    pub(super) groups: Groups,
    pub(super) comments: Comments,
    pub(super) tasks: Tasks,
    pub(super) sign_requests: SignRequests,
    pub(super) policies: Policies,
    pub(super) log: EventLog,
    /// Seconds that this Box's clock is ahead of the machine's.
    pub(super) clock_ahead: i64,
}

/// One request to be answered, with who asks.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    pub(super) head: &'a Head,
    pub(super) body: &'a Received,
    pub(super) url: &'a str,
    pub(super) download_url: &'a str,
    pub(super) state: &'a mut State,
    pub(super) actor: User,
    /// The application.
    pub(super) client: String,
}

impl State {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let owner = User::service_account();
        Self {
            ids: Ids::new(config.seed),
            clock_ahead: config.clock_ahead,
            config,
            tree: Tree::new(&owner),
            upload_sessions: BTreeMap::new(),
            users: vec![owner, User::person()],
            tokens: Tokens::default(),
            templates: vec![Template::properties()],
            webhooks: BTreeMap::new(),
            collaborations: BTreeMap::new(),
            events: Events::default(),
            profiles: Profiles::default(),
            groups: Groups::default(),
            comments: Comments::default(),
            tasks: Tasks::default(),
            sign_requests: SignRequests::default(),
            policies: Policies::default(),
            log: EventLog::default(),
        }
    }

    /// The scope that `enterprise` is short for.
    pub(super) fn scope(&self) -> String {
        format!("enterprise_{}", self.config.enterprise)
    }

    pub(super) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn json(&self) -> Value {
        let mut files = Vec::new();
        let mut folders = Vec::new();
        for item in self.tree.all() {
            let mut shown = view::standard(&self.tree, item);
            shown["metadata"] = item.metadata.values().map(|m| m.json(item)).collect();
            if let Kind::File(file) = &item.kind {
                let version = |version| view::version(version, &Fields::STANDARD);
                shown["versions"] = file
                    .past
                    .iter()
                    .chain([&file.current])
                    .map(version)
                    .collect();
                shown["lock"] = file.lock().map_or(Value::Null, |lock| lock.json());
                files.push(shown);
            } else {
                folders.push(shown);
            }
        }
        let collaborations = self
            .collaborations
            .values()
            .map(|c| c.json(&self.tree, &self.groups, true));
        json!({
            "files": files,
            "folders": folders,
            "upload_sessions": self.upload_sessions.iter().map(|(id, it)| it.json(id)).collect::<Vec<_>>(),
            "webhooks": self.webhooks.values().map(Webhook::json).collect::<Vec<_>>(),
            "collaborations": collaborations.collect::<Vec<_>>(),
            "metadata_templates": self.templates.iter().map(Template::json).collect::<Vec<_>>(),
            "users": self.users.iter().map(User::mini).collect::<Vec<_>>(),
            "events": self.events.all(),
            "groups": self.groups.json(),
            "group_memberships": self.groups.memberships_json(),
            "comments": self.comments.values().map(Comment::json).collect::<Vec<_>>(),
            "tasks": self.tasks.json(&self.tree),
            "sign_requests": self
                .sign_requests
                .values()
                .map(|request| request.json(&self.tree))
                .collect::<Vec<_>>(),
            "metadata_cascade_policies": self
                .policies
                .values()
                .map(|policy| policy.json(&self.config.enterprise))
                .collect::<Vec<_>>(),
        })
    }
}

impl Visit<'_> {
    pub(super) fn json(&self) -> Result<Value, Refused> {
        let unreadable = || Refused::bad_request("Could not parse JSON");
        let Received::Bytes(bytes) = self.body else {
            return Err(unreadable());
        };
        serde_json::from_slice(bytes).map_err(|_| unreadable())
    }

    pub(super) fn has_body(&self) -> bool {
        !matches!(self.body, Received::Bytes(bytes) if bytes.is_empty())
    }

    pub(super) fn fields(&self) -> Fields {
        Fields::read(self.head.query("fields"))
    }

    pub(super) fn if_match(&self) -> Option<&str> {
        self.head.header("if-match")
    }

    /// The item as it is now, unless the client has it already.
    pub(super) fn show(&self, status: u16, id: &str) -> Outcome {
        let item = self
            .state
            .tree
            .get(id)
            .ok_or_else(|| Refused::not_found("item", id))?;
        let known = self
            .head
            .header("if-none-match")
            .is_some_and(|etag| item.has_etag(etag));
        if self.head.method == "GET" && known {
            return Ok(Answer::empty(304));
        }
        let answer = Answer::json(status, &view::item(&self.state.tree, item, &self.fields()));
        Ok(match item.etag() {
            Some(etag) => answer.header("etag", format!("\"{etag}\"")),
            None => answer,
        })
    }
}

/// A text member of a JSON body.
pub(super) fn text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    body.pointer(pointer).and_then(Value::as_str)
}
