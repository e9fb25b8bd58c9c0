//! Where the CRM side shows a record's folder.

use serde_json::{Map, Value};

use super::{Provision, levels::Walk, rehearsal::Cue};
use crate::{
    action::StepError,
    foresight::Deed,
    ledger::{EffectKey, EffectState},
    port_error::PortErrorKind,
};

impl Provision {
    pub(super) async fn write_link(
        &self,
        walk: &mut Walk<'_>,
        folder: &str,
    ) -> Result<(), StepError> {
        let Some(field) = self.link_field_of(walk.object) else {
            return Ok(());
        };
        let link = format!("{}{folder}", self.link_base);
        if walk.state.text(field) == Some(&link) {
            self.tell(|| {
                let does = format!("{field} of {} has the folder's address", walk.record.id);
                Cue::Deed(Deed::there("link", does).about("field", field))
            });
            return Ok(());
        }
        walk.may_write()?;
        let fields = Map::from_iter([(field.to_owned(), Value::from(link))]);
        self.records.write(walk.record, &fields, None).await?;
        walk.notes.push(format!("{field} written"));
        Ok(())
    }

    pub(super) async fn write_package(
        &self,
        walk: &mut Walk<'_>,
        folder: &str,
    ) -> Result<(), StepError> {
        let Some(package) = self.package.as_ref().filter(|_| self.tell_package) else {
            return Ok(());
        };
        let key = EffectKey::new(["package", &walk.record.id]);
        let record = walk.record;
        let is_gone = async |shown: &str| match walk.work.content.folder(shown).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == PortErrorKind::Gone => Ok(true),
            Err(error) => Err(error),
        };
        if let Some(EffectState::Finished(Value::String(told))) =
            walk.work.ledger.read(&key).await?
            && told != folder
            && is_gone(&told).await?
        {
            // The record's folder was made anew since.
            walk.work.ledger.forget(&key).await?;
        }
        let look = async || match package.folder_of(record).await? {
            Some(shown) if shown != folder && is_gone(&shown).await? => Ok(None),
            shown => Ok(shown.map(Some)),
        };
        let show = async || {
            let shown = package.folder_of(record).await?;
            let instead_of = match &shown {
                Some(shown) if shown != folder && is_gone(shown).await? => Some(&**shown),
                Some(_) => return Ok(shown),
                None => None,
            };
            let is_there = package.show(record, folder, instead_of).await?;
            Ok(is_there.then(|| folder.to_owned()))
        };
        let shown: Option<String> = walk.work.once(&key, look, show).await?;
        if let Some(other) = shown.filter(|shown| shown != folder) {
            walk.notes.push(format!("the package shows folder {other}"));
        }
        Ok(())
    }
}
