//! A client of a fake org.

use salesforce_client::{
    RecordId, SalesforceClient, SalesforceClientBuilder, StaticToken,
    testing::{FakeSalesforce, FakeSalesforceBuilder},
};
use serde_json::{Value, json};

use crate::support::quick;

pub(crate) async fn start() -> (FakeSalesforce, SalesforceClient) {
    with(FakeSalesforce::builder()).await
}

pub(crate) async fn with(builder: FakeSalesforceBuilder) -> (FakeSalesforce, SalesforceClient) {
    let org = builder.start().await.unwrap();
    let client = builder_of(&org).build().unwrap();
    (org, client)
}

pub(crate) fn builder_of(org: &FakeSalesforce) -> SalesforceClientBuilder {
    let token = StaticToken::new(org.issue_token(), org.url()).unwrap();
    SalesforceClient::builder(token)
        .login_url(org.url())
        .retry(quick())
}

pub(crate) fn create(org: &FakeSalesforce, object: &str, fields: Value) -> RecordId {
    RecordId::new(&org.create(object, fields).unwrap()).unwrap()
}

pub(crate) fn account(org: &FakeSalesforce, name: &str) -> RecordId {
    create(org, "Account", json!({ "Name": name }))
}

/// The names of the accounts that the org has.
pub(crate) fn names(org: &FakeSalesforce) -> Vec<String> {
    let accounts = org.records("Account").into_iter();
    accounts
        .map(|it| it["Name"].as_str().unwrap().to_owned())
        .collect()
}
