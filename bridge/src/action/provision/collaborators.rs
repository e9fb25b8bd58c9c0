//! Who is let into a record's folder.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{OWNER_EMAIL, OWNER_IS_ACTIVE, levels::Walk, rehearsal::Cue};
use crate::{
    action::StepError,
    folders::{Invitation, Invitee},
    foresight::Deed,
    ledger::{Begin, EffectKey, EffectState},
    once::finish,
    port_error::{PortErrorKind, in_one_line},
};

/// Somebody whom a rule lets into folders.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Collaborate {
    /// Who.
    pub who: Who,
    /// What they may do, in the content side's words, such as `editor`.
    pub role: String,
}

/// Whom a rule lets into folders.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The record's owner, by e-mail address. One who is not active any more, or is a queue, is
    /// left out.
    Owner,
    /// Always the same.
    Fixed(Invitee),
}

impl Collaborate {
    pub(super) fn is_owner(&self) -> bool {
        self.who == Who::Owner
    }
}

/// What is remembered of somebody in a folder.
#[derive(Debug, Deserialize, Serialize)]
struct LetIn {
    collaboration: Option<String>,
    role: String,
    /// Whether they are in because of us.
    is_ours: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct Owner {
    login: String,
}

fn key(folder: &str, invitee: &Invitee) -> EffectKey {
    let (kind, id) = match invitee {
        Invitee::Login(login) => ("login", login.to_lowercase()),
        Invitee::User(id) => ("user", id.clone()),
        Invitee::Group(id) => ("group", id.clone()),
    };
    EffectKey::new(["collaboration", folder, kind, &id])
}

impl Walk<'_> {
    /// Lets in whom the rules name, and a former owner out. Whoever is refused does not keep the
    /// others out, nor a former owner in.
    pub(super) async fn let_in(&mut self, folder: &str) -> Result<(), StepError> {
        let mut refused = Vec::new();
        let owner = self.owner();
        if (self.provision.collaborators.iter()).any(Collaborate::is_owner) {
            self.change_owner(folder, owner.clone()).await?;
        }
        for Collaborate { who, role } in &self.provision.collaborators {
            let invitee = match who {
                Who::Fixed(invitee) => invitee.clone(),
                Who::Owner => match &owner {
                    Some(login) => Invitee::Login(login.clone()),
                    None => continue,
                },
            };
            match self.invite(folder, &invitee, role).await {
                Err(StepError::Port(error)) if error.kind() == PortErrorKind::Refused => {
                    refused.push(in_one_line(&error));
                }
                invited => invited?,
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(StepError::Person(format!(
            "folder {folder} is there, but: {}",
            refused.join("; ")
        )))
    }

    fn owner(&mut self) -> Option<String> {
        if !self
            .provision
            .collaborators
            .iter()
            .any(Collaborate::is_owner)
        {
            return None;
        }
        let is_active = self
            .state
            .fields
            .get(OWNER_IS_ACTIVE)
            .and_then(|it| it.as_bool());
        let email = self.state.text(OWNER_EMAIL);
        let owner = email
            .filter(|_| is_active != Some(false))
            .map(str::to_lowercase);
        if owner.is_none() {
            self.notes.push("no active owner to let in".to_owned());
        }
        owner
    }

    async fn invite(
        &mut self,
        folder: &str,
        invitee: &Invitee,
        role: &str,
    ) -> Result<(), StepError> {
        let key = key(folder, invitee);
        let writer = self.work.hold.writer();
        let (mut is_doubtful, mut instead_of, mut was_ours) = (false, None, false);
        match self.work.ledger.read(&key).await? {
            None => {}
            Some(EffectState::Finished(known)) => {
                if let Ok(known) = LetIn::deserialize(known) {
                    if known.role == role {
                        self.provision.tell(|| {
                            let does = format!("{invitee} is in as {role}:");
                            let deed = Deed::there("collaborator", does).about("role", role);
                            let deed = deed.about("who", invitee.to_string());
                            let folder = folder.to_owned();
                            Cue::On { folder, deed }
                        });
                        return Ok(());
                    }
                    was_ours = known.is_ours;
                    instead_of = known.is_ours.then_some(known.role);
                }
                self.work.ledger.forget(&key).await?;
            }
            Some(_) => {
                is_doubtful = self.work.ledger.doubt(&key, writer, Duration::ZERO).await?;
            }
        }
        self.may_write()?;
        let begun = self.work.ledger.begin(&key, writer, self.work.clock.now());
        if begun.await? == Begin::Taken {
            // Another job invites the same person to the same folder at this moment.
            return Err(StepError::LostHold);
        }
        let invitation = Invitation {
            invitee: invitee.clone(),
            role: role.to_owned(),
            notify: self.provision.notify,
            instead_of,
        };
        let invited = match self.provision.folders.invite(folder, &invitation).await {
            Ok(invited) => invited,
            Err(error) => {
                if error.had_no_effect() && !is_doubtful {
                    self.work.ledger.abandon(&key, writer).await?;
                }
                return Err(error.into());
            }
        };
        let has_the_role = invited.role.as_deref() == Some(role);
        let is_ours = invited.is_new || ((is_doubtful || was_ours) && has_the_role);
        if invited.is_new {
            self.notes.push(format!("let {invitee} in as {role}"));
        } else if let Some(has) = invited.role.filter(|_| !has_the_role) {
            self.notes.push(format!("{invitee} stays {has}"));
        }
        let let_in = LetIn {
            collaboration: invited.collaboration,
            role: role.to_owned(),
            is_ours,
        };
        finish(self.work, &key, &let_in).await
    }

    /// With nobody to let in, as in a queue's hands, the former owner is let out all the same.
    async fn change_owner(&mut self, folder: &str, login: Option<String>) -> Result<(), StepError> {
        let owner_key = EffectKey::new(["folder-owner", folder]);
        let former = match self.work.ledger.read(&owner_key).await? {
            Some(EffectState::Finished(owner)) => Owner::deserialize(owner).ok(),
            _ => None,
        };
        if former.as_ref().map(|former| &former.login) == login.as_ref() {
            return Ok(());
        }
        if let Some(former) = former.filter(|_| !self.provision.keep_former_owner) {
            self.let_out(folder, &former.login).await?;
        }
        match login {
            Some(login) => finish(self.work, &owner_key, &Owner { login }).await,
            None => Ok(self.work.ledger.forget(&owner_key).await?),
        }
    }

    async fn let_out(&mut self, folder: &str, login: &str) -> Result<(), StepError> {
        let invitee = Invitee::Login(login.to_owned());
        let is_wanted = |it: &super::Collaborate| match &it.who {
            Who::Fixed(Invitee::Login(other)) => other.eq_ignore_ascii_case(login),
            _ => false,
        };
        if self.provision.collaborators.iter().any(is_wanted) {
            return Ok(());
        }
        let key = key(folder, &invitee);
        let Some(EffectState::Finished(known)) = self.work.ledger.read(&key).await? else {
            return Ok(());
        };
        if let Ok(LetIn {
            collaboration: Some(id),
            is_ours: true,
            ..
        }) = LetIn::deserialize(known)
        {
            self.may_write()?;
            self.provision.folders.end_collaboration(&id).await?;
            self.notes.push(format!("let {login} out"));
            self.provision.tell(|| Cue::On {
                folder: folder.to_owned(),
                deed: Deed::write("let_out", format!("let {login} out of")).about("who", login),
            });
        }
        Ok(self.work.ledger.forget(&key).await?)
    }
}
