//! Folders on the stage.

use async_trait::async_trait;

use super::stage::{Cue, Place, Stage};
use crate::{
    content::{Content, ContentSource, FileState, FileVersion, FolderState, Mapping},
    folders::{Ensured, FolderName, Folders, Invitation, Invited, Invitee, Named, Placed},
    foresight::Deed,
    port_error::{PortError, PortErrorKind},
};

#[async_trait]
impl ContentSource for Stage {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        self.content.file(file).await
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        self.content.earlier_versions(file).await
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        self.content.open(file, version).await
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        self.folder_state(folder).await
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        self.content.mapping(folder).await
    }
}

#[async_trait]
impl Folders for Stage {
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName {
        self.folders.name(text, mark)
    }

    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError> {
        let (folder, is_new) = match self.named(parent, name).await? {
            Some(Named::Folder(folder)) => (folder, false),
            Some(Named::Other) => {
                let detail =
                    format!("something that is no folder is called {name} there: rename it");
                let refused = PortError::new(PortErrorKind::Refused, "make the folder");
                return Err(refused.with_detail(Some(detail)));
            }
            None => {
                let mut state = self.state();
                let folder = format!("(new {})", state.places.len() + 1);
                let place = Place {
                    parent: parent.to_owned(),
                    name: name.to_owned(),
                    is_new: true,
                };
                state.places.insert(folder.clone(), place);
                (folder, true)
            }
        };
        Ok(Ensured { folder, is_new })
    }

    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError> {
        let there = self.named(parent, name).await?;
        if there.is_some_and(|it| it != Named::Folder(folder.to_owned())) {
            self.tell(Cue::Taken {
                parent: parent.to_owned(),
                name: name.to_owned(),
            });
            return Ok(Placed::NameTaken);
        }
        // Box refuses it, too, and nobody could tell where such a folder is.
        let around = self.folder_state(parent).await?.with_itself();
        if around.iter().any(|it| it.id == folder) {
            let refused = PortError::new(PortErrorKind::Refused, "move the folder");
            let why = "a folder cannot be moved into a folder of its own";
            return Err(refused.with_detail(Some(why.to_owned())));
        }
        let before = self.folder_state(folder).await?;
        let mut state = self.state();
        let place = Place {
            parent: parent.to_owned(),
            name: name.to_owned(),
            is_new: state.places.get(folder).is_some_and(|it| it.is_new),
        };
        state.places.insert(folder.to_owned(), place);
        drop(state);
        self.tell(Cue::Placed {
            folder: folder.to_owned(),
            before,
        });
        Ok(Placed::There)
    }

    async fn discard(&self, folder: &str) -> Result<bool, PortError> {
        Ok(self.state().places.remove(folder).is_some())
    }

    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError> {
        let Invitation { invitee, role, .. } = invitation;
        let there = self.standing(folder, invitee).await?;
        let has = there.as_ref().and_then(|it| it.role.clone());
        let changes = has.is_some() && has == invitation.instead_of && has.as_ref() != Some(role);
        let deed = match (&there, &has) {
            (None, _) => Deed::write("let_in", format!("let {invitee} in as {role}:")),
            (Some(_), Some(has)) if changes => {
                let does = format!("make {invitee}, who is {has}, {role}:");
                Deed::write("change_role", does).about("was", has.as_str())
            }
            (Some(_), has) => {
                let has = has.as_deref().unwrap_or("somebody");
                let does = format!("{invitee} is in as {has}:");
                Deed::there("collaborator", does).about("has", has)
            }
        };
        self.tell(Cue::On {
            folder: folder.to_owned(),
            deed: deed
                .about("who", invitee.to_string())
                .about("role", role.as_str()),
        });
        let is_new = there.is_none();
        Ok(Invited {
            collaboration: there.and_then(|it| it.collaboration),
            role: if is_new || changes {
                Some(role.clone())
            } else {
                has
            },
            is_new,
        })
    }

    /// Whoever ends it tells whose it is.
    async fn end_collaboration(&self, _: &str) -> Result<(), PortError> {
        Ok(())
    }

    async fn named(&self, parent: &str, name: &str) -> Result<Option<Named>, PortError> {
        let is_it = |place: &Place| {
            place.parent == parent && place.name.to_lowercase() == name.to_lowercase()
        };
        let played = {
            let state = self.state();
            let mut played = state.places.iter();
            played
                .find(|(_, place)| is_it(place))
                .map(|(id, _)| id.clone())
        };
        if let Some(folder) = played {
            return Ok(Some(Named::Folder(folder)));
        }
        if self.is_new(parent) {
            return Ok(None);
        }
        let there = self.folders.named(parent, name).await?;
        let has_left = |folder: &str| self.place_of(folder).is_some();
        Ok(there.filter(|it| !matches!(it, Named::Folder(folder) if has_left(folder))))
    }

    async fn standing(
        &self,
        folder: &str,
        invitee: &Invitee,
    ) -> Result<Option<Invited>, PortError> {
        match self.is_new(folder) {
            true => Ok(None),
            false => self.folders.standing(folder, invitee).await,
        }
    }
}
