use reqwest::header::CONTENT_TYPE;
use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Session, refused, send};

const TASKS: &str = "jobs/ingest";

async fn open(session: &Session) -> String {
    let job = json!({ "object": "Account", "operation": "insert", "contentType": "CSV" });
    let answer = session.post(TASKS, job).await;
    assert_eq!(answer.status, 200);
    let job = answer.json();
    let id = job["id"].as_str().unwrap();
    assert!(id.starts_with("750"));
    assert_eq!(
        (&job["state"], &job["apiVersion"]),
        (&json!("Open"), &json!(58.0))
    );
    let content = format!("services/data/v58.0/jobs/ingest/{id}/batches");
    assert_eq!(job["contentUrl"], content);
    format!("{TASKS}/{id}")
}

async fn put(session: &Session, job: &str, csv: impl Into<Vec<u8>>) -> (u16, Value) {
    let request = session.request("PUT", &format!("{job}/batches"));
    let answer = send(request.header(CONTENT_TYPE, "text/csv").body(csv.into())).await;
    let body = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, body)
}

async fn state(session: &Session, job: &str) -> String {
    let job = session.get(job).await.json();
    job["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_goes_from_state_to_state_and_never_back() {
    let session = Session::start().await;
    let job = open(&session).await;
    let results = format!("{job}/successfulResults");
    let not_now = refused(400, "INVALIDJOBSTATE");
    assert_eq!(session.delete(&job).await.error(), not_now);
    assert_eq!(session.get(&results).await.error(), not_now);
    assert_eq!(put(&session, &job, "Name\nAcme\n").await.0, 201);
    let (status, again) = put(&session, &job, "Name\nAcme\n").await;
    assert_eq!(status, 400);
    assert!(
        again[0]["message"]
            .as_str()
            .unwrap()
            .contains("multiple contents")
    );
    let closed = session
        .patch(&job, json!({ "state": "UploadComplete" }))
        .await;
    assert_eq!(closed.json()["state"], "UploadComplete");
    assert_eq!(put(&session, &job, "Name\nAcme\n").await.0, 400);
    let again = session
        .patch(&job, json!({ "state": "UploadComplete" }))
        .await;
    assert_eq!(again.error(), not_now);
    assert_eq!(state(&session, &job).await, "InProgress");
    assert_eq!(session.delete(&job).await.error(), not_now);
    assert_eq!(state(&session, &job).await, "JobComplete");
    let aborted = session.patch(&job, json!({ "state": "Aborted" })).await;
    assert_eq!(aborted.error(), not_now);
    let csv = session.get(&results).await;
    assert_eq!(csv.header("content-type"), Some("text/csv"));
    let text = String::from_utf8(csv.body.to_vec()).unwrap();
    let id = session.fake.records("Account")[0]["Id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(
        text,
        format!("\"sf__Id\",\"sf__Created\",\"Name\"\n\"{id}\",\"true\",\"Acme\"\n")
    );
    assert_eq!(session.delete(&job).await.status, 204);
    assert_eq!(session.get(&job).await.error(), refused(404, "NOT_FOUND"));
}

#[tokio::test]
async fn jobs_that_cannot_be_are_refused_when_they_are_created() {
    let session = Session::start().await;
    for (change, code) in [
        (
            json!({ "contentType": "ZIP_CSV" }),
            "UNSUPPORTEDCONTENTTYPE",
        ),
        (json!({ "object": "Nothing" }), "INVALIDENTITY"),
        (json!({ "operation": "upsert" }), "INVALIDJOB"),
        (json!({ "operation": "merge" }), "JSON_PARSER_ERROR"),
        (json!({ "lineEnding": "CR" }), "JSON_PARSER_ERROR"),
        (json!({ "columnDelimiter": "DOT" }), "JSON_PARSER_ERROR"),
    ] {
        let mut job = json!({ "object": "Account", "operation": "insert" });
        for (name, value) in change.as_object().unwrap() {
            job[name] = value.clone();
        }
        assert_eq!(
            session.post(TASKS, job).await.error(),
            refused(400, code),
            "{change}"
        );
    }
    let text = session.request("PUT", &format!("{}/batches", open(&session).await));
    let answer = send(text.header(CONTENT_TYPE, "application/json").body("{}")).await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn data_that_is_not_as_the_job_says_fails_the_job() {
    let session = Session::start().await;
    for (csv, code) in [
        (&b"Name\r\nAcme\r\n"[..], "ClientInputError"),
        (b"Name,Colour\nAcme,red\n", "InvalidBatch"),
        (b"Name,Phone\nAcme\n", "InvalidBatch"),
        // Latin 1.
        (b"Name\nZo\xeb\n", "InvalidBatch"),
    ] {
        let job = open(&session).await;
        assert_eq!(put(&session, &job, csv).await.0, 201);
        session
            .patch(&job, json!({ "state": "UploadComplete" }))
            .await;
        session.get(&job).await;
        let failed = session.get(&job).await.json();
        assert_eq!(failed["state"], "Failed", "{csv:?}");
        assert!(
            failed["errorMessage"].as_str().unwrap().starts_with(code),
            "{failed}"
        );
    }
    assert!(session.fake.records("Account").is_empty());
}

#[tokio::test]
async fn a_query_job_is_read_with_its_own_version_and_its_own_locators() {
    let session = Session::with(FakeSalesforce::builder().page_size(1)).await;
    session.account("one");
    session.account("two");
    let query = json!({ "operation": "query", "query": "SELECT Name FROM Account ORDER BY Name" });
    let id = session.post("jobs/query", query).await.json()["id"].clone();
    let job = format!("jobs/query/{}", id.as_str().unwrap());
    let early = session.get(&format!("{job}/results")).await;
    assert_eq!(early.error(), refused(400, "INVALIDJOBSTATE"));
    session.get(&job).await;
    assert_eq!(state(&session, &job).await, "JobComplete");
    let first = session.get(&format!("{job}/results?maxRecords=10")).await;
    assert_eq!(first.header("sforce-numberofrecords"), Some("1"));
    let locator = first.header("sforce-locator").unwrap();
    let last = session
        .get(&format!("{job}/results?locator={locator}"))
        .await;
    assert_eq!(&last.body[..], b"\"Name\"\n\"two\"\n");
    assert_eq!(last.header("sforce-locator"), Some("null"));
    let other = session
        .get(&format!("/services/data/v60.0/{job}/results"))
        .await;
    assert_eq!(other.status, 409);
    let wrong = session.get(&format!("{job}/results?locator=x")).await;
    assert_eq!(wrong.error(), refused(400, "INVALID_QUERY_LOCATOR"));
    for (query, code) in [
        ("SELECT COUNT() FROM Account", "API_ERROR"),
        ("SELECT VersionData FROM ContentVersion", "API_ERROR"),
        ("SELECT Id FROM Account OFFSET 1", "API_ERROR"),
        (
            "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
            "API_ERROR",
        ),
        ("SELECT", "MALFORMED_QUERY"),
    ] {
        let job = json!({ "operation": "query", "query": query });
        assert_eq!(
            session.post("jobs/query", job).await.error(),
            refused(400, code)
        );
    }
}
