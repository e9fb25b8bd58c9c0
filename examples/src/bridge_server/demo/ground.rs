//! Both far sides, and what the story looks up in them.

use std::time::Duration;

use box_client::{
    BoxClient, ClientCredentials, Subject,
    testing::{FakeBox, UploadedFile},
};
use salesforce_client::{
    RecordId,
    testing::{FakeSalesforce, Field, FileState},
};
use serde_json::{Value, json};

use super::service::no_proxy;
use crate::{Failure, in_one_line};

pub(super) const SIGNATURE_KEY: &str = "primary key of the demo";
pub(super) const TEMPLATE: &str = "salesforce_mapping";
/// The field of a record that gets its folder's address.
pub(super) const LINK_FIELD: &str = "Box_Folder__c";
/// Another application at the same Box, which has webhooks of its own.
const ANOTHER_APP: &str = "another_app";

pub(super) struct Ground {
    pub(super) content: FakeBox,
    pub(super) crm: FakeSalesforce,
    /// `/Clients`, which the service watches.
    pub(super) clients: String,
}

impl Ground {
    pub(super) async fn lay() -> Result<Self, Failure> {
        let content = FakeBox::builder()
            .signature_keys(SIGNATURE_KEY, "secondary key of the demo")
            .client(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET)
            .client(ANOTHER_APP, FakeBox::CLIENT_SECRET)
            // Box waits minutes before it repeats a delivery.
            .delivery_retry(Duration::from_millis(300))
            .start()
            .await
            .map_err(Failure::run)?;
        let crm = FakeSalesforce::builder()
            .client(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET)
            .custom_field("Account", Field::text(LINK_FIELD, 255))
            .custom_field("Opportunity", Field::text(LINK_FIELD, 255))
            .start()
            .await
            .map_err(Failure::run)?;
        let clients = content
            .create_folder("0", "Clients")
            .map_err(Failure::run)?;
        Ok(Self {
            content,
            crm,
            clients,
        })
    }

    /// Box as our own application, or as another one, calls it.
    pub(super) fn client(&self, is_another: bool) -> Result<BoxClient, Failure> {
        let id = match is_another {
            true => ANOTHER_APP,
            false => FakeBox::CLIENT_ID,
        };
        let subject = Subject::Enterprise("12345".to_owned());
        BoxClient::builder(ClientCredentials::new(id, FakeBox::CLIENT_SECRET, subject))
            .base_url(&self.content.url())
            .http(no_proxy()?)
            .build()
            .map_err(Failure::run)
    }

    /// Waits until Box has its 2xx for all events of an upload.
    pub(super) async fn delivered(&self, upload: &UploadedFile) -> Result<(), Failure> {
        for event in &upload.event_ids {
            self.content
                .wait_delivered(event, Duration::from_secs(30))
                .await
                .map_err(Failure::run)?;
        }
        Ok(())
    }

    /// The Salesforce files that came from this Box file: one, if all is well.
    pub(super) fn files_of(&self, upload: &UploadedFile) -> Vec<FileState> {
        let mark = format!("Box file {},", upload.file_id);
        let from_there = |file: &FileState| {
            file.versions.iter().any(|version| {
                version
                    .fields
                    .get("Description")
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.starts_with(&mark))
            })
        };
        self.crm.files().into_iter().filter(from_there).collect()
    }

    /// The Tasks with such a subject.
    pub(super) fn tasks(&self, subject: &str) -> Vec<Value> {
        let mut tasks = self.crm.records("Task");
        tasks.retain(|task| {
            let text = task["Subject"].as_str();
            text.is_some_and(|text| text.contains(subject))
        });
        tasks
    }

    /// What a record has in a field.
    pub(super) fn field(&self, record: &str, field: &str) -> String {
        let record = self.crm.record(record);
        let text = record.as_ref().and_then(|record| record[field].as_str());
        text.unwrap_or_default().to_owned()
    }

    /// What a folder's metadata has under a key.
    pub(super) fn key(&self, folder: &str, key: &str) -> String {
        let folders = self.folders(|it| it["id"] == folder);
        let values = folders.first().map(|it| &it["metadata"][0]);
        let text = values.and_then(|values| values[key].as_str());
        text.unwrap_or_default().to_owned()
    }

    /// The folders that are mapped to this record.
    pub(super) fn folders_of(&self, record: &str, key: &str) -> Vec<Value> {
        let Ok(id) = RecordId::new(record) else {
            return Vec::new();
        };
        self.folders(|it| {
            // A deal's folder names its Account too.
            let is_account = key == "account_id";
            let mapping = &it["metadata"][0];
            mapping[key] == id.as_str() && (!is_account || mapping["opportunity_id"].is_null())
        })
    }

    pub(super) fn folders(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.all("folders", wanted)
    }

    /// What Box holds of a kind.
    pub(super) fn all(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let state = self.content.state();
        let all = state[kind].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|it| wanted(it)).collect()
    }

    /// A record is made, and a flow of the org sends an outbound message about it.
    pub(super) async fn record(
        &self,
        object: &str,
        values: Value,
        address: &str,
    ) -> Result<(String, String), Failure> {
        let id = self.crm.create(object, values).map_err(Failure::run)?;
        let message = self.message(&id)?;
        self.tell_of(&message, address).await?;
        Ok((id, message))
    }

    pub(super) fn message(&self, record: &str) -> Result<String, Failure> {
        let message = self
            .crm
            .outbound_message("04kxx0000000001AAA", &[record], &["Name"]);
        message.map_err(Failure::run)
    }

    pub(super) async fn tell_of(&self, message: &str, address: &str) -> Result<(), Failure> {
        let told = self.crm.deliver(address, message).await;
        match told.map_err(Failure::run)?.acknowledged {
            true => Ok(()),
            false => Err(Failure::Run(
                "the outbound message was not acknowledged".to_owned(),
            )),
        }
    }
}

/// Posts a delivery as an attacker would, with a key that is not the application's.
pub(super) async fn forge(event: &[u8], address: &str) -> Result<(u16, String), Failure> {
    let forger = FakeBox::builder()
        .signature_keys("a guess", "another guess")
        .start()
        .await
        .map_err(Failure::run)?;
    let delivery = forger.sign(event, jiff::Timestamp::now());
    let mut request = no_proxy()?.post(address).body(delivery.body);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(Failure::run)?;
    let status = answer.status().as_u16();
    let reason = answer.text().await.map_err(Failure::run)?;
    let reason = serde_json::from_str::<Value>(&reason)
        .map_err(|error| Failure::Run(in_one_line(&error)))?;
    Ok((
        status,
        reason["reason"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// An Account's and an Opportunity's first values.
pub(super) fn account() -> Value {
    json!({ "Name": "Acme" })
}

pub(super) fn opportunity(account: &str) -> Value {
    json!({
        "Name": "Acme Platform", "AccountId": account, "StageName": "Prospecting",
        "CloseDate": "2030-06-30", "NextStep": "Send the agreement",
    })
}
