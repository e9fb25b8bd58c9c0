use std::task::Poll;

use futures_util::{StreamExt, stream};

use super::{
    super::{StepError, Work},
    history::{Attached, History, key},
};
use crate::{
    checked::{Besides, checked},
    content::{Content, FileState, FileVersion},
    crm::{NewFile, Origin, Place, Record, StoredVersion},
    once::finish,
    port_error::{PortError, PortErrorKind},
    worker::Hold,
};

/// What became of a version.
pub(super) enum Brought {
    /// The far side has it.
    There(Attached),
    /// The content side does not have it any more.
    Deleted,
}

/// Brings one version: uploads it, or finds it where an earlier upload's answer was lost, and
/// reads back what the far side has. The document is published on the first of the records.
pub(super) async fn bring(
    work: &Work<'_>,
    history: &History<'_>,
    version: &FileVersion,
    records: &[&Record],
) -> Result<Brought, StepError> {
    // Before the effect is begun, so that nothing stands begun that only waits for its place.
    let _place = work.transfers.acquire().await;
    if let (None, Some(size)) = (history.of(&version.id), version.size) {
        work.crm.has_room(size)?;
    }
    let file = history.file;
    let origin = Origin {
        file: file.id.clone(),
        version: version.id.clone(),
    };
    let key = key(&file.id, &version.id);
    let order = history.len();
    let attached = work
        .once_settling(
            &key,
            work.options.settle_uploads_after,
            async || {
                let found = find(work, history, version, &origin, records).await?;
                Ok(found.map(|stored| Attached {
                    from: version.id.clone(),
                    made_at: version.created_at,
                    version: stored.version,
                    document: Some(stored.document),
                    size: stored.size,
                    md5: stored.md5,
                    published_on: None,
                    linked_to: Vec::new(),
                    order,
                }))
            },
            async || upload(work, history, version, &origin, records, order).await,
        )
        .await;
    let attached = match attached {
        Err(StepError::Port(error)) if error.kind() == PortErrorKind::NoContent => {
            return Ok(Brought::Deleted);
        }
        attached => attached?,
    };
    if attached.document.is_some() {
        return Ok(Brought::There(attached));
    }
    let stored = match work.crm.stored(&attached.version).await {
        Err(error) if error.kind() == PortErrorKind::Gone => {
            work.ledger.forget(&key).await?;
            let cause = "it was deleted right after its upload; it is brought anew";
            return Err(PortError::new(PortErrorKind::Busy, "read the version back")
                .with_cause(cause)
                .into());
        }
        stored => stored?,
    };
    let whole = match confirmed(attached, stored) {
        Err(differs) => {
            // Once a person has dealt with it, a replay brings it anew.
            work.ledger.forget(&key).await?;
            return Err(differs);
        }
        whole => whole?,
    };
    finish(work, &key, &whole).await?;
    Ok(Brought::There(whole))
}

