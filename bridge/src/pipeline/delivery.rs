//! What Box tells of: the item that it is about, and the records that the item's folders name.

use jiff::Timestamp;
use tracing::warn;

use super::{Pipeline, Prepared};
use crate::{
    content::{FileState, FileVersion, FolderRef, FolderState},
    occurrence::{self, BOX_FOUND, Teller, UPLOADED},
    plan::Plan,
    port_error::{PortError, PortErrorKind, in_one_line},
    queue::Leased,
    rules::{Rule, Versions},
    situation::{Person, Situation, Subject},
    store_error::StoreError,
    webhook::{Event, FileSource, FolderSource, ItemRef, Source},
    worker::Outcome,
};

/// Sent in place of any event while the login that made the webhook is over.
const NO_ACTIVE_SESSION: &str = "NO_ACTIVE_SESSION";
const WEBHOOK_DELETED: &str = "WEBHOOK.DELETED";
/// The user that Box Sign works as.
const BOX_SIGN: &str = "Box Sign";
/// Of what was found, only actions of this name are taken.
const ONLY: &str = "only";

impl Pipeline {
    /// What the event would lead to. Reads both sides and writes nothing: a dry run ends here.
    ///
    /// An event that does not say when it happened is taken to have happened when it was
    /// `received_at`.
    pub async fn prepare(
        &self,
        event: &Event,
        received_at: Timestamp,
    ) -> Result<Prepared, PortError> {
        let trigger = match event.trigger.as_str() {
            // The event itself is lost, all but the item. An upload is what it most likely was,
            // and what matters most.
            NO_ACTIVE_SESSION => UPLOADED,
            trigger => trigger,
        };
        if trigger.starts_with("METADATA_INSTANCE.")
            && let Some(item) = event.source.id()
        {
            self.resolver.forget(item);
        }
        if !self.rules.iter().any(|rule| rule.wants(trigger)) {
            return Ok(Prepared::Nothing(format!("no rule for {trigger}")));
        }
        let subject = match self.subject(event).await {
            Err(error) if error.kind() == PortErrorKind::Gone => {
                return Ok(Prepared::Nothing("it is not there any more".into()));
            }
            subject => subject?,
        };
        let Some(subject) = subject else {
            return Ok(Prepared::Nothing(format!(
                "{trigger} without a file or folder"
            )));
        };
        if !self.fits(trigger, &subject) {
            return Ok(Prepared::Nothing(format!(
                "no rule for {trigger} of {}",
                subject.name()
            )));
        }
        let folders = match &subject {
            Subject::File(file) => file.folders.clone(),
            Subject::Folder(folder) => folder.with_itself(),
            Subject::Record(_) => Vec::new(),
        };
        let mapped = self
            .resolver
            .resolve(&*self.content, &*self.crm, &folders)
            .await?;
        let Some(mapped) = mapped else {
            return Ok(Prepared::Nothing(
                "no folder above it is mapped to a record".into(),
            ));
        };
        let is_first_version = is_first(&event.source, &subject);
        let versions = match &subject {
            Subject::File(file) if self.asks_for_versions(trigger, &subject) => {
                Some(match is_first_version || self.is_first(file).await? {
                    true => Versions::First,
                    false => Versions::Later,
                })
            }
            _ => None,
        };
        let mut details = event.additional_info.0.clone();
        if event.trigger.as_str() == NO_ACTIVE_SESSION {
            details.insert(NO_ACTIVE_SESSION.to_owned(), true.into());
        }
        Ok(self.planned(Situation {
            event: event.id.clone(),
            trigger: trigger.to_owned(),
            at: event.created_at.unwrap_or(received_at),
            actor: event.created_by.as_ref().and_then(Person::of),
            person: concerned(&event.source),
            is_first_version,
            versions,
            is_being_signed: trigger == UPLOADED && is_by_box_sign(event),
            subject,
            mapping: Some(mapped.mapping),
            opportunity: mapped.opportunity,
            account: mapped.account,
            details,
        }))
    }

    fn asks_for_versions(&self, trigger: &str, subject: &Subject) -> bool {
        let asks =
            |rule: &Rule| rule.asks_for_versions() && rule.wants(trigger) && rule.fits(subject);
        self.rules.iter().any(asks)
    }

    /// Whether the file had no version before this one.
    async fn is_first(&self, file: &FileState) -> Result<bool, PortError> {
        let past = self.content.earlier_versions(&file.id).await?;
        let before = past.iter().take_while(|past| past.id != file.version.id);
        Ok(before.count() == 0)
    }

    pub(super) async fn prepare_delivery(&self, job: &Leased) -> Result<Prepared, Outcome> {
        let event = Event::parse(&job.body).map_err(|error| Outcome::Dead(in_one_line(&error)))?;
        let webhook = event.webhook_id.as_deref().unwrap_or("(unnamed)");
        match event.trigger.as_str() {
            NO_ACTIVE_SESSION => warn!(
                webhook,
                "the login that made this webhook is over: Box tells of an item only, and not \
                 what happened to it, until that user has a valid token again"
            ),
            WEBHOOK_DELETED => {
                return Err(Outcome::Dead(format!(
                    "Box has deleted webhook {webhook}: make it anew"
                )));
            }
            _ => {}
        }
        let prepared = self.prepare(&event, job.pushed_at).await;
        let mut prepared = prepared.map_err(|error| self.port_failed(&error))?;
        // Nothing that Box signs has this.
        if job.kind == BOX_FOUND
            && let Some(only) = event.extra.get(ONLY).and_then(|only| only.as_str())
            && let Prepared::Steps(situation, plan) = &mut prepared
        {
            plan.only(only);
            situation.details.insert(ONLY.to_owned(), only.into());
        }
        Ok(prepared)
    }

