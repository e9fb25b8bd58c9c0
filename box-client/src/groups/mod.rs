//! Groups of users and who is in them.

mod change;

use futures_core::Stream;
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use self::change::{UpdateGroup, UpdateMembership};
use crate::{
    GroupId, GroupMembershipId, UserId, UserMini, call::Call, error::Result, open_enum::open_enum,
    paging, transport::Transport,
};

/// Calls on groups, with the rights of an administrator and scope `manage_groups`. From
/// [`BoxClient::groups`](crate::BoxClient::groups).
///
/// Vendor: <https://developer.box.com/reference/resources/group/>
///
/// ```no_run
/// use box_client::{BoxClient, GroupRole, UserId};
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let sales = client.groups().create("Sales").description("who sells").send().await?;
/// let rep = UserId::new("33333")?;
/// client.groups().add_member(&sales.id, &rep).role(GroupRole::Member).send().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    transport: &'a Transport,
}

const LIST_LIMIT: u64 = 1000;

impl<'a> Groups<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// The groups of the enterprise.
    ///
    /// Vendor: <https://developer.box.com/reference/get-groups/>
    pub fn list(&self) -> ListGroups<'a> {
        ListGroups {
            transport: self.transport,
            filter_term: None,
        }
    }

    /// A group.
    ///
    /// Vendor: <https://developer.box.com/reference/get-groups-id/>
    pub async fn get(&self, id: &GroupId) -> Result<Group> {
        let call = Call::new("groups.get", Method::GET, ["groups", id.as_str()]);
        self.transport.json(&call).await
    }

    /// Makes a group. A name that is taken is a [`Conflict`](crate::ErrorKind::Conflict).
    ///
    /// Vendor: <https://developer.box.com/reference/post-groups/>
    pub fn create(&self, name: &str) -> CreateGroup<'a> {
        CreateGroup {
            transport: self.transport,
            body: Map::new(),
        }
        .set("name", name)
    }

    /// Changes a group.
    ///
    /// Vendor: <https://developer.box.com/reference/put-groups-id/>
    pub fn update(&self, id: &GroupId) -> UpdateGroup<'a> {
        UpdateGroup::new(self.transport, id)
    }

    /// Deletes a group.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-groups-id/>
    pub async fn delete(&self, id: &GroupId) -> Result<()> {
        let call = Call::new("groups.delete", Method::DELETE, ["groups", id.as_str()]);
        self.transport.gone(&call).await
    }

    /// Who is in a group.
    ///
    /// Vendor: <https://developer.box.com/reference/get-groups-id-memberships/>
    pub fn memberships(
        &self,
        group: &GroupId,
    ) -> impl Stream<Item = Result<GroupMembership>> + Send + use<'a> {
        let id = group.clone();
        paging::by_offset(self.transport, LIST_LIMIT, move || {
            let path = ["groups", id.as_str(), "memberships"];
            Ok(Call::new("groups.memberships", Method::GET, path))
        })
    }

    /// Which groups a user is in.
    ///
    /// Vendor: <https://developer.box.com/reference/get-users-id-memberships/>
    pub fn memberships_of(
        &self,
        user: &UserId,
    ) -> impl Stream<Item = Result<GroupMembership>> + Send + use<'a> {
        let id = user.clone();
        paging::by_offset(self.transport, LIST_LIMIT, move || {
            let path = ["users", id.as_str(), "memberships"];
            Ok(Call::new("groups.memberships_of", Method::GET, path))
        })
    }

    /// That a user is in a group.
    ///
    /// Vendor: <https://developer.box.com/reference/get-group-memberships-id/>
    pub async fn membership(&self, id: &GroupMembershipId) -> Result<GroupMembership> {
        let path = ["group_memberships", id.as_str()];
        let call = Call::new("groups.membership", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Puts a user into a group.
    ///
    /// Vendor: <https://developer.box.com/reference/post-group-memberships/>
    pub fn add_member(&self, group: &GroupId, user: &UserId) -> AddMember<'a> {
        AddMember {
            transport: self.transport,
            body: json!({ "user": { "id": user }, "group": { "id": group } }),
        }
    }

    /// Changes what a user is in a group.
    ///
    /// Vendor: <https://developer.box.com/reference/put-group-memberships-id/>
    pub fn update_membership(&self, id: &GroupMembershipId) -> UpdateMembership<'a> {
        UpdateMembership::new(self.transport, id)
    }

    /// Takes a user out of a group.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-group-memberships-id/>
    pub async fn remove_member(&self, membership: &GroupMembershipId) -> Result<()> {
        let path = ["group_memberships", membership.as_str()];
        let call = Call::new("groups.remove_member", Method::DELETE, path);
        self.transport.gone(&call).await
    }
}

