use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, StepError, Work};
use crate::{
    checked::checked,
    content::FileVersion,
    crm::{NewFile, Origin, Place, Record, StoredVersion},
    ledger::{EffectKey, EffectState},
    once::{finish, once, once_harmless},
    plan::Step,
    port_error::{PortError, PortErrorKind},
    situation::Situation,
    store_error::{StoreError, StoreErrorKind},
};

/// Brings the file to its records: one document for the file, one version of it for each version
/// of the file, in order, and one link for each record.
#[derive(Clone, Debug)]
pub struct Attach {
    to: Vec<Target>,
}

/// A record that a file is shown on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The mapped Opportunity.
    Opportunity,
    /// The mapped Account.
    Account,
}

impl Attach {
    /// Attaches to these records, as far as they are mapped. The first is where the document is
    /// published, the others get links.
    pub fn to(targets: impl IntoIterator<Item = Target>) -> Self {
        Self {
            to: targets.into_iter().collect(),
        }
    }

    fn records<'s>(&self, situation: &'s Situation) -> Vec<&'s Record> {
        let mut records: Vec<&Record> = Vec::new();
        for target in &self.to {
            let record = match target {
                Target::Opportunity => situation.opportunity.as_ref(),
                Target::Account => situation.account.as_ref(),
            };
            records.extend(record.filter(|record| !records.contains(record)));
        }
        records
    }
}

#[async_trait]
impl Action for Attach {
    fn name(&self) -> &str {
        "attach"
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let records = self.records(situation);
        let ids: Vec<_> = records.iter().map(|record| record.id.as_str()).collect();
        let file = &situation.file;
        (!ids.is_empty()).then(|| {
            format!(
                "attach {} (version {}) to {}",
                file.name,
                file.version.id,
                ids.join(", ")
            )
        })
    }

    async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
        let records = self.records(work.situation);
        let Some((first, _)) = records.split_first() else {
            return Ok("no record to attach to".to_owned());
        };
        let mut history = History::read(work).await?;
        let due = history.due(work).await?;
        let own = &work.situation.file.version.id;
        for version in &due {
            match bring(work, &history, version, first).await {
                Ok(attached) => history.add(attached),
                // A version before the event's own that Box does not give any more is passed over.
                Err(StepError::Port(error))
                    if error.kind() == PortErrorKind::Gone && version.id != *own => {}
                Err(error) => return Err(error),
            }
        }
        let Some(document) = history.document() else {
            return Ok(format!("{} was not brought", work.situation.file.name));
        };
        for record in &records {
            if history.published_on(document, record) {
                continue;
            }
            let key = EffectKey::new(["link", document, &record.id]);
            once_harmless(work, &key, || work.crm.link(document, record)).await?;
        }
        Ok(match due.len() {
            0 => format!("{document} needs no version {own}: it or a later one is there"),
            1 => format!("{document} has version {own}"),
            many => format!("{document} has version {own} and {} before it", many - 1),
        })
    }
}

/// A version of the file that is on the far side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Attached {
    /// The file's version on the content side.
    from: String,
    /// Its id on the far side.
    version: String,
    /// Unknown as long as it has not been read back.
    document: Option<String>,
    /// What its bytes were when they passed.
    md5: Option<String>,
    /// The record that the upload itself has put the document on.
    published_on: Option<String>,
    /// How many versions of the file had been brought before it.
    order: usize,
}

/// What has been brought of one file so far.
#[derive(Debug)]
struct History {
    brought: Vec<Attached>,
}

impl History {
    async fn read(work: &Work<'_>) -> Result<Self, StepError> {
        let under = EffectKey::new(["version", &work.situation.file.id]);
        let mut brought = Vec::new();
        for effect in work.ledger.under(&under).await? {
            if let EffectState::Finished(result) = effect.state {
                brought.push(Attached::deserialize(result).map_err(|cause| {
                    StoreError::new(StoreErrorKind::Corrupt, "read").with_cause(cause)
                })?);
            }
        }
        Ok(Self { brought })
    }

