//! A deal in both fakes: an Account with an Opportunity, and their folder in Box.

use std::time::Duration;

use box_client::{
    BoxClient, ClientCredentials, FolderId, Subject, WebhookTarget,
    testing::{FakeBox, UploadedFile},
};
use salesforce_client::testing::{FakeSalesforce, FileState};
use serde_json::{Value, json};

use super::service::no_proxy;
use crate::{Failure, in_one_line};

pub(super) const SIGNATURE_KEY: &str = "primary key of the demo";
pub(super) const TRIGGERS: [&str; 2] = ["FILE.UPLOADED", "FILE.LOCKED"];

/// Both far sides, and what the story is about in them.
pub(super) struct Deal {
    pub(super) content: FakeBox,
    pub(super) crm: FakeSalesforce,
    pub(super) account: String,
    pub(super) opportunity: String,
    pub(super) folder: String,
    pub(super) contracts: String,
}

impl Deal {
    pub(super) async fn provision() -> Result<Self, Failure> {
        let content = FakeBox::builder()
            .signature_keys(SIGNATURE_KEY, "secondary key of the demo")
            // Box waits minutes before it repeats a delivery.
            .delivery_retry(Duration::from_millis(300))
            .start()
            .await
            .map_err(Failure::run)?;
        let crm = FakeSalesforce::builder()
            .client(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET)
            .start()
            .await
            .map_err(Failure::run)?;

        let account = crm
            .create("Account", json!({ "Name": "Acme" }))
            .map_err(Failure::run)?;
        let deal = json!({
            "Name": "Acme Platform", "AccountId": account, "StageName": "Prospecting",
            "CloseDate": "2030-06-30",
        });
        let opportunity = crm.create("Opportunity", deal).map_err(Failure::run)?;

        let template = json!([
            { "type": "string", "key": "account_id", "displayName": "Account" },
            { "type": "string", "key": "opportunity_id", "displayName": "Opportunity" },
        ]);
        content
            .create_template("salesforce_mapping", template)
            .map_err(Failure::run)?;
        let folder = ["Clients", "Acme", "Acme Platform"]
            .iter()
            .try_fold("0".to_owned(), |parent, name| {
                content.create_folder(&parent, name)
            })
            .map_err(Failure::run)?;
        let contracts = content
            .create_folder(&folder, "Contracts")
            .map_err(Failure::run)?;
        let mapping = json!({ "account_id": account, "opportunity_id": opportunity });
        content
            .apply_metadata(&folder, "salesforce_mapping", mapping)
            .map_err(Failure::run)?;
        Ok(Self {
            content,
            crm,
            account,
            opportunity,
            folder,
            contracts,
        })
    }

    /// Registers the webhook as an operator would, through the API.
    pub(super) async fn watch(&self, address: &str) -> Result<String, Failure> {
        let tokens = ClientCredentials::new(
            FakeBox::CLIENT_ID,
            FakeBox::CLIENT_SECRET,
            Subject::Enterprise("12345".to_owned()),
        );
        let client = BoxClient::builder(tokens)
            .base_url(&self.content.url())
            .http(no_proxy()?)
            .build()
            .map_err(Failure::run)?;
        let id = FolderId::new(&self.folder).map_err(Failure::run)?;
        let target = WebhookTarget::Folder { id };
        let ensured = client.webhooks().ensure(&target, address, &TRIGGERS).await;
        let ensured = ensured.map_err(Failure::run)?;
        Ok(ensured.webhook.id.to_string())
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

    pub(super) fn tasks(&self) -> Vec<String> {
        let subject = |task: &Value| task["Subject"].as_str().unwrap_or_default().to_owned();
        self.crm.records("Task").iter().map(subject).collect()
    }

    pub(super) fn stage(&self) -> String {
        let deal = self.crm.record(&self.opportunity);
        let stage = deal.as_ref().and_then(|deal| deal["StageName"].as_str());
        stage.unwrap_or_default().to_owned()
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
