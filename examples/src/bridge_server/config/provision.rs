use bridge::{action::Who, folders::Invitee, metadata::ValueKind};
use serde::Deserialize;

/// That of an owner cannot be given away by an invitation.
const ROLES: [&str; 7] = [
    "editor",
    "viewer",
    "previewer",
    "uploader",
    "previewer uploader",
    "viewer uploader",
    "co-owner",
];

/// The folders that a rule gives to records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provision {
    pub(crate) layout: Vec<String>,
    #[serde(default = "root")]
    pub(crate) root: String,
    #[serde(default)]
    pub(crate) fields: Vec<Field>,
    #[serde(default)]
    pub(crate) collaborators: Vec<Collaborator>,
    #[serde(default)]
    pub(crate) notify: bool,
    #[serde(default = "yes")]
    pub(crate) keep_former_owner: bool,
    #[serde(default = "yes")]
    pub(crate) follow_names: bool,
    #[serde(default = "yes")]
    pub(crate) follow_parents: bool,
    pub(crate) link_field: Option<String>,
    #[serde(default = "link_base")]
    pub(crate) link_base: String,
    #[serde(default)]
    pub(crate) package: Package,
}

/// A metadata key that is filled from a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) key: String,
    /// As in a layout: `Opportunity.StageName`.
    pub(crate) from: String,
    #[serde(default = "string")]
    pub(crate) kind: ValueKind,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Collaborator {
    #[serde(default)]
    pub(crate) owner: bool,
    pub(crate) login: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) role: String,
}

/// What Box's own package for Salesforce has to do with it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Package {
    #[default]
    Ignore,
    Adopt,
    Share,
}

impl Provision {
    /// What Box or Salesforce would refuse for each record anew.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let is_id = |id: &str| !id.is_empty() && id.chars().all(|digit| digit.is_ascii_digit());
        if !is_id(&self.root) {
            problems.push(format!(
                "provision.root `{}` is no folder's id, which has digits only",
                self.root.escape_debug()
            ));
        }
        for it in &self.collaborators {
            if !ROLES.contains(&it.role.as_str()) {
                problems.push(format!(
                    "provision.collaborators: Box has no role `{}`; write one of these: {}",
                    it.role.escape_debug(),
                    ROLES.join(", ")
                ));
            }
            let ids = it.user.iter().chain(&it.group);
            for id in ids.filter(|id| !is_id(id)) {
                problems.push(format!(
                    "provision.collaborators: `{}` is no id, which has digits only",
                    id.escape_debug()
                ));
            }
        }
        let is_name = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(field) = &self.link_field
            && !match field.split_once('.') {
                Some((object, field)) => is_name(object) && is_name(field),
                None => is_name(field),
            }
        {
            problems.push(format!(
                "provision.link_field `{}` is no field's name",
                field.escape_debug()
            ));
        }
        problems
    }
}

impl Collaborator {
    pub(crate) fn who(&self) -> Result<Who, String> {
        let invitees = [
            self.owner.then_some(Who::Owner),
            self.login.clone().map(|it| Who::Fixed(Invitee::Login(it))),
            self.user.clone().map(|it| Who::Fixed(Invitee::User(it))),
            self.group.clone().map(|it| Who::Fixed(Invitee::Group(it))),
        ];
        let mut named = invitees.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(who), None) => Ok(who),
            _ => Err("a collaborator is one of owner = true, login, user and group".to_owned()),
        }
    }
}

/// Whether a trigger is about records, as `Opportunity.CREATED` is: those of Box have capitals
/// only.
pub(crate) fn is_of_records(trigger: &str) -> bool {
    let object = trigger.split_once('.').map(|(object, _)| object);
    object.is_some_and(|object| object.contains(|c: char| c.is_ascii_lowercase()))
}

fn root() -> String {
    "0".into()
}
fn yes() -> bool {
    true
}
fn link_base() -> String {
    "https://app.box.com/folder/".into()
}
fn string() -> ValueKind {
    ValueKind::String
}