    fn of(&self, version: &str) -> Option<&Attached> {
        self.brought
            .iter()
            .find(|attached| attached.from == version)
    }

    /// Whether nothing is left to do for this version.
    fn is_whole(&self, version: &str) -> bool {
        self.of(version)
            .is_some_and(|attached| attached.document.is_some())
    }

    /// The document that the newest of them is a version of.
    fn document(&self) -> Option<&str> {
        self.brought
            .iter()
            .filter(|attached| attached.document.is_some())
            .max_by_key(|attached| attached.order)?
            .document
            .as_deref()
    }

    /// Whether the document came to be on this record.
    fn published_on(&self, document: &str, record: &Record) -> bool {
        self.brought.iter().any(|attached| {
            attached.document.as_deref() == Some(document)
                && attached.published_on.as_ref() == Some(&record.id)
        })
    }

    fn add(&mut self, attached: Attached) {
        self.brought.retain(|before| before.from != attached.from);
        self.brought.push(attached);
    }

    /// The versions to bring, oldest first: the event's own after those before it whose events
    /// it has overtaken. Empty when it is there already, or when a later one is.
    async fn due(&self, work: &Work<'_>) -> Result<Vec<FileVersion>, StepError> {
        let own = &work.situation.file.version;
        if self.is_whole(&own.id) {
            return Ok(Vec::new());
        }
        let mut past = work
            .content
            .earlier_versions(&work.situation.file.id)
            .await?;
        if let Some(position) = past.iter().position(|version| version.id == own.id) {
            // The event's version is not the current one any more. Whatever was brought and does
            // not stand before it in the list came after it.
            let before = &past[..position];
            let is_before = |id: &str| before.iter().any(|version| version.id == id);
            if self
                .brought
                .iter()
                .any(|it| it.from != own.id && !is_before(&it.from))
            {
                return Ok(Vec::new());
            }
            past.truncate(position);
        }
        let first = match past
            .iter()
            .rposition(|version| self.of(&version.id).is_some())
        {
            Some(last) if self.is_whole(&past[last].id) => last + 1,
            Some(last) => last,
            None => {
                let since = own
                    .created_at
                    .unwrap_or(work.situation.at)
                    .checked_sub(work.options.overtaken_within)
                    .unwrap_or(Timestamp::MIN);
                let is_old = |it: &FileVersion| it.created_at.is_none_or(|at| at < since);
                past.iter()
                    .rposition(is_old)
                    .map_or(0, |position| position + 1)
            }
        };
        let mut due = past.split_off(first);
        due.push(own.clone());
        Ok(due)
    }
}

/// Brings one version: uploads it, or finds it where an earlier upload's answer was lost, and
/// reads back what the far side has.
async fn bring(
    work: &Work<'_>,
    history: &History,
    version: &FileVersion,
    record: &Record,
) -> Result<Attached, StepError> {
    let file = &work.situation.file;
    let origin = Origin {
        file: file.id.clone(),
        version: version.id.clone(),
    };
    let key = EffectKey::new(["version", &file.id, &version.id]);
    let order = history.brought.len();
    let attached = once(
        work,
        &key,
        async || {
            let found = find(work, history, version, &origin, record).await?;
            Ok(found.map(|stored| Attached {
                from: version.id.clone(),
                version: stored.version,
                document: Some(stored.document),
                md5: stored.md5,
                published_on: None,
                order,
            }))
        },
        async || upload(work, history.document(), version, &origin, record, order).await,
    )
    .await?;
    if attached.document.is_some() {
        return Ok(attached);
    }
    let stored = work.crm.stored(&attached.version).await?;
    let whole = confirmed(attached, stored)?;
    finish(work, &key, &whole).await?;
    Ok(whole)
}

