use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Guarded;
use crate::{
    content::Content,
    crm::{Activity, Crm, Deal, NewFile, Origin, Record, StoredVersion},
    package_links::PackageLinks,
    port_error::PortError,
    records::{Changed, Contact, FieldShape, RecordState, RecordTimes, Records},
    worker::Hold,
};

#[async_trait]
impl Crm for Guarded<dyn Crm> {
    fn record(&self, text: &str) -> Result<Record, PortError> {
        self.port.record(text)
    }

    fn has_room(&self, size: u64) -> Result<(), PortError> {
        self.room.may_go(self.side, size)
    }

    async fn upload(&self, file: &NewFile, content: Content) -> Result<String, PortError> {
        let place = self.room.pass(self.side, content.size)?;
        let uploaded = self.call("upload", self.port.upload(file, content)).await;
        place.ended(uploaded)
    }

    async fn stored(&self, version: &str) -> Result<StoredVersion, PortError> {
        self.call("stored", self.port.stored(version)).await
    }

    async fn stored_and_linked(
        &self,
        version: &str,
        records: &[Record],
    ) -> Result<(StoredVersion, Vec<Record>), PortError> {
        let stored = self.port.stored_and_linked(version, records);
        self.call("stored_and_linked", stored).await
    }

    async fn find(
        &self,
        origin: &Origin,
        record: &Record,
        document: Option<&str>,
    ) -> Result<Vec<StoredVersion>, PortError> {
        let find = self.port.find(origin, record, document);
        self.call("find", find).await
    }

    async fn link(&self, document: &str, record: &Record) -> Result<(), PortError> {
        self.call("link", self.port.link(document, record)).await
    }

    async fn log_activity(&self, activity: &Activity) -> Result<String, PortError> {
        self.call("log_activity", self.port.log_activity(activity))
            .await
    }

    async fn log_activity_held(
        &self,
        activity: &Activity,
        hold: &Hold,
    ) -> Result<String, PortError> {
        let logged = self.port.log_activity_held(activity, hold);
        self.call("log_activity", logged).await
    }

    async fn find_activity(&self, activity: &Activity) -> Result<Option<String>, PortError> {
        self.call("find_activity", self.port.find_activity(activity))
            .await
    }

    async fn deal(&self, record: &Record) -> Result<Deal, PortError> {
        self.call("deal", self.port.deal(record)).await
    }

    async fn set_stage(
        &self,
        record: &Record,
        stage: &str,
        seen: &Deal,
    ) -> Result<bool, PortError> {
        let set = self.port.set_stage(record, stage, seen);
        self.call("set_stage", set).await
    }
}

#[async_trait]
impl Records for Guarded<dyn Records> {
    async fn read(&self, record: &Record, fields: &[&str]) -> Result<RecordState, PortError> {
        self.call("read_record", self.port.read(record, fields))
            .await
    }

    async fn write(
        &self,
        record: &Record,
        fields: &Map<String, Value>,
        seen: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        self.call("write_record", self.port.write(record, fields, seen))
            .await
    }

    async fn shape(&self, object: &str) -> Result<Vec<FieldShape>, PortError> {
        self.call("fields", self.port.shape(object)).await
    }

    async fn contacts(
        &self,
        email: &str,
        deal: Option<&Record>,
    ) -> Result<Vec<Contact>, PortError> {
        self.call("contacts", self.port.contacts(email, deal)).await
    }

    async fn changed(&self, object: &str, since: Timestamp) -> Result<Changed, PortError> {
        self.call("changed_records", self.port.changed(object, since))
            .await
    }

    async fn times(&self, record: &Record) -> Result<Option<RecordTimes>, PortError> {
        self.call("times", self.port.times(record)).await
    }
}

#[async_trait]
impl PackageLinks for Guarded<dyn PackageLinks> {
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError> {
        self.call("package_folder", self.port.folder_of(record))
            .await
    }

    async fn show(
        &self,
        record: &Record,
        folder: &str,
        instead_of: Option<&str>,
    ) -> Result<bool, PortError> {
        let shown = self.port.show(record, folder, instead_of);
        self.call("show_in_package", shown).await
    }
}
