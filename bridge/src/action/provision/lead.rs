//! A Lead that was converted hands its folder on.

use super::{Provision, record_folder};
use crate::{
    action::{StepError, Work},
    crm::Record,
    folders::Placed,
    once::finish,
    records::RecordState,
};

const IS_CONVERTED: &str = "IsConverted";
const OPPORTUNITY: &str = "ConvertedOpportunityId";
const ACCOUNT: &str = "ConvertedAccountId";
pub(super) const FIELDS: [&str; 3] = [IS_CONVERTED, OPPORTUNITY, ACCOUNT];

/// The record that a converted Lead lives on in: the Opportunity, or the Account where none was
/// made of it.
pub(super) fn heir(
    object: &str,
    state: &RecordState,
    work: &Work<'_>,
) -> Result<Option<Record>, StepError> {
    let is_converted = state.fields.get(IS_CONVERTED).and_then(|it| it.as_bool());
    if object != super::LEAD || is_converted != Some(true) {
        return Ok(None);
    }
    let of = |field: &str, object: &str| {
        let id = state.text(field)?;
        Some(work.crm.record(id).map(|record| Record {
            object: Some(object.to_owned()),
            ..record
        }))
    };
    let heir = of(OPPORTUNITY, "Opportunity").or_else(|| of(ACCOUNT, "Account"));
    Ok(heir.transpose()?)
}

impl Provision {
    pub(super) async fn convert(
        &self,
        lead: &Record,
        heir: &Record,
        work: &Work<'_>,
    ) -> Result<String, StepError> {
        let converted = format!("{} was converted to {}", lead.id, heir.id);
        let Some((object, _)) = self.kind_of(heir) else {
            return Ok(format!("{converted}, for which the layout has no folder"));
        };
        let folder = match record_folder::remembered(work, &lead.id).await? {
            Some(known) => Some(known.folder),
            None => {
                let mapped = self.mapped(work, super::LEAD, &lead.id).await?;
                mapped.into_iter().next().map(|(folder, _)| folder)
            }
        };
        if let Some(folder) = &folder {
            let note = self.hand_on(folder, heir, object, work).await?;
            let rest = Box::pin(self.provision(heir, work)).await?;
            return Ok(format!("{converted}: {note}; {rest}"));
        }
        let rest = Box::pin(self.provision(heir, work)).await?;
        Ok(format!("{converted}: {rest}"))
    }

    /// The heir takes the folder over, or takes it in where it has one of its own.
    async fn hand_on(
        &self,
        folder: &str,
        heir: &Record,
        object: &str,
        work: &Work<'_>,
    ) -> Result<String, StepError> {
        let own = match record_folder::remembered(work, &heir.id).await? {
            Some(known) => Some(known.folder),
            None => {
                let mapped = self.mapped(work, object, &heir.id).await?;
                mapped.into_iter().next().map(|(folder, _)| folder)
            }
        };
        if !work.hold.is_good() {
            return Err(StepError::LostHold);
        }
        match own.filter(|own| own != folder) {
            None => {
                let id = [(self.key_of(object), heir.id.clone().into())];
                self.metadata.set(folder, &id.into_iter().collect()).await?;
                let known = record_folder::remembered(work, &heir.id).await?;
                if known.is_none() {
                    // Nothing of it is as it should be for the heir, so all of it will be brought
                    // there.
                    let known = record_folder::Known {
                        folder: folder.to_owned(),
                        ..Default::default()
                    };
                    finish(work, &record_folder::key(&heir.id), &known).await?;
                }
                Ok(format!("handed folder {folder} on"))
            }
            Some(own) => {
                let state = work.content.folder(folder).await?;
                if state.folders.iter().any(|above| above.id == own) {
                    return Ok(format!("folder {folder} is in folder {own}"));
                }
                let marked = self.folders.name(&state.name, Some(folder)).name;
                for name in [&state.name, &marked] {
                    if self.folders.place(folder, &own, name).await? == Placed::There {
                        return Ok(format!("folder {folder} is in folder {own} now"));
                    }
                }
                Err(StepError::Person(format!(
                    "folder {folder} cannot be put into folder {own}: its names are taken there"
                )))
            }
        }
    }
}
