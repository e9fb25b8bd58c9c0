//! Folders on the content side: made, moved, and opened to people.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::port_error::PortError;

/// Makes and changes folders.
///
/// Names are the same whatever the case of their letters. Every call is safe to repeat.
#[async_trait]
pub trait Folders: Debug + Send + Sync + 'static {
    /// Makes a name of any text, such as a customer's, that a folder can have; with a `mark`, one
    /// that ends with it. The same text gives the same name each time. No call is made.
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName;

    /// The folder of this name in another: the one that is there, or a new one. However many ask
    /// for it at a time, they get the same one. Something that is no folder and has the name is
    /// [`Refused`](crate::PortErrorKind::Refused); a `parent` that is not there is
    /// [`Gone`](crate::PortErrorKind::Gone).
    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError>;

    /// Gives a folder this place and name, with all that is in it.
    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError>;

    /// Deletes a folder that nothing is in; tells whether that was so.
    async fn discard(&self, folder: &str) -> Result<bool, PortError>;

    /// Lets somebody into a folder. Who is in already stays as they are, unless they have the role
    /// [`instead_of`](Invitation::instead_of).
    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError>;

    /// Ends a collaboration. One that is over already is fine.
    async fn end_collaboration(&self, collaboration: &str) -> Result<(), PortError>;

    /// What has this name in a folder. Changes nothing.
    async fn named(&self, parent: &str, name: &str) -> Result<Option<Named>, PortError>;

    /// How somebody stands to a folder, as far as a collaboration on it tells; `None` where it has
    /// none with them. Changes nothing.
    async fn standing(&self, folder: &str, invitee: &Invitee)
    -> Result<Option<Invited>, PortError>;
}

/// What has a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// This folder.
    Folder(String),
    /// Something that is no folder.
    Other,
}

/// A name, and what it took to make it one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FolderName {
    /// The name.
    pub name: String,
    /// What was changed of the text, in a few words each.
    pub changes: Vec<String>,
}

/// A folder that is there for sure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ensured {
    /// The folder.
    pub folder: String,
    /// Whether this call has made it. A call whose first answer was lost may not know.
    pub is_new: bool,
}

/// Whether a folder could be placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placed {
    /// It is there.
    There,
    /// Another item there has the name.
    NameTaken,
}

/// Who is let in, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invitation {
    /// Who.
    pub invitee: Invitee,
    /// What they may do, in the content side's words, such as `editor`.
    pub role: String,
    /// Whether they are told by e-mail.
    pub notify: bool,
    /// A role that they may have by now and that this one replaces.
    pub instead_of: Option<String>,
}

/// Somebody on the content side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invitee {
    /// Whoever has, or will have, this e-mail address there.
    Login(String),
    /// A user by id.
    User(String),
    /// A group by id.
    Group(String),
}

impl fmt::Display for Invitee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(login) => f.write_str(login),
            Self::User(id) => write!(f, "user {id}"),
            Self::Group(id) => write!(f, "group {id}"),
        }
    }
}

/// How somebody stands to a folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invited {
    /// The collaboration; `None` where they are in by a folder above it or own it.
    pub collaboration: Option<String>,
    /// The role that they have.
    pub role: Option<String>,
    /// Whether this call has let them in.
    pub is_new: bool,
}
