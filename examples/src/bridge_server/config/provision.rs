use bridge::{action::Who, folders::Invitee, metadata::ValueKind};
use serde::Deserialize;

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
