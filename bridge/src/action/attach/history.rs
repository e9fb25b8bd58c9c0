use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{StepError, Work};
use crate::{
    content::{FileState, FileVersion},
    crm::Record,
    ledger::{EffectKey, EffectState},
    port_error::PortErrorKind,
    store_error::{StoreError, StoreErrorKind},
};

/// A version of the file that is on the far side.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Attached {
    /// The file's version on the content side.
    pub(super) from: String,
    /// When that was made.
    pub(super) made_at: Option<Timestamp>,
    /// Its id on the far side.
    pub(super) version: String,
    /// Unknown as long as it has not been read back.
    pub(super) document: Option<String>,
    /// How many bytes have passed.
    pub(super) size: Option<u64>,
    /// Their MD5, where it was asked for.
    pub(super) md5: Option<String>,
    /// The record that the upload itself has put the document on.
    pub(super) published_on: Option<String>,
    /// How many versions of the file had been brought before it.
    pub(super) order: usize,
}

/// What has been brought of one file so far.
#[derive(Debug)]
pub(super) struct History<'f> {
    pub(super) file: &'f FileState,
    brought: Vec<Attached>,
    /// Versions whose upload has an unknown outcome.
    doubted: Vec<String>,
}

/// What an event asks for.
#[derive(Debug)]
pub(super) enum Due {
    /// Nothing, for this reason.
    Nothing(String),
    /// These versions, oldest first.
    Versions(Vec<FileVersion>),
}

pub(super) fn key(file: &str, version: &str) -> EffectKey {
    EffectKey::new(["version", file, version])
}

impl<'f> History<'f> {
    pub(super) async fn read(work: &Work<'_>, file: &'f FileState) -> Result<Self, StepError> {
        let under = EffectKey::new(["version", &file.id]);
        let mut history = Self {
            file,
            brought: Vec::new(),
            doubted: Vec::new(),
        };
        for effect in work.ledger.under(&under).await? {
            match effect.state {
                EffectState::Finished(result) => {
                    history
                        .brought
                        .push(Attached::deserialize(result).map_err(|cause| {
                            StoreError::new(StoreErrorKind::Corrupt, "read").with_cause(cause)
                        })?);
                }
                EffectState::Begun(_) | EffectState::Doubted(_) => {
                    history.doubted.extend(effect.key.parts().nth(2));
                }
            }
        }
        Ok(history)
    }

    pub(super) fn of(&self, version: &str) -> Option<&Attached> {
        self.brought
            .iter()
            .find(|attached| attached.from == version)
    }

    pub(super) fn len(&self) -> usize {
        self.brought.len()
    }

    pub(super) fn has_stored(&self, version: &str) -> bool {
        self.brought.iter().any(|it| it.version == version)
    }

    /// The document that the newest of them is a version of.
    pub(super) fn document(&self) -> Option<&str> {
        self.newest_whole()?.document.as_deref()
    }

    fn newest_whole(&self) -> Option<&Attached> {
        self.brought
            .iter()
            .filter(|attached| attached.document.is_some())
            .max_by_key(|attached| attached.order)
    }

    /// Whether the document came to be on this record.
    pub(super) fn published_on(&self, document: &str, record: &Record) -> bool {
        self.in_document(document)
            .any(|attached| attached.published_on.as_ref() == Some(&record.id))
    }

    pub(super) fn add(&mut self, attached: Attached) {
        self.brought.retain(|before| before.from != attached.from);
        self.brought.push(attached);
    }