async fn upload(
    work: &Work<'_>,
    document: Option<&str>,
    version: &FileVersion,
    origin: &Origin,
    record: &Record,
    order: usize,
) -> Result<Attached, PortError> {
    let file = &work.situation.file;
    let mut place = match document {
        Some(document) => Place::VersionOf {
            document: document.to_owned(),
        },
        None => Place::New {
            record: record.clone(),
        },
    };
    loop {
        let content = work.content.open(&file.id, version).await?;
        let (content, fingerprint) = checked(content, version.sha1.as_deref());
        let new = NewFile {
            name: file.name.clone(),
            origin: origin.clone(),
            place: place.clone(),
        };
        match work.crm.upload(&new, content).await {
            Ok(id) => {
                let attached = Attached {
                    from: version.id.clone(),
                    version: id,
                    document: None,
                    md5: fingerprint.md5(),
                    published_on: matches!(place, Place::New { .. }).then(|| record.id.clone()),
                    order,
                };
                // Most of the time this spares the ledger a half-known entry. Where it fails or
                // does not fit, the entry is stored and the caller asks again and judges.
                let stored = work.crm.stored(&attached.version).await.ok();
                return Ok(stored
                    .and_then(|stored| confirmed(attached.clone(), stored).ok())
                    .unwrap_or(attached));
            }
            // A person has deleted the document: the file starts anew.
            Err(error)
                if error.kind() == PortErrorKind::Gone
                    && matches!(place, Place::VersionOf { .. }) =>
            {
                place = Place::New {
                    record: record.clone(),
                };
            }
            Err(error) => return Err(error),
        }
    }
}

/// Holds what the far side has against what passed.
fn confirmed(attached: Attached, stored: StoredVersion) -> Result<Attached, StepError> {
    let differs = attached
        .md5
        .as_ref()
        .zip(stored.md5.as_ref())
        .is_some_and(|(passed, stored)| !passed.eq_ignore_ascii_case(stored));
    if differs {
        return Err(StepError::Person(format!(
            "the far side has stored other bytes as {} than were sent",
            attached.version
        )));
    }
    Ok(Attached {
        document: Some(stored.document),
        ..attached
    })
}

/// What an earlier upload has left, if it arrived: what says that it is this version, or what does
/// not say where it comes from and has the same bytes.
async fn find(
    work: &Work<'_>,
    history: &History,
    version: &FileVersion,
    origin: &Origin,
    record: &Record,
) -> Result<Option<StoredVersion>, StepError> {
    let found = work.crm.find(origin, record, history.document()).await?;
    let fits = |stored: &StoredVersion| {
        stored
            .size
            .zip(version.size)
            .is_none_or(|(there, here)| there == here)
    };
    let (ours, nameless): (Vec<_>, Vec<_>) = found
        .into_iter()
        .filter(|stored| fits(stored))
        .filter(|stored| stored.origin.as_ref().is_none_or(|from| from == origin))
        .partition(|stored| stored.origin.is_some());
    if let Some(ours) = ours.into_iter().next() {
        return Ok(Some(ours));
    }
    let known = |stored: &StoredVersion| {
        history
            .brought
            .iter()
            .any(|attached| attached.version == stored.version)
    };
    let nameless: Vec<_> = nameless
        .into_iter()
        .filter(|stored| stored.md5.is_some() && !known(stored))
        .collect();
    if nameless.is_empty() {
        return Ok(None);
    }
    let md5 = md5_of(work, version).await?;
    let same = |stored: &StoredVersion| {
        stored
            .md5
            .as_ref()
            .is_some_and(|there| there.eq_ignore_ascii_case(&md5))
    };
    Ok(nameless.into_iter().find(same))
}

async fn md5_of(work: &Work<'_>, version: &FileVersion) -> Result<String, PortError> {
    let content = work.content.open(&work.situation.file.id, version).await?;
    let (mut content, fingerprint) = checked(content, version.sha1.as_deref());
    while let Some(chunk) = content.bytes.next().await {
        chunk?;
    }
    fingerprint
        .md5()
        .ok_or_else(|| PortError::new(PortErrorKind::Busy, "download"))
}