async fn upload(
    work: &Work<'_>,
    history: &History<'_>,
    version: &FileVersion,
    origin: &Origin,
    records: &[&Record],
    order: usize,
) -> Result<Attached, PortError> {
    let file = history.file;
    let Some((record, others)) = records.split_first() else {
        return Err(PortError::new(PortErrorKind::Refused, "upload").with_cause("no record"));
    };
    let record = *record;
    let mut place = match history.document() {
        Some(document) => Place::VersionOf {
            document: document.to_owned(),
        },
        None => Place::New {
            record: record.clone(),
        },
    };
    loop {
        let content = work.content.open(&file.id, version).await?;
        let size = content.size;
        let besides = match work.options.compare_checksums {
            true => Besides::Md5,
            false => Besides::Nothing,
        };
        let (content, fingerprint) = checked(content, version.sha1.as_deref(), besides);
        let content = while_good(work.hold, content);
        let new = NewFile {
            name: file.name.clone(),
            origin: origin.clone(),
            place: place.clone(),
        };
        match work.crm.upload(&new, content).await {
            Ok(id) => {
                let is_new = matches!(place, Place::New { .. });
                let attached = Attached {
                    from: version.id.clone(),
                    made_at: version.created_at,
                    version: id,
                    document: None,
                    size: Some(size),
                    md5: fingerprint.md5(),
                    published_on: is_new.then(|| record.id.clone()),
                    linked_to: Vec::new(),
                    order,
                };
                let others = if is_new { others } else { &[] };
                return Ok(read_back(work, attached, others).await);
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

/// Most of the time this spares the ledger a half-known entry, and the links a call each. Where it
/// fails or does not fit, the entry is stored and the caller asks again and judges.
async fn read_back(work: &Work<'_>, attached: Attached, others: &[&Record]) -> Attached {
    // What is to be compared first is shown afterwards.
    let records = match work.options.compare_checksums || !work.hold.is_good() {
        true => Vec::new(),
        false => others.iter().map(|record| (*record).clone()).collect(),
    };
    let read = work.crm.stored_and_linked(&attached.version, &records);
    let Ok((stored, linked)) = read.await else {
        return attached;
    };
    let linked_to = linked.into_iter().map(|record| record.id).collect();
    match confirmed(attached.clone(), stored) {
        Ok(whole) => Attached { linked_to, ..whole },
        Err(_) => attached,
    }
}

/// Breaks the upload off where the hold is lost on the way: a client may read the content in a task
/// of its own, which outlives the attempt, and could still complete it when another worker has begun.
fn while_good(hold: &Hold, content: Content) -> Content {
    let Content { size, mut bytes } = content;
    let hold = hold.clone();
    let bytes = stream::poll_fn(move |context| match hold.is_good() {
        true => bytes.poll_next_unpin(context),
        false => {
            let cause = "the lease ran out on the way";
            let lost = PortError::new(PortErrorKind::Busy, "pass the file on").with_cause(cause);
            Poll::Ready(Some(Err(lost)))
        }
    });
    Content {
        size,
        bytes: bytes.boxed(),
    }
}

/// Holds what the far side has against what passed.
fn confirmed(attached: Attached, stored: StoredVersion) -> Result<Attached, StepError> {
    let other_size = attached
        .size
        .zip(stored.size)
        .is_some_and(|(passed, stored)| passed != stored);
    let other_md5 = attached
        .md5
        .as_ref()
        .zip(stored.md5.as_ref())
        .is_some_and(|(passed, stored)| !passed.eq_ignore_ascii_case(stored));
    if other_size || other_md5 {
        return Err(StepError::Person(format!(
            "the far side has stored other bytes as {} than were sent: delete it there, then replay",
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
    history: &History<'_>,
    version: &FileVersion,
    origin: &Origin,
    records: &[&Record],
) -> Result<Option<StoredVersion>, StepError> {
    let Some(record) = records.first() else {
        return Ok(None);
    };
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
    let nameless: Vec<_> = nameless
        .into_iter()
        .filter(|stored| stored.md5.is_some() && !history.has_stored(&stored.version))
        .collect();
    if nameless.is_empty() {
        return Ok(None);
    }
    let md5 = md5_of(work, history.file, version).await?;
    let same = |stored: &StoredVersion| {
        stored
            .md5
            .as_ref()
            .is_some_and(|there| there.eq_ignore_ascii_case(&md5))
    };
    Ok(nameless.into_iter().find(same))
}

async fn md5_of(
    work: &Work<'_>,
    file: &FileState,
    version: &FileVersion,
) -> Result<String, PortError> {
    let content = work.content.open(&file.id, version).await?;
    let (mut content, fingerprint) = checked(content, version.sha1.as_deref(), Besides::Md5);
    while let Some(chunk) = content.bytes.next().await {
        chunk?;
    }
    fingerprint
        .md5()
        .ok_or_else(|| PortError::new(PortErrorKind::Busy, "download"))
}
