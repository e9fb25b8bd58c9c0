//! A file onto its records.

mod bring;
mod history;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::{
    bring::{Brought, bring},
    history::{Due, History},
};
use super::{Action, StepError, Work};
use crate::{
    content::FileState,
    crm::Record,
    ledger::EffectKey,
    plan::Step,
    port_error::{PortError, PortErrorKind},
    situation::Situation,
    webhook::Trigger,
};

/// The action's name.
pub(crate) const ATTACH: &str = "attach";
/// How long Box is given to put the signed file together before it is asked again.
const SIGNING: Duration = Duration::from_secs(30);
/// How long that is waited for in all. Whatever comes of the file later stands behind it.
const LONGEST_SIGNING: Duration = Duration::from_secs(6 * 3600);

/// Brings the file to its records: one document for the file, one version of it for each version
/// of the file, in order, and one link for each record.
///
/// A version that has been deleted on the content side, or that the far side refuses for good, is
/// passed over, unless it is the refused one that the event is about: that is for a person.
///
/// The end of a sign request brings the signed file once it is final, and none of the versions that
/// the signers' turns have made on the way.
#[derive(Clone, Debug)]
pub struct Attach {
    to: Vec<Target>,
    named: Option<Record>,
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
            named: None,
        }
    }

    /// Attaches to this record, whatever the folder is mapped to.
    pub fn to_record(record: Record) -> Self {
        Self {
            to: Vec::new(),
            named: Some(record),
        }
    }

    fn records<'s>(&'s self, situation: &'s Situation) -> Vec<&'s Record> {
        let mut records: Vec<&Record> = self.named.iter().collect();
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
        ATTACH
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let records = self.records(situation);
        let ids: Vec<_> = records.iter().map(|record| record.id.as_str()).collect();
        let file = situation.file()?;
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
        if records.is_empty() {
            return Ok("no record to attach to".to_owned());
        }
        let Some(file) = work.situation.file() else {
            return Ok("no file to attach".to_owned());
        };
        let signed = match signed_in(work.situation) {
            Some(request) => Some(signed(work, &file.id, request).await?),
            None => None,
        };
        let file = signed.as_ref().unwrap_or(file);
        let own = &file.version.id;
        let mut history = History::read(work, file, signed.is_some()).await?;
        let mut notes = Vec::new();
        if let (None, Some(size)) = (history.of(own), file.version.size) {
            work.crm.has_room(size)?;
        }
        match history.due(work).await? {
            Due::Nothing(why) => notes.push(why),
            Due::Versions(versions) => {
                for version in &versions {
                    match bring(work, &history, version, &records).await {
                        Ok(Brought::There(attached)) => history.add(attached),
                        Ok(Brought::Deleted) => {
                            notes.push(format!(
                                "version {} was deleted in the meantime",
                                version.id
                            ));
                        }
                        Err(StepError::Port(error))
                            if error.kind() == PortErrorKind::Refused && version.id != *own =>
                        {
                            notes.push(format!("version {} is refused and left out", version.id));
                        }
                        Err(error) => return Err(error),
                    }
                }
                if history.of(own).is_some() {
                    notes.push(format!("version {own} is there"));
                }
            }
        }
        let Some(document) = history.document() else {
            return Ok(notes.join(", "));
        };
        for record in records {
            link(work, &history, document, record).await?;
        }
        Ok(format!("{document}: {}", notes.join(", ")))
    }
}

/// The sign request whose end the event is.
fn signed_in(situation: &Situation) -> Option<&str> {
    let is_end = situation.trigger == Trigger::SIGN_REQUEST_COMPLETED.as_str();
    let request = situation.details.get("sign_request_id")?.as_str()?;
    (is_end && !request.is_empty()).then_some(request)
}

/// The signed file as it is now. Each signer's turn makes a version, and Box may tell of the end
/// before the last of them is there.
async fn signed(work: &Work<'_>, file: &str, request: &str) -> Result<FileState, StepError> {
    if !work.content.is_final(request).await? {
        let now = work.clock.now();
        if now.duration_since(work.situation.at).unsigned_abs() > LONGEST_SIGNING {
            let hours = LONGEST_SIGNING.as_secs() / 3600;
            return Err(StepError::Person(format!(
                "Box has not put the signed file of sign request {request} together within {hours} hours"
            )));
        }
        let until = now.checked_add(SIGNING);
        return Err(StepError::Wait {
            reason: "the signed file is not final yet".to_owned(),
            until: until.unwrap_or(Timestamp::MAX),
        });
    }
    Ok(work.content.file(file).await?)
}

async fn link(
    work: &Work<'_>,
    history: &History<'_>,
    document: &str,
    record: &Record,
) -> Result<(), StepError> {
    if history.is_shown_on(document, record) {
        return Ok(());
    }
    let key = EffectKey::new(["link", document, &record.id]);
    match work
        .once_harmless(&key, || work.crm.link(document, record))
        .await
    {
        Err(StepError::Port(error)) if error.kind() == PortErrorKind::Gone => {
            if history.is_still_there(work, document).await? {
                return Err(error.into());
            }
            history.forget(work, document).await?;
            Err(PortError::new(PortErrorKind::Busy, "link the file")
                .with_cause("the document was deleted by somebody; the file starts anew")
                .into())
        }
        linked => linked,
    }
}
