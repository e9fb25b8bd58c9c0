//! Answers of real orgs, as other clients have recorded them, and answers of our own on the
//! documented shapes: each is read through the public API and is what it should be.

use std::{collections::BTreeSet, fmt::Write};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use salesforce_client::{
    AccessToken, Error, Grant, MemoryTokenStore, ObjectDescribe, Record, RefreshToken,
    SalesforceClient, TokenEndpoint, TokenSource, TokenStore, bulk::JobId,
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::support::{fixture, id, quick};

/// What is asked for, so that this is the answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
enum Asks {
    BulkCreate,
    BulkFailed,
    BulkInfo,
    BulkSuccessful,
    BulkUpload,
    Collection,
    Composite,
    Counts,
    Create,
    Describe,
    Limits,
    Query,
    Refresh,
    Update,
    Updated,
    Upsert,
    Usage,
}

#[derive(Clone, Debug, Deserialize)]
struct Answer {
    status: u16,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// The text, or, for those of our own, what the text is the JSON of.
    body: Value,
}

/// What each recording is read as: its values, or the kind and code of its error.
const RECORDED: &[(&str, Asks, &str)] = &[
    (
        "restforce-token-success",
        Asks::Refresh,
        "00Dx0000000BV7z!AR8A… at https://na1.salesforce.com",
    ),
    (
        "restforce-refresh-error",
        Asks::Refresh,
        "Auth invalid_grant",
    ),
    (
        "restforce-expired-session",
        Asks::Query,
        "Auth INVALID_SESSION_ID",
    ),
    (
        "restforce-query-page-1",
        Asks::Query,
        "1 of 2, more; Text_Label=\"First Page\"",
    ),
    (
        "restforce-query-page-2",
        Asks::Query,
        "1 of 2; Text_Label=\"Last Page\"",
    ),
    (
        "restforce-write-error",
        Asks::Update,
        "Invalid INVALID_FIELD",
    ),
    (
        "restforce-get-updated",
        Asks::Updated,
        "7 until 2015-08-19T08:17:00Z, first 003q000000KvQ1tAAF",
    ),
    ("restforce-upsert-multiple", Asks::Upsert, "Duplicate"),
    (
        "restforce-upsert-bad-field",
        Asks::Upsert,
        "NotFound NOT_FOUND",
    ),
    (
        "cci-count-errors-01",
        Asks::Composite,
        "200 totalSize=17; Invalid INVALID_TYPE",
    ),
    ("cci-collections-update-01", Asks::Counts, "Account=0"),
    (
        "cci-collections-update-02",
        Asks::Query,
        "6 of 6; Id=\"0012300000bVTq1AAG\" Name=\"Account 4\"",
    ),
    (
        "cci-collections-update-03",
        Asks::Collection,
        "0012300000bVTq1AAG 0012300000bVTphAAG 0012300000bVTq6AAG 0012300000bVTpmAAG \
         0012300000bVTpwAAG 0012300000bVTprAAG",
    ),
    (
        "cci-describe-OpportunityContactRole",
        Asks::Describe,
        "OpportunityContactRole, 11 fields",
    ),
    ("ss-limits", Asks::Limits, "DailyApiRequests 14998 of 15000"),
    ("ss-limit-info", Asks::Usage, "18 of 5000"),
    ("ss-bulk2-open", Asks::BulkCreate, "Job-1"),
    ("ss-bulk2-put", Asks::BulkUpload, "Job-1"),
    ("ss-bulk2-complete", Asks::BulkInfo, "Job-1 JobComplete 2 0"),
    (
        "ss-bulk2-successful",
        Asks::BulkSuccessful,
        "a011s00000DML8XAAX created Email=\"contact1@example.com\"; \
         a011s00000DML8YAAX created Email=\"contact2@example.com\"",
    ),
    (
        "force-bulk2-failed-results",
        Asks::BulkFailed,
        "REQUIRED_FIELD_MISSING Name required",
    ),
    (
        "jsforce-401-not-for-rest",
        Asks::Query,
        "Auth INVALID_SESSION_ID",
    ),
    (
        "jsforce-multiple-errors",
        Asks::Update,
        "Invalid FIELD_CUSTOM_VALIDATION_EXCEPTION FIELD_CUSTOM_VALIDATION_EXCEPTION",
    ),
    ("dj-create", Asks::Create, "001M000001FgVKlIAN"),
    (
        "dj-query",
        Asks::Query,
        "1 of 1; Id=\"001M000001FgVKlIAN\" Name=\"a\" OwnerId=\"005M0000007whduIAA\"",
    ),
    ("dj-update", Asks::Update, "done"),
];

#[tokio::test]
async fn every_recording_is_read_as_what_it_is() {
    let Some(index) = fixture("index.json") else {
        return;
    };
    let ids = |entry: &Value| entry["id"].as_str().unwrap().to_owned();
    let listed: BTreeSet<_> = index.as_array().unwrap().iter().map(ids).collect();
    let known: BTreeSet<_> = RECORDED.iter().map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(listed, known);
    for (id, asks, expected) in RECORDED {
        let recording = fixture(&format!("exchanges/{id}.json")).unwrap();
        let answer = serde_json::from_value(recording["response"].clone()).unwrap();
        assert_eq!(told(*asks, answer).await, *expected, "{id}");
    }
}

#[derive(Deserialize)]
struct Own {
    title: String,
    asks: Asks,
    answer: Answer,
    told: String,
}

fn own() -> Vec<Own> {
    serde_json::from_str(include_str!("recordings.json")).unwrap()
}

#[tokio::test]
async fn every_answer_of_the_documented_shapes_is_read_as_what_it_is() {
    for Own {
        title,
        asks,
        answer,
        told: expected,
    } in own()
    {
        assert_eq!(told(asks, answer).await, expected, "{title}");
    }
}

/// Who has no recordings tries the same with those of our own.
#[test]
fn whatever_a_recording_shows_an_answer_of_our_own_shows_too() {
    // The first word tells the kind of an error.
    let kind = |told: &str| told.split(' ').next().unwrap_or_default().to_owned();
    let kinds = ["Auth", "Duplicate", "Invalid", "NotFound"];
    let what = |asks: Asks, told: &str| {
        let kind = kind(told);
        (asks, kinds.contains(&&*kind).then_some(kind))
    };
    let own: BTreeSet<_> = own().iter().map(|it| what(it.asks, &it.told)).collect();
    for (id, asks, told) in RECORDED {
        assert!(own.contains(&what(*asks, told)), "{id}");
    }
}

/// Asks a server that answers this, and tells what came of it.
async fn told(asks: Asks, answer: Answer) -> String {
    let server = MockServer::start().await;
    let respond = move |request: &Request| respond(asks, &answer, request);
    Mock::given(any())
        .respond_with(respond)
        .mount(&server)
        .await;
    ask(asks, &server)
        .await
        .unwrap_or_else(|error| of_error(&error))
}

fn of_error(error: &Error) -> String {
    let codes = error.api().into_iter().flat_map(|api| api.iter());
    codes.fold(format!("{:?}", error.kind()), |told, error| {
        format!("{told} {}", error.code)
    })
}

fn respond(asks: Asks, answer: &Answer, request: &Request) -> ResponseTemplate {
    let is_about = match asks {
        Asks::BulkCreate => request.method == "POST",
        Asks::BulkUpload => request.method == "PUT",
        _ => true,
    };
    if !is_about {
        // The rest of the life of a job.
        let job = json!({ "id": "Job-1", "operation": "insert", "state": "UploadComplete" });
        return ResponseTemplate::new(200).set_body_json(job);
    }
    let body = match &answer.body {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let body = match asks {
        Asks::Composite => with_names_of(request, &body),
        _ => body,
    };
    let mut response = ResponseTemplate::new(answer.status).set_body_string(body);
    for (name, value) in &answer.headers {
        response = response.insert_header(name.as_str(), value.as_str());
    }
    response
}

/// The client names its parts by itself.
fn with_names_of(request: &Request, body: &str) -> String {
    let request: Value = request.body_json().unwrap();
    let mut body: Value = serde_json::from_str(body).unwrap();
    let parts = body["compositeResponse"].as_array_mut().unwrap().iter_mut();
    for (answer, part) in parts.zip(request["compositeRequest"].as_array().unwrap()) {
        answer["referenceId"] = part["referenceId"].clone();
    }
    body.to_string()
}

/// There is always another token, so that a refusal of tokens is told as it is.
#[derive(Debug)]
struct Always(String);

#[async_trait]
impl TokenSource for Always {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken, Error> {
        AccessToken::new("token".into(), &self.0, None)
    }
}

async fn ask(asks: Asks, server: &MockServer) -> Result<String, Error> {
    let client = SalesforceClient::builder(Always(server.uri()))
        .login_url(server.uri())
        .retry(quick().max_attempts(1));
    let client = client.build().unwrap();
    let account = id("0015500001QdQWa");
    let fields = json!({ "Name": "a" });
    Ok(match asks {
        Asks::BulkCreate | Asks::BulkUpload => {
            let rows = stream::iter([Ok::<_, std::io::Error>(("a", "b"))]);
            let insert = client.bulk().insert("Contact").columns(["Name", "Phone"]);
            let mut jobs = std::pin::pin!(insert.rows(rows));
            jobs.try_next().await?.unwrap().id().to_string()
        }
        Asks::BulkFailed => {
            let job = client.bulk().ingest_job(&JobId::new("Job-1"));
            let rows: Vec<_> = job.failed_results::<Record>().try_collect().await?;
            let row = |row: &salesforce_client::bulk::FailedRecord<Record>| {
                format!("{} {}", row.error.code, row.error.message)
            };
            rows.iter().map(row).collect::<Vec<_>>().join("; ")
        }
        Asks::BulkInfo => {
            let info = client
                .bulk()
                .ingest_job(&JobId::new("Job-1"))
                .info()
                .await?;
            let (done, failed) = (info.number_records_processed, info.number_records_failed);
            format!("{} {:?} {done} {failed}", info.id, info.state)
        }
        Asks::BulkSuccessful => {
            let job = client.bulk().ingest_job(&JobId::new("Job-1"));
            let rows: Vec<_> = job.successful_results::<Record>().try_collect().await?;
            let row = |row: &salesforce_client::bulk::SuccessfulRecord<Record>| {
                let done = if row.created { "created" } else { "changed" };
                format!("{} {done} Email={}", row.id, row.record["Email"])
            };
            rows.iter().map(row).collect::<Vec<_>>().join("; ")
        }
        Asks::Collection => {
            let six = (0..6).map(|_| (account.clone(), fields.clone()));
            let rows = client.sobject("Account").update_all(six).send().await;
            let outcome = |row: &salesforce_client::Row<_>| match &row.outcome {
                Ok(saved) => saved.id.to_string(),
                Err(error) => of_error(error),
            };
            rows.iter().map(outcome).collect::<Vec<_>>().join(" ")
        }
        Asks::Composite => {
            let mut composite = client.composite();
            let parts = ["Account", "XYZZY"]
                .map(|object| composite.query(format!("SELECT count() FROM {object}").as_str()));
            let answers = composite.send().await?;
            let part = |part| match answers.get(part) {
                Ok(part) => format!("{} totalSize={}", part.status, part.body["totalSize"]),
                Err(error) => of_error(&error),
            };
            parts.iter().map(part).collect::<Vec<_>>().join("; ")
        }
        Asks::Counts => {
            let counts = client.record_counts(&["Account"]).await?;
            let count = |it: &salesforce_client::RecordCount| format!("{}={}", it.name, it.count);
            counts.iter().map(count).collect::<Vec<_>>().join(" ")
        }
        Asks::Create => client.sobject("Account").create(&fields).await?.to_string(),
        Asks::Describe => {
            let object: ObjectDescribe = client.sobject("X").describe().await?;
            format!("{}, {} fields", object.summary.name, object.fields.len())
        }
        Asks::Limits => {
            let limits = client.limits().await?;
            let calls = limits.get("DailyApiRequests").unwrap();
            format!("DailyApiRequests {} of {}", calls.remaining, calls.max)
        }
        Asks::Query => return first_page(&client).await,
        Asks::Refresh => return refreshed(server).await,
        Asks::Update => {
            let accounts = client.sobject("Account");
            accounts.update(&account, &fields).await?;
            "done".to_owned()
        }
        Asks::Updated => {
            let at = |text: &str| text.parse().unwrap();
            let window = [at("2015-08-18T00:00:00Z"), at("2015-08-19T23:59:59Z")];
            let accounts = client.sobject("Account");
            let updated = accounts.updated(window[0], window[1]).await?;
            let (count, until) = (updated.ids.len(), updated.latest_date_covered);
            format!("{count} until {until}, first {}", updated.ids[0])
        }
        Asks::Upsert => {
            let accounts = client.sobject("Account");
            let upserted = accounts.upsert("Key__c", "abc", &fields).await?;
            let id = upserted.id.map_or("no id".to_owned(), |id| id.to_string());
            format!("{id} created={}", upserted.created)
        }
        Asks::Usage => {
            let request = client.request(http::Method::GET, "/query");
            request.query("q", "q").send().await?;
            let usage = client.api_usage().unwrap();
            format!("{} of {}", usage.used, usage.allowed)
        }
    })
}

async fn first_page(client: &SalesforceClient) -> Result<String, Error> {
    let query = client.query::<Record>("SELECT Id FROM Account");
    let mut pages = std::pin::pin!(query.pages());
    let page = pages.next().await.unwrap()?;
    let rows: Vec<Record> = page.rows()?;
    let more = if page.cursor().is_some() {
        ", more"
    } else {
        ""
    };
    let total = page.total_size().unwrap();
    let mut told = format!("{} of {total}{more};", rows.len());
    for (name, value) in rows.first().into_iter().flatten() {
        if name != "attributes" {
            write!(told, " {name}={value}").unwrap();
        }
    }
    Ok(told)
}

/// What is stored after a refresh. The host that the answer names is not asked for anything.
async fn refreshed(server: &MockServer) -> Result<String, Error> {
    let store = std::sync::Arc::new(MemoryTokenStore::new(Grant::new("r1")));
    let tokens = RefreshToken::new("app", None, std::sync::Arc::clone(&store));
    let nowhere = reqwest::Proxy::custom(|url| {
        (url.host_str() != Some("127.0.0.1")).then_some("http://127.0.0.1:9")
    });
    let http = reqwest::Client::builder().proxy(nowhere).build().unwrap();
    let client = SalesforceClient::builder(tokens)
        .login_url(server.uri())
        .http(http)
        .retry(quick().max_attempts(1));
    let asked = client.build().unwrap().limits().await;
    let stored = store.load().await.unwrap().unwrap().grant;
    let Some(token) = stored.access_token else {
        return Err(asked.unwrap_err());
    };
    let start: String = token.expose_secret().chars().take(20).collect();
    let host = stored.instance_url.unwrap();
    Ok(format!("{start}… at {host}"))
}