    /// The event by which the same was taken up already, where it was.
    pub(super) async fn known(
        &self,
        job: &Leased,
        situation: &Situation,
        plan: &Plan,
    ) -> Result<Option<String>, StoreError> {
        let Some(teller) = Teller::of(&job.kind).filter(|_| !plan.steps.is_empty()) else {
            return Ok(None);
        };
        // What does a part leaves the rest to whoever tells of the upload itself.
        if situation.details.contains_key(ONLY) {
            return Ok(None);
        }
        let teller = match situation.details.get(NO_ACTIVE_SESSION) {
            // What happened is not told, so it is as if the file had been found.
            Some(_) => Teller::Look,
            None => teller,
        };
        let webhook = match teller {
            Teller::Webhook => Event::parse(&job.body).ok().and_then(|it| it.webhook_id),
            Teller::Stream | Teller::Look => None,
        };
        occurrence::claim(&*self.ledger, teller, webhook, situation, self.clock.now()).await
    }

    /// The file or folder that an event is about: itself, or the one that its source hangs on.
    async fn subject(&self, event: &Event) -> Result<Option<Subject>, PortError> {
        let item = match &event.source {
            Source::File(source) => {
                return Ok(Some(Subject::File(match complete(source) {
                    Some(file) => file,
                    None => self.content.file(&source.id).await?,
                })));
            }
            Source::Folder(source) => {
                return Ok(Some(Subject::Folder(match complete_folder(source) {
                    Some(folder) => folder,
                    None => self.content.folder(&source.id).await?,
                })));
            }
            Source::Collaboration(source) => &source.item,
            Source::Comment(source) | Source::TaskAssignment(source) => &source.item,
            _ => &None,
        };
        Ok(match item {
            Some(ItemRef { id, kind, .. }) if kind.as_deref() == Some("file") => {
                Some(Subject::File(self.content.file(id).await?))
            }
            Some(ItemRef { id, kind, .. }) if kind.as_deref() == Some("folder") => {
                Some(Subject::Folder(self.content.folder(id).await?))
            }
            // Box keeps it to itself while an invitation is open.
            _ => match (&event.source, &event.webhook_id) {
                (Source::Collaboration(_), Some(webhook)) => {
                    let watched = self.content.watched(webhook).await?;
                    watched.map(Subject::Folder)
                }
                _ => None,
            },
        })
    }
}

/// A new file has the sequence id 0, which grows with every change, and was made when it was last
/// changed. A second version has neither; that both are asked for is caution.
fn is_first(source: &Source, subject: &Subject) -> bool {
    let (Source::File(source), Subject::File(file)) = (source, subject) else {
        return false;
    };
    let version = source.version.as_ref();
    version.is_some_and(|version| version.id == file.version.id)
        && source.sequence_id.as_deref() == Some("0")
        && source.created_at.is_some()
        && source.created_at == source.modified_at
}

/// Each signer's turn makes a version, by a user of Box Sign's own.
fn is_by_box_sign(event: &Event) -> bool {
    let is_it = |name: &str| name.trim().eq_ignore_ascii_case(BOX_SIGN);
    let by_event = event.created_by.as_ref().and_then(|by| by.name.as_deref());
    let of_version = match &event.source {
        Source::File(file) => file.extra.get("modified_by"),
        _ => None,
    };
    let by_version = of_version.and_then(|by| by.get("name")?.as_str());
    by_event.is_some_and(is_it) || by_version.is_some_and(is_it)
}

/// Whom it was done to, where the event is about somebody else's rights.
fn concerned(source: &Source) -> Option<Person> {
    let Source::Collaboration(collaboration) = source else {
        return None;
    };
    let mut person = collaboration
        .accessible_by
        .as_ref()
        .and_then(Person::of)
        .unwrap_or_default();
    // Whoever has no account yet is known by the address invited.
    person.email = person
        .email
        .or_else(|| collaboration.invite_email.clone())
        .filter(|email| !email.is_empty());
    (person != Person::default()).then_some(person)
}

fn path(folders: &[ItemRef]) -> Option<Vec<FolderRef>> {
    let folders = folders.iter().map(|folder| FolderRef {
        id: folder.id.clone(),
        name: folder.name.clone().unwrap_or_default(),
    });
    let folders: Vec<_> = folders.collect();
    (!folders.is_empty()).then_some(folders)
}

/// The event's own picture of the folder, where it is whole.
fn complete_folder(source: &FolderSource) -> Option<FolderState> {
    Some(FolderState {
        id: source.id.clone(),
        name: source.name.clone().filter(|name| !name.is_empty())?,
        folders: path(&source.path)?,
    })
}

/// The event's own picture of the file, where it is whole. A stub makes the caller ask.
fn complete(source: &FileSource) -> Option<FileState> {
    let version = source.version.as_ref()?;
    let sha1 = version.sha1.clone().or_else(|| source.sha1.clone());
    let folders = path(&source.path)?;
    Some(FileState {
        id: source.id.clone(),
        name: source.name.clone().filter(|name| !name.is_empty())?,
        version: FileVersion {
            id: version.id.clone(),
            // Without it nobody could tell whether the right bytes arrive.
            sha1: Some(sha1?),
            size: source.size,
            created_at: source.modified_at,
            is_deleted: false,
        },
        folders,
    })
}
