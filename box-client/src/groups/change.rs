use http::Method;
use serde_json::{Map, Value};

use super::{Group, GroupAccess, GroupMembership, GroupRole};
use crate::{GroupId, GroupMembershipId, call::Call, error::Result, transport::Transport};

/// Changes a group. From [`Groups::update`](super::Groups::update).
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct UpdateGroup<'a> {
    transport: &'a Transport,
    id: GroupId,
    body: Map<String, Value>,
}

impl<'a> UpdateGroup<'a> {
    pub(super) fn new(transport: &'a Transport, id: &GroupId) -> Self {
        Self {
            transport,
            id: id.clone(),
            body: Map::new(),
        }
    }

    /// Another name.
    pub fn name(self, name: &str) -> Self {
        self.set("name", name)
    }

    /// Says anew what the group is for.
    pub fn description(self, text: &str) -> Self {
        self.set("description", text)
    }

    /// Which directory the group comes from; it can then be edited there only.
    pub fn provenance(self, name: &str) -> Self {
        self.set("provenance", name)
    }

    /// The group's id in that directory.
    pub fn external_sync_identifier(self, id: &str) -> Self {
        self.set("external_sync_identifier", id)
    }

    /// Who may invite the group to collaborate.
    pub fn invitability_level(self, who: GroupAccess) -> Self {
        self.set("invitability_level", who.as_str())
    }

    /// Who sees who is in it.
    pub fn member_viewability_level(self, who: GroupAccess) -> Self {
        self.set("member_viewability_level", who.as_str())
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it. A name that is taken is a [`Conflict`](crate::ErrorKind::Conflict).
    pub async fn send(self) -> Result<Group> {
        let path = ["groups", self.id.as_str()];
        let call = Call::new("groups.update", Method::PUT, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// Changes what a user is in a group. From
/// [`Groups::update_membership`](super::Groups::update_membership).
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct UpdateMembership<'a> {
    transport: &'a Transport,
    id: GroupMembershipId,
    body: Map<String, Value>,
}

impl<'a> UpdateMembership<'a> {
    pub(super) fn new(transport: &'a Transport, id: &GroupMembershipId) -> Self {
        Self {
            transport,
            id: id.clone(),
            body: Map::new(),
        }
    }

    /// What the user is in the group from now on.
    pub fn role(self, role: GroupRole) -> Self {
        self.set("role", role.as_str())
    }

    /// What an administrator of the group may do, by Box's names such as `can_run_reports`. Those
    /// that are left out are allowed, and all of them say nothing of a member.
    pub fn configurable_permissions<S: Into<String>>(
        self,
        permissions: impl IntoIterator<Item = (S, bool)>,
    ) -> Self {
        let permissions = permissions.into_iter();
        let permissions: Map<_, _> = permissions
            .map(|(name, on)| (name.into(), on.into()))
            .collect();
        self.set("configurable_permissions", permissions)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<GroupMembership> {
        let path = ["group_memberships", self.id.as_str()];
        let call = Call::new("groups.update_membership", Method::PUT, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}