    /// Whether the far side still has the document.
    pub(super) async fn is_still_there(
        &self,
        work: &Work<'_>,
        document: &str,
    ) -> Result<bool, StepError> {
        for attached in self.in_document(document) {
            match work.crm.stored(&attached.version).await {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == PortErrorKind::Gone => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Lets the file start anew: somebody has deleted this document.
    pub(super) async fn forget(&self, work: &Work<'_>, document: &str) -> Result<(), StepError> {
        let file = &self.file.id;
        for attached in self.in_document(document) {
            work.ledger.forget(&key(file, &attached.from)).await?;
        }
        Ok(())
    }

    /// The versions to bring: the event's own after those before it whose events it has
    /// overtaken. None when it is there already, or when a later one is.
    pub(super) async fn due(&self, work: &Work<'_>) -> Result<Due, StepError> {
        let own = &self.file.version;
        if self.is_whole(&own.id) {
            return Ok(Due::Nothing(format!("version {} is there already", own.id)));
        }
        let mut past = work.content.earlier_versions(&self.file.id).await?;
        let position = past.iter().position(|version| version.id == own.id);
        if let Some(later) = self
            .brought
            .iter()
            .find(|it| is_later(it, own, position, &past))
        {
            return Ok(Due::Nothing(format!(
                "version {} comes too late: {} is there",
                own.id, later.from
            )));
        }
        if let Some(position) = position {
            if past[position].is_deleted {
                return Ok(Due::Nothing(format!("version {} was deleted", own.id)));
            }
            past.truncate(position);
        }
        let known = |version: &FileVersion| {
            self.of(&version.id).is_some() || self.doubted.contains(&version.id)
        };
        let first = match past.iter().rposition(known) {
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
        due.retain(|version| !version.is_deleted);
        due.push(own.clone());
        Ok(Due::Versions(due))
    }

    fn in_document(&self, document: &str) -> impl Iterator<Item = &Attached> {
        self.brought
            .iter()
            .filter(move |attached| attached.document.as_deref() == Some(document))
    }

    /// Whether nothing is left to do for this version.
    fn is_whole(&self, version: &str) -> bool {
        self.of(version)
            .is_some_and(|attached| attached.document.is_some())
    }
}

/// Whether what has been brought came after the event's own version, which stands at `position` of
/// the versions before the current one. Box's list tells, and where one of the two is not in it,
/// for it is the current one or was deleted, their times do.
fn is_later(
    brought: &Attached,
    own: &FileVersion,
    position: Option<usize>,
    past: &[FileVersion],
) -> bool {
    if brought.from == own.id {
        return false;
    }
    let its = past.iter().position(|version| version.id == brought.from);
    if let (Some(its), Some(position)) = (its, position) {
        return its > position;
    }
    match brought.made_at.zip(own.created_at) {
        Some((its, own)) if its != own => its > own,
        // Box's times have whole seconds. What is not among the past ones is the current one.
        _ => position.is_some(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn version(id: &str, second: Option<i64>) -> FileVersion {
        FileVersion {
            id: id.into(),
            sha1: None,
            size: None,
            created_at: second.map(|second| Timestamp::from_second(second).unwrap()),
            is_deleted: false,
        }
    }

    fn attached(from: &str, second: Option<i64>) -> Attached {
        Attached {
            from: from.into(),
            made_at: second.map(|second| Timestamp::from_second(second).unwrap()),
            version: "v".into(),
            document: Some("d".into()),
            size: None,
            md5: None,
            published_on: None,
            order: 0,
        }
    }

    #[test]
    fn the_list_tells_what_came_later_and_where_it_is_silent_the_times_do() {
        let past = [version("1", Some(1)), version("2", Some(2))];
        let later = |it: Attached, own: &FileVersion| {
            let position = past.iter().position(|version| version.id == own.id);
            is_later(&it, own, position, &past)
        };
        assert!(later(attached("2", Some(2)), &past[0]));
        assert!(!later(attached("1", Some(1)), &past[1]));
        assert!(later(attached("current", Some(9)), &past[1]));
        assert!(later(attached("current", None), &past[1]));
        let current = version("3", Some(3));
        assert!(!later(attached("2", Some(2)), &current));
        // Pruned from Box's list since.
        assert!(!later(attached("0", Some(0)), &past[1]));
        // The event is about a version that was deleted, after a newer one was brought.
        assert!(later(attached("4", Some(4)), &current));
    }
}