/// Lists groups. From [`Groups::list`].
#[derive(Debug)]
#[must_use = "nothing is sent before stream()"]
pub struct ListGroups<'a> {
    transport: &'a Transport,
    filter_term: Option<String>,
}

impl<'a> ListGroups<'a> {
    /// Only those whose name begins with this.
    pub fn filter_term(mut self, term: impl Into<String>) -> Self {
        self.filter_term = Some(term.into());
        self
    }

    /// The groups, page after page.
    pub fn stream(self) -> impl Stream<Item = Result<Group>> + Send + use<'a> {
        let term = self.filter_term;
        paging::by_offset(self.transport, LIST_LIMIT, move || {
            let call = Call::new("groups.list", Method::GET, ["groups"]);
            Ok(call.query_opt("filter_term", term.as_deref()))
        })
    }
}

/// Makes a group. From [`Groups::create`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct CreateGroup<'a> {
    transport: &'a Transport,
    body: Map<String, Value>,
}

impl CreateGroup<'_> {
    /// What the group is for.
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

    /// Sends it.
    pub async fn send(self) -> Result<Group> {
        let call = Call::new("groups.create", Method::POST, ["groups"]).json(&self.body)?;
        self.transport.json(&call).await
    }
}

/// Puts a user into a group. From [`Groups::add_member`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct AddMember<'a> {
    transport: &'a Transport,
    body: Value,
}

impl AddMember<'_> {
    /// What the user is in the group: a member unless said otherwise.
    pub fn role(mut self, role: GroupRole) -> Self {
        self.body["role"] = role.as_str().into();
        self
    }

    /// Sends it. A user who is in it already is a [`Conflict`](crate::ErrorKind::Conflict).
    pub async fn send(self) -> Result<GroupMembership> {
        let path = ["group_memberships"];
        let call = Call::new("groups.add_member", Method::POST, path).json(&self.body)?;
        self.transport.json(&call).await
    }
}

open_enum! {
    /// Who may do something with a group.
    GroupAccess {
        /// Administrators of the group or the enterprise.
        AdminsOnly = "admins_only",
        /// They and the members.
        AdminsAndMembers = "admins_and_members",
        /// All users of the enterprise.
        AllManagedUsers = "all_managed_users",
    }
}

open_enum! {
    /// What a user is in a group.
    GroupRole {
        /// A member.
        Member = "member",
        /// An administrator of the group.
        Admin = "admin",
    }
}

/// A group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: Option<String>,
    /// `managed_group` or `all_users_group`.
    pub group_type: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
    /// What it is for; only when asked for.
    pub description: Option<String>,
    /// Everything else, as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A group as named inside other things.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct GroupMini {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: Option<String>,
}

/// That a user is in a group.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct GroupMembership {
    /// Its id.
    pub id: GroupMembershipId,
    /// The user.
    pub user: Option<UserMini>,
    /// The group.
    pub group: Option<GroupMini>,
    /// What the user is in it.
    pub role: Option<GroupRole>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last changed.
    pub modified_at: Option<Timestamp>,
}
