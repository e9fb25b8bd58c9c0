//! Records' events from each source into the inbox.

mod event_bus;
mod one_change;
mod outbound;
mod poll;
pub(crate) mod shaky;

use std::{sync::Arc, time::Duration};

use bridge::{JobFilter, QueueAdmin, RecordEvent, SalesforceCrm, store::memory::MemoryStore};
use salesforce_client::{ClientCredentials, SalesforceClient, testing::FakeSalesforce};

pub(crate) async fn org() -> (FakeSalesforce, SalesforceClient) {
    let org = FakeSalesforce::builder()
        .client("app", "secret")
        .capture_changes(["Account"])
        .keepalive(Duration::from_millis(20));
    let org = org.start().await.unwrap();
    let tokens = ClientCredentials::new("app", "secret".to_owned());
    let client = SalesforceClient::builder(tokens).login_url(org.url());
    (org, client.build().unwrap())
}

pub(crate) fn records(client: &SalesforceClient) -> Arc<SalesforceCrm> {
    Arc::new(SalesforceCrm::new(client.clone()))
}

/// What the inbox has, in the order in which it came.
pub(crate) async fn told(store: &MemoryStore) -> Vec<RecordEvent> {
    let filter = JobFilter {
        limit: 10_000,
        ..JobFilter::default()
    };
    let mut told = Vec::new();
    for job in store.jobs(&filter).await.unwrap() {
        let job = store.job(job.id).await.unwrap().unwrap();
        told.push(serde_json::from_slice(&job.body).unwrap());
    }
    told
}

/// `CREATED 006…` and the like, without what tells two of them apart.
pub(crate) async fn said(store: &MemoryStore) -> Vec<String> {
    let told = told(store).await.into_iter();
    told.map(|event| format!("{} {}", event.changed.change, event.changed.record.id))
        .collect()
}
