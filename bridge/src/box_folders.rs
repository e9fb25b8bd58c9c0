//! Box's folders and collaborations as the content side's.

use async_trait::async_trait;
use box_client::{
    Collaboration, CollaborationId, CollaborationRole, Collaborator, Error, ErrorKind, FolderId,
    GroupId, Item, NameChange, UserId, sanitize_name,
};
use futures_util::TryStreamExt;

use crate::{
    box_content::{BoxContent, not_an_id, port_error, write_error},
    folders::{Ensured, FolderName, Folders, Invitation, Invited, Invitee, Named, Placed},
    port_error::{PortError, PortErrorKind},
};

/// As many UTF-16 units as a name may have: Box does not say what it counts.
const LONGEST_NAME: usize = 255;

#[async_trait]
impl Folders for BoxContent {
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName {
        let mut made = sanitize_name(text);
        if let Some(mark) = mark {
            let mark = format!(" ({mark})");
            let mut left = LONGEST_NAME.saturating_sub(mark.encode_utf16().count());
            let kept: String = made
                .name
                .chars()
                .take_while(|c| {
                    let fits = c.len_utf16() <= left;
                    left = left.saturating_sub(c.len_utf16());
                    fits
                })
                .collect();
            if kept.len() < made.name.len() && !made.changes.contains(&NameChange::Cut) {
                made.changes.push(NameChange::Cut);
            }
            made.name = format!("{}{mark}", kept.trim_end());
        }
        let words = made.changes.into_iter().map(words);
        FolderName {
            name: made.name,
            changes: words.map(str::to_owned).collect(),
        }
    }

    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError> {
        const DOING: &str = "make the folder in Box";
        let parent = id(DOING, parent)?;
        let folders = self.client().folders();
        let there = |folder: &FolderId, is_new| Ensured {
            folder: folder.as_str().to_owned(),
            is_new,
        };
        let error = match folders.create(&parent, name).fields(["name"]).send().await {
            Ok(folder) => return Ok(there(&folder.id, true)),
            Err(error) => error,
        };
        if let Some(other) = error.name_in_use() {
            return match other.folder_id() {
                Some(folder) => Ok(there(&folder, false)),
                None => Err(no_folder(DOING, name).with_cause(error)),
            };
        }
        // The answer was lost, or does not say with what the name is in conflict, or we may enter
        // the folder and not make one beside it: a look tells.
        let tells_nothing = error.kind() == ErrorKind::Conflict && !error.is_retryable();
        let may_be_there = error.may_have_happened() || error.kind() == ErrorKind::Forbidden;
        if !tells_nothing && !may_be_there {
            return Err(port_error(DOING, error));
        }
        match folders.ensure_names([name]).under(&parent).send().await {
            Ok(ensured) => match ensured.last() {
                Some(folder) => Ok(there(&folder.id, ensured.created > 0)),
                None => Err(PortError::new(PortErrorKind::Busy, DOING)),
            },
            Err(error) if error.kind() == ErrorKind::Conflict && !error.is_retryable() => {
                Err(no_folder(DOING, name).with_cause(error))
            }
            // It can be repeated, so nothing is in doubt.
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError> {
        const DOING: &str = "move the folder in Box";
        let (own, parent) = (id(DOING, folder)?, id(DOING, parent)?);
        let update = self.client().folders().move_to(&own, &parent).name(name);
        match update.fields(["name"]).send().await {
            Ok(_) => Ok(Placed::There),
            Err(error) => match error.name_in_use() {
                Some(other) if other.folder_id() == Some(own) => Ok(Placed::There),
                Some(_) => Ok(Placed::NameTaken),
                None if is_name_in_use(&error) => Ok(Placed::NameTaken),
                None => Err(write_error(DOING, error)),
            },
        }
    }

    async fn discard(&self, folder: &str) -> Result<bool, PortError> {
        const DOING: &str = "delete the empty folder in Box";
        let folder = id(DOING, folder)?;
        match self.client().folders().delete(&folder).send().await {
            Ok(()) => Ok(true),
            Err(error) if code(&error) == Some("folder_not_empty") => Ok(false),
            Err(error) => Err(write_error(DOING, error)),
        }
    }

    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError> {
        const DOING: &str = "let somebody into the folder in Box";
        let failed = |error| port_error(DOING, error);
        let folder = id(DOING, folder)?;
        let with = collaborator(DOING, &invitation.invitee)?;
        let role = CollaborationRole::from(invitation.role.as_str());
        let collaborations = self.client().collaborations();
        let create = collaborations.create(&folder, with.clone(), role.clone());
        let error = match create.notify(invitation.notify).send().await {
            Ok(made) => return Ok(invited(made, true)),
            Err(error) => error,
        };
        if code(&error) != Some("user_already_collaborator") {
            return Err(match is_about_collaborator(&error) {
                // A 404 all the same, and the folder is there.
                true => PortError::new(PortErrorKind::Refused, DOING)
                    .with_detail(Some(format!(
                        "Box does not know {}",
                        shown(&invitation.invitee)
                    )))
                    .with_cause(error),
                false => write_error(DOING, error),
            });
        }
        let there = self.collaboration(&folder, &with).await.map_err(failed)?;
        let Some(one) = there else {
            return Ok(Invited {
                collaboration: None,
                role: None,
                is_new: false,
            });
        };
        let has = one.role.as_ref().map(CollaborationRole::as_str);
        if has.is_some() && has == invitation.instead_of.as_deref() && has != Some(role.as_str()) {
            let changed = collaborations.update(&one.id).role(role).send().await;
            let changed = changed.map_err(|error| write_error(DOING, error))?;
            return Ok(invited(changed.unwrap_or(one), false));
        }
        Ok(invited(one, false))
    }

    async fn end_collaboration(&self, collaboration: &str) -> Result<(), PortError> {
        const DOING: &str = "end the collaboration in Box";
        let id = CollaborationId::new(collaboration).map_err(|cause| not_an_id(DOING, cause))?;
        match self.client().collaborations().delete(&id).await {
            Err(error) if error.kind() == ErrorKind::NotFound && error.api().is_some() => Ok(()),
            ended => ended.map_err(|error| write_error(DOING, error)),
        }
    }

    async fn named(&self, parent: &str, name: &str) -> Result<Option<Named>, PortError> {
        const DOING: &str = "look into the folder in Box";
        let parent = id(DOING, parent)?;
        let items = self.client().folders().items(&parent).fields(["name"]);
        let mut items = std::pin::pin!(items.stream());
        let (wanted, failed) = (name.to_lowercase(), |error| port_error(DOING, error));
        while let Some(item) = items.try_next().await.map_err(failed)? {
            if item.name().map(str::to_lowercase).as_ref() == Some(&wanted) {
                return Ok(Some(match item {
                    Item::Folder(folder) => Named::Folder(folder.id.as_str().to_owned()),
                    _ => Named::Other,
                }));
            }
        }
        Ok(None)
    }

    async fn standing(
        &self,
        folder: &str,
        invitee: &Invitee,
    ) -> Result<Option<Invited>, PortError> {
        const DOING: &str = "look who is in the folder in Box";
        let (folder, with) = (id(DOING, folder)?, collaborator(DOING, invitee)?);
        let there = self.collaboration(&folder, &with).await;
        let there = there.map_err(|error| port_error(DOING, error))?;
        Ok(there.map(|one| invited(one, false)))
    }
}

impl BoxContent {
    async fn collaboration(
        &self,
        folder: &FolderId,
        with: &Collaborator,
    ) -> Result<Option<Collaboration>, Error> {
        let mut all = std::pin::pin!(self.client().collaborations().on_folder(folder));
        while let Some(one) = all.try_next().await? {
            if is_with(&one, with) {
                return Ok(Some(one));
            }
        }
        Ok(None)
    }
}

fn id(doing: &'static str, folder: &str) -> Result<FolderId, PortError> {
    FolderId::new(folder).map_err(|cause| not_an_id(doing, cause))
}

fn code(error: &Error) -> Option<&str> {
    error.api().and_then(|api| api.code())
}

fn is_name_in_use(error: &Error) -> bool {
    code(error) == Some("item_name_in_use")
}

fn no_folder(doing: &'static str, name: &str) -> PortError {
    let detail = format!("something that is no folder is called {name} there: rename it");
    PortError::new(PortErrorKind::Refused, doing).with_detail(Some(detail))
}

fn words(change: NameChange) -> &'static str {
    match change {
        NameChange::Slashes => "slashes replaced",
        NameChange::Controls => "control characters left out",
        NameChange::Spaces => "spaces at the ends left out",
        NameChange::Cut => "shortened",
        NameChange::Reserved => "no name by itself",
        _ => "changed",
    }
}

fn is_about_collaborator(error: &Error) -> bool {
    let complaints = error.api().map(|api| api.complaints()).unwrap_or_default();
    error.kind() == ErrorKind::NotFound
        && complaints.iter().any(|it| {
            matches!(
                it.name.as_deref(),
                Some("group" | "user" | "accessible_by" | "accessible_by.id")
            )
        })
}

fn shown(invitee: &Invitee) -> String {
    match invitee {
        Invitee::Login(login) => login.clone(),
        Invitee::User(id) => format!("the user {id}"),
        Invitee::Group(id) => format!("the group {id}"),
    }
}

fn collaborator(doing: &'static str, invitee: &Invitee) -> Result<Collaborator, PortError> {
    let failed = |cause| not_an_id(doing, cause);
    Ok(match invitee {
        Invitee::Login(login) => Collaborator::Login(login.clone()),
        Invitee::User(id) => Collaborator::User(UserId::new(id).map_err(failed)?),
        Invitee::Group(id) => Collaborator::Group(GroupId::new(id).map_err(failed)?),
    })
}

fn is_with(one: &Collaboration, with: &Collaborator) -> bool {
    let grantee = one.accessible_by.as_ref();
    let is = |kind: &str, id: &str| {
        grantee.is_some_and(|it| it.kind.as_deref() == Some(kind) && it.id == id)
    };
    match with {
        Collaborator::User(id) => is("user", id.as_str()),
        Collaborator::Group(id) => is("group", id.as_str()),
        Collaborator::Login(login) => {
            let known = grantee.and_then(|it| it.login.as_deref());
            let known = known.into_iter().chain(one.invite_email.as_deref());
            known.into_iter().any(|it| it.eq_ignore_ascii_case(login))
        }
        _ => false,
    }
}

fn invited(one: Collaboration, is_new: bool) -> Invited {
    Invited {
        collaboration: Some(one.id.as_str().to_owned()),
        role: one.role.map(|role| role.as_str().to_owned()),
        is_new,
    }
}
