//! Records on the stage.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::stage::{Cue, Stage};
use crate::{
    crm::Record,
    foresight::Deed,
    package_links::PackageLinks,
    port_error::PortError,
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes, Records},
};

#[async_trait]
impl Records for Stage {
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        self.records.read(record, fields).await
    }

    /// Provisioning writes nothing to a record but its folder's address.
    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        _: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        for field in fields.keys() {
            let does = format!("write the folder's address into {field} of {}", record.id);
            let deed = Deed::write("write_link", does).about("record", record.id.as_str());
            self.tell(Cue::Deed(deed.about("field", field.as_str())));
        }
        Ok(true)
    }

    async fn shape(&self, object: &str) -> Result<Vec<FieldShape>, PortError> {
        self.records.shape(object).await
    }

    async fn contacts(
        &self,
        email: &str,
        deal: Option<&Record>,
    ) -> Result<Vec<Contact>, PortError> {
        self.records.contacts(email, deal).await
    }

    async fn changed(&self, object: &str, since: Timestamp) -> Result<Changed, PortError> {
        self.records.changed(object, since).await
    }

    async fn times(&self, record: &Record) -> Result<Option<RecordTimes>, PortError> {
        self.records.times(record).await
    }
}

#[async_trait]
impl PackageLinks for Stage {
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError> {
        let played = self.state().shown.get(&record.id).cloned();
        match (played, &self.package) {
            (Some(folder), _) => Ok(Some(folder)),
            (None, Some(package)) => package.folder_of(record).await,
            (None, None) => Ok(None),
        }
    }

    async fn show(
        &self,
        record: &Record,
        folder: &str,
        instead_of: Option<&str>,
    ) -> Result<bool, PortError> {
        let (id, to) = (record.id.clone(), folder.to_owned());
        self.state().shown.insert(id, to);
        let does = match instead_of {
            Some(other) => format!("let the package show on {}, instead of {other},", record.id),
            None => format!("let the package, where there is one, show on {}", record.id),
        };
        self.tell(Cue::On {
            folder: folder.to_owned(),
            deed: Deed::write("show_in_package", does).about("record", record.id.as_str()),
        });
        Ok(true)
    }
}
