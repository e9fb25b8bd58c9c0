//! Every call that the client has, against the fake: one that the fake does not serve fails here,
//! and so does one that is not tried.

mod bulk;
mod events;
mod files;
mod logins;
mod queries;
mod records;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use futures_util::{Stream, TryStreamExt};
use salesforce_client::testing::{FakeSalesforce, Field, PlatformEvent};
use salesforce_client::{RecordId, SalesforceClient, StaticToken};
use serde_json::json;

/// An org with a client, and what was called so far, as `Type::function`.
struct Served {
    org: FakeSalesforce,
    client: SalesforceClient,
    calls: BTreeSet<String>,
}

impl Served {
    /// Notes a call, and gives what it brought.
    fn ok<T, E: Debug>(&mut self, call: &str, outcome: Result<T, E>) -> T {
        self.calls.insert(call.to_owned());
        outcome.unwrap_or_else(|error| panic!("{call}: {error:?}"))
    }

    /// As [`ok`](Self::ok), of all that a stream brings.
    async fn all<T, E: Debug>(
        &mut self,
        call: &str,
        stream: impl Stream<Item = Result<T, E>>,
    ) -> Vec<T> {
        let outcome = stream.try_collect().await;
        self.ok(call, outcome)
    }

    fn account(&self, name: &str) -> RecordId {
        let account = json!({ "Name": name, "Phone": "+1 555 0100" });
        RecordId::new(&self.org.create("Account", account).unwrap()).unwrap()
    }

    fn opportunity(&self, account: &RecordId) -> RecordId {
        let opportunity = json!({
            "Name": "Renewal",
            "AccountId": account,
            "StageName": "Prospecting",
            "CloseDate": "2026-06-30",
        });
        RecordId::new(&self.org.create("Opportunity", opportunity).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn every_typed_call_is_served() {
    let key = Field::text("Key__c", 40).unique(true).external_id(true);
    let signed = PlatformEvent::new("Signed__e").field(Field::text("Document__c", 80));
    let org = FakeSalesforce::builder()
        .client("app", "secret")
        .redirect_uri("app", logins::CALLBACK)
        .subject_token("subject")
        .custom_field("Account", key)
        .capture_changes(["Account"])
        .platform_event(signed)
        .start()
        .await
        .unwrap();
    let token = StaticToken::new(org.issue_token(), org.url()).unwrap();
    let client = SalesforceClient::builder(token).login_url(org.url());
    let mut served = Served {
        client: client.build().unwrap(),
        org,
        calls: BTreeSet::new(),
    };
    records::try_all(&mut served).await;
    queries::try_all(&mut served).await;
    files::try_all(&mut served).await;
    bulk::try_all(&mut served).await;
    events::try_all(&mut served).await;
    logins::try_all(&mut served).await;

    let mut known = BTreeSet::new();
    collect_calls(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut known,
    );
    let untried: Vec<_> = known.difference(&served.calls).collect();
    assert!(
        untried.is_empty(),
        "not tried against the fake: {untried:#?}"
    );
    let gone: Vec<_> = served.calls.difference(&known).collect();
    assert!(gone.is_empty(), "tried, but not among the calls: {gone:#?}");
}

/// What a public function is, or gives, if something is sent because of it.
const SENDS: [&str; 21] = [
    "async fn",
    "-> impl Stream<",
    "-> BatchPart",
    "-> BulkQuery",
    "-> Changes",
    "-> Collection<",
    "-> Describe<",
    "-> GetIfModified<",
    "-> GetRecord<",
    "-> IngestRequest",
    "-> LinkRequest",
    "-> Query<",
    "-> QueryResults<",
    "-> RawRequest<",
    "-> Reference",
    "-> Related<",
    "-> Search",
    "-> Subscribe",
    "-> Update<",
    "-> UploadRequest",
    "-> Upsert<",
];

/// What waits for a browser, and what all kinds of login are made of.
const NO_CALLS: [&str; 4] = [
    "LoopbackRedirect::bind",
    "LoopbackRedirect::wait",
    "TokenEndpoint::post",
    "TokenEndpoint::post_once",
];

/// Adds `Type::function` of all public functions under a folder that send something.
fn collect_calls(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("testing") {
                collect_calls(&path, known);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for block in text.split("\nimpl").skip(1) {
            let (head, functions) = block.split_once("\n    pub ").unwrap_or((block, ""));
            // Behind the parameters, if there are any, stands the type.
            let implemented = match head.strip_prefix('<') {
                Some(generic) => generic.split_once("> ").map_or("", |(_, it)| it),
                None => head,
            };
            let implemented = implemented.trim().split(|it: char| !it.is_alphanumeric());
            let implemented = implemented.into_iter().next().unwrap_or_default();
            for function in functions.split("\n    pub ") {
                let signature = function.split('{').next().unwrap_or_default();
                let plain = signature.strip_prefix("async ").unwrap_or(signature);
                let Some(named) = plain.strip_prefix("fn ") else {
                    continue;
                };
                let function = named.split(['(', '<']).next().unwrap_or_default();
                let call = format!("{implemented}::{function}");
                let sends = SENDS.iter().any(|sign| signature.contains(sign));
                if sends && !NO_CALLS.contains(&call.as_str()) {
                    known.insert(call);
                }
            }
        }
    }
}
