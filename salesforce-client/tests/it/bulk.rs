//! Bulk 2.0 against the fake, and against servers that answer as the vendor's recordings do.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use salesforce_client::{
    ErrorKind, SalesforceClient,
    bulk::{ColumnDelimiter, IngestJob, JobId, JobState, LineEnding, NULL},
    testing::{FakeSalesforce, FakeSalesforceBuilder, Fault, FaultEffect, Field, FieldType},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path, query_param},
};

use crate::support::{self, DATA, fixture, quick};

struct Org {
    fake: FakeSalesforce,
    client: SalesforceClient,
}

impl Org {
    async fn start() -> Self {
        Self::with(FakeSalesforce::builder()).await
    }

    async fn with(builder: FakeSalesforceBuilder) -> Self {
        let key = Field::new("Ext__c", FieldType::String)
            .external_id(true)
            .unique(true);
        let fake = builder.custom_field("Account", key).start().await.unwrap();
        let token = salesforce_client::StaticToken::new(fake.issue_token(), fake.url()).unwrap();
        let client = SalesforceClient::builder(token)
            .login_url(fake.url())
            .retry(quick())
            .build()
            .unwrap();
        Self { fake, client }
    }

    fn names(&self) -> Vec<String> {
        let accounts = self.fake.records("Account");
        let name = |account: &serde_json::Value| account["Name"].as_str().unwrap().to_owned();
        accounts.iter().map(name).collect()
    }

    /// Puts requests to `path` in the way of the client.
    fn fault(&self, method: &str, path: &str, effect: FaultEffect) {
        self.fake.inject(Fault::on(path, effect).method(method));
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Account {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Phone")]
    phone: Option<String>,
}

fn account(name: impl Into<String>) -> Account {
    Account {
        name: name.into(),
        phone: None,
    }
}

type Rows<T> = stream::Iter<std::vec::IntoIter<Result<T, std::io::Error>>>;

fn rows<T>(rows: Vec<T>) -> Rows<T> {
    stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>())
}

async fn wait(job: &IngestJob) -> salesforce_client::bulk::JobInfo {
    let wait = job
        .wait()
        .poll_every(Duration::from_millis(1), Duration::from_millis(4));
    wait.send().await.unwrap()
}

async fn only<T, E: std::fmt::Debug>(stream: impl Stream<Item = Result<T, E>>) -> T {
    let mut all: Vec<T> = stream.try_collect().await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[tokio::test]
async fn rows_with_every_kind_of_text_arrive_as_they_are() {
    let names = [
        "plain",
        "O\"Hara, Ann",
        "two\nlines",
        "two\r\nlines",
        " spaced ",
        "Zoë; €|^`\t",
    ];
    for delimiter in [
        ColumnDelimiter::Comma,
        ColumnDelimiter::Tab,
        ColumnDelimiter::Caret,
    ] {
        for ending in [LineEnding::Lf, LineEnding::Crlf] {
            let org = Org::start().await;
            let request = org.client.bulk().insert("Account");
            let request = request.column_delimiter(delimiter).line_ending(ending);
            let job = only(request.rows(rows(names.map(account).to_vec()))).await;
            assert_eq!(wait(&job).await.number_records_failed, 0);
            assert_eq!(org.names(), names);
            let results = job.successful_results::<Account>();
            let results: Vec<_> = results.try_collect().await.unwrap();
            let came: Vec<_> = results.iter().map(|row| row.record.name.as_str()).collect();
            assert_eq!(came, names);
            assert!(results.iter().all(|row| row.created));
            assert!(org.fake.record(results[0].id.as_str()).is_some());
        }
    }
}

#[tokio::test]
async fn each_row_that_fails_is_told_with_its_own_reason() {
    let org = Org::start().await;
    let long = "x".repeat(256);
    let given = vec![
        account("a"),
        account(""),
        account(long.clone()),
        account("b"),
    ];
    let job = only(org.client.bulk().insert("Account").rows(rows(given))).await;
    let info = wait(&job).await;
    assert_eq!(info.state, JobState::JobComplete);
    assert_eq!(
        (info.number_records_processed, info.number_records_failed),
        (4, 2)
    );
    assert_eq!(org.names(), ["a", "b"]);
    let failed: Vec<_> = job.failed_results::<Account>().try_collect().await.unwrap();
    let told: BTreeMap<_, _> = failed
        .iter()
        .map(|row| (row.record.name.as_str(), &row.error))
        .collect();
    assert_eq!(told[""].code, "REQUIRED_FIELD_MISSING");
    assert_eq!(told[""].fields, ["Name"]);
    assert_eq!(told[long.as_str()].code, "STRING_TOO_LONG");
    assert!(failed.iter().all(|row| row.id.is_none()));
    let rest: Vec<Account> = job.unprocessed_records().try_collect().await.unwrap();
    assert_eq!(rest, []);
}

#[tokio::test]
async fn empty_leaves_a_value_and_null_clears_it() {
    #[derive(Serialize)]
    struct Change {
        #[serde(rename = "Ext__c")]
        key: &'static str,
        #[serde(rename = "Name")]
        name: Option<&'static str>,
        #[serde(rename = "Phone")]
        phone: Option<&'static str>,
    }
    let org = Org::start().await;
    let old = json!({ "Name": "Old", "Ext__c": "A-1", "Phone": "1" });
    let id = org.fake.create("Account", old).unwrap();
    let given = vec![
        Change {
            key: "A-1",
            name: None,
            phone: Some(NULL),
        },
        Change {
            key: "A-2",
            name: Some("New"),
            phone: Some("2"),
        },
    ];
    let job = only(
        org.client
            .bulk()
            .upsert("Account", "Ext__c")
            .rows(rows(given)),
    )
    .await;
    wait(&job).await;
    let changed = org.fake.record(&id).unwrap();
    assert_eq!(
        (&changed["Name"], &changed["Phone"]),
        (&json!("Old"), &json!(null))
    );
    let results = job.successful_results::<BTreeMap<String, String>>();
    let results: Vec<_> = results.try_collect().await.unwrap();
    assert_eq!([results[0].created, results[1].created], [false, true]);
    assert_eq!(results[1].record["Name"], "New");
}

#[tokio::test]
async fn records_are_changed_and_deleted_by_id() {
    let org = Org::start().await;
    let ids = ["a", "b"].map(|name| org.fake.create("Account", json!({ "Name": name })).unwrap());
    let bulk = org.client.bulk();
    let given = vec![(ids[0].clone(), "c".to_owned())];
    let job = only(
        bulk.update("Account")
            .columns(["Id", "Name"])
            .rows(rows(given)),
    )
    .await;
    assert_eq!(wait(&job).await.number_records_failed, 0);
    assert_eq!(org.names(), ["c", "b"]);
    let gone = ids.map(|id| [id]).to_vec();
    let job = only(bulk.delete("Account").columns(["Id"]).rows(rows(gone))).await;
    assert_eq!(wait(&job).await.number_records_failed, 0);
    assert_eq!(org.names(), [""; 0]);
    let gone = vec![["001000000000001"]];
    let job = only(bulk.hard_delete("Account").columns(["Id"]).rows(rows(gone))).await;
    assert_eq!(wait(&job).await.number_records_failed, 1);
}

#[tokio::test]
async fn csv_is_split_between_rows_into_jobs_that_have_its_names() {
    let org = Org::start().await;
    let csv = "Name,Phone\r\n\"a\r\nb\",1\r\nsecond,2\r\nthird,3";
    let request = org.client.bulk().insert("Account").job_size(25);
    let jobs: Vec<_> = request.csv(csv.as_bytes()).try_collect().await.unwrap();
    assert_eq!(jobs.len(), 3);
    for job in &jobs {
        let info = wait(job).await;
        assert_eq!(
            (info.number_records_processed, info.number_records_failed),
            (1, 0)
        );
        assert_eq!(info.line_ending, Some(LineEnding::Crlf));
    }
    assert_eq!(org.names(), ["a\r\nb", "second", "third"]);
}

#[tokio::test]
async fn a_source_that_fails_sends_nothing_of_the_job_at_hand() {
    let org = Org::start().await;
    let given = stream::iter([
        Ok(account("first")),
        Ok(account("second")),
        Err(std::io::Error::other("the file ended")),
    ]);
    let request = org.client.bulk().insert("Account").job_size(20);
    let mut jobs = std::pin::pin!(request.rows(given));
    let first = jobs.try_next().await.unwrap().unwrap();
    let error = jobs.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Content);
    assert!(jobs.next().await.is_none());
    wait(&first).await;
    assert_eq!(org.names(), ["first"]);
}

#[tokio::test]
async fn whatever_fails_on_the_way_each_row_is_written_once() {
    let all = [
        ("POST", "*/jobs/ingest"),
        ("PUT", "*/batches"),
        ("PATCH", "*/jobs/ingest/*"),
        ("GET", "*/jobs/ingest/*"),
    ];
    for (method, path) in all {
        for effect in [
            FaultEffect::LostAnswer,
            FaultEffect::Reset,
            FaultEffect::Unavailable,
            FaultEffect::TruncateBody { after: 0 },
        ] {
            let org = Org::start().await;
            org.fault(method, path, effect.clone());
            let given = rows(vec![account("a"), account("b")]);
            let job = only(org.client.bulk().insert("Account").rows(given)).await;
            wait(&job).await;
            assert_eq!(org.names(), ["a", "b"], "{method} {path} {effect:?}");
        }
    }
}

#[tokio::test]
async fn an_ended_session_is_renewed_in_the_middle_of_a_job() {
    let fake = FakeSalesforce::builder()
        .client("app", "secret")
        .start()
        .await
        .unwrap();
    let tokens = salesforce_client::ClientCredentials::new("app", "secret".to_owned());
    let client = SalesforceClient::builder(tokens)
        .login_url(fake.url())
        .retry(quick());
    let client = client.build().unwrap();
    fake.inject(Fault::on("*/batches", FaultEffect::ExpireSession));
    let job = only(
        client
            .bulk()
            .insert("Account")
            .rows(rows(vec![account("a")])),
    )
    .await;
    assert_eq!(wait(&job).await.number_records_processed, 1);
    assert_eq!(fake.records("Account").len(), 1);
}

#[tokio::test]
async fn a_job_that_fails_tells_why() {
    let org = Org::start().await;
    let request = org
        .client
        .bulk()
        .insert("Account")
        .columns(["Name", "Colour"]);
    let job = only(request.rows(rows(vec![("a", "b")]))).await;
    let error = job
        .wait()
        .poll_every(Duration::ZERO, Duration::ZERO)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobFailed);
    assert_eq!(error.api().unwrap().code().unwrap(), "InvalidBatch");
    assert!(!error.is_retryable());
    let rest: Vec<BTreeMap<String, String>> =
        job.unprocessed_records().try_collect().await.unwrap();
    assert_eq!(rest[0]["Colour"], "b");
    let request = org.client.bulk().upsert("Account", "Name");
    let jobs: Result<Vec<_>, _> = request.rows(rows(vec![account("a")])).try_collect().await;
    assert_eq!(
        jobs.unwrap_err().api().unwrap().code().unwrap(),
        "INVALIDJOB"
    );
}

#[tokio::test]
async fn a_job_is_found_again_by_its_id_and_given_up() {
    let org = Org::with(FakeSalesforce::builder().bulk_rows_per_poll(2)).await;
    let given = ["a", "b", "c", "d", "e"].map(account).to_vec();
    let request = org
        .client
        .bulk()
        .insert("Account")
        .column_delimiter(ColumnDelimiter::Pipe);
    let id = only(request.rows(rows(given.clone()))).await.id().clone();

    let job = org.client.bulk().ingest_job(&JobId::new(id.as_str()));
    let mut states = Vec::new();
    let waited = job
        .wait()
        .poll_every(Duration::ZERO, Duration::ZERO)
        .on_progress(|info| states.push(info.state.clone()))
        .send()
        .await;
    assert_eq!(waited.unwrap().state, JobState::JobComplete);
    assert_eq!(states.last(), Some(&JobState::JobComplete));
    assert_eq!(states.len(), 4);
    assert_eq!(
        job.abort()
            .await
            .unwrap_err()
            .api()
            .unwrap()
            .code()
            .unwrap(),
        "INVALIDJOBSTATE"
    );

    let id = only(
        org.client
            .bulk()
            .insert("Account")
            .column_delimiter(ColumnDelimiter::Pipe)
            .rows(rows(given)),
    )
    .await
    .id()
    .clone();
    let job = org.client.bulk().ingest_job(&id);
    job.info().await.unwrap();
    job.info().await.unwrap();
    assert_eq!(job.abort().await.unwrap().state, JobState::Aborted);
    let error = job.wait().send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobFailed);
    let rest: Vec<Account> = job.unprocessed_records().try_collect().await.unwrap();
    assert_eq!(rest, ["c", "d", "e"].map(account));
    job.delete().await.unwrap();
    assert_eq!(job.info().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn waiting_ends_at_its_timeout_and_the_job_does_not() {
    let org = Org::with(FakeSalesforce::builder().bulk_rows_per_poll(1)).await;
    let given = rows(vec![account("a"), account("b"), account("c")]);
    let job = only(org.client.bulk().insert("Account").rows(given)).await;
    let long = Duration::from_secs(60);
    let error = job
        .wait()
        .poll_every(long, long)
        .timeout(long / 4)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(wait(&job).await.number_records_processed, 3);
}

#[tokio::test]
async fn a_query_is_read_page_by_page_and_several_at_once() {
    let org = Org::with(FakeSalesforce::builder().page_size(7)).await;
    for n in 0..100 {
        let account = json!({ "Name": format!("{n:03}, \"{n}\""), "Phone": n.to_string() });
        org.fake.create("Account", account).unwrap();
    }
    let query = org
        .client
        .bulk()
        .query("SELECT Name, Phone FROM Account ORDER BY Name");
    let job = query
        .column_delimiter(ColumnDelimiter::Semicolon)
        .send()
        .await
        .unwrap();
    job.wait()
        .poll_every(Duration::ZERO, Duration::ZERO)
        .send()
        .await
        .unwrap();
    let names = |rows: Vec<Account>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    let expected: Vec<_> = (0..100).map(|n| format!("{n:03}, \"{n}\"")).collect();

    for size in [3, 50_000] {
        let read = job
            .results()
            .max_records(size)
            .stream()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(names(read), expected);
    }
    org.fake.clear_requests();
    let again = org.client.bulk().query_job(job.id());
    let mut read = names(
        again
            .results()
            .parallel(4)
            .stream()
            .try_collect()
            .await
            .unwrap(),
    );
    read.sort();
    assert_eq!(read, expected);
    // Fifteen answers, three pages of places, and the job's own format.
    assert_eq!(org.fake.requests().len(), 15 + 3 + 1);

    let one = job
        .results::<Account>()
        .stream()
        .take(1)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(one.len(), 1);
    job.delete().await.unwrap();
    let gone = job
        .results::<Account>()
        .stream()
        .try_collect::<Vec<_>>()
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_query_without_rows_and_one_for_deleted_rows() {
    let org = Org::start().await;
    let id = org
        .fake
        .create("Account", json!({ "Name": "gone" }))
        .unwrap();
    org.fake.delete(&id).unwrap();
    for (all_rows, expected) in [(false, 0), (true, 1)] {
        let mut query = org.client.bulk().query("SELECT Name, Phone FROM Account");
        if all_rows {
            query = query.all_rows();
        }
        let job = query.send().await.unwrap();
        job.wait()
            .poll_every(Duration::ZERO, Duration::ZERO)
            .send()
            .await
            .unwrap();
        for parallel in [1, 3] {
            let read: Vec<Account> = job
                .results()
                .parallel(parallel)
                .stream()
                .try_collect()
                .await
                .unwrap();
            assert_eq!(read.len(), expected);
        }
    }
    let refused = org
        .client
        .bulk()
        .query("SELECT COUNT() FROM Account")
        .send()
        .await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn rows_of_another_type_and_answers_that_go_on_breaking_off_are_errors() {
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[serde(rename = "Name")]
        _name: u32,
    }
    let org = Org::start().await;
    let job = only(
        org.client
            .bulk()
            .insert("Account")
            .rows(rows(vec![account("a")])),
    )
    .await;
    wait(&job).await;
    let read: Vec<_> = job.successful_results::<Wrong>().collect().await;
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].as_ref().unwrap_err().kind(), ErrorKind::Decode);
    // However often it is asked for again.
    let torn = FaultEffect::TruncateBody { after: 50 };
    let torn = Fault::on("*/successfulResults", torn);
    org.fake.inject(torn.times(100));
    let read: Vec<_> = job.successful_results::<Account>().collect().await;
    assert_eq!(
        read.last().unwrap().as_ref().unwrap_err().kind(),
        ErrorKind::Transport
    );
}

/// Whether each answer of a query repeats the names of the columns is told differently.
#[tokio::test]
async fn pages_with_and_without_names_are_read_alike() {
    for second in ["\"Name\",\"Phone\"\n\"b\",\"2\"\n", "\"b\",\"2\"\n"] {
        for last in ["null", ""] {
            let server = MockServer::start().await;
            let results = format!("{DATA}/jobs/query/750/results");
            let page = |body: &str, next: &str| {
                ResponseTemplate::new(200)
                    .insert_header("Sforce-Locator", next)
                    .set_body_raw(body.to_owned(), "text/csv")
            };
            Mock::given(path(results.as_str()))
                .and(query_param("locator", "MTAw"))
                .respond_with(page(second, last))
                .expect(1)
                .with_priority(1)
                .mount(&server)
                .await;
            Mock::given(path(results.as_str()))
                .and(header("accept", "text/csv"))
                .respond_with(page("\"Name\",\"Phone\"\n\"a\",\"1\"\n", "MTAw"))
                .expect(1)
                .mount(&server)
                .await;
            let info = json!({ "id": "750", "state": "JobComplete", "operation": "query" });
            Mock::given(path(format!("{DATA}/jobs/query/750")))
                .respond_with(ResponseTemplate::new(200).set_body_json(info))
                .mount(&server)
                .await;
            let client = support::client(&server.uri());
            let job = client.bulk().query_job(&JobId::new("750"));
            let read: Vec<Account> = job.results().stream().try_collect().await.unwrap();
            let names: Vec<_> = read.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names, ["a", "b"]);
        }
    }
}

#[tokio::test]
async fn the_token_goes_nowhere_that_an_answer_points() {
    let server = MockServer::start().await;
    for place in [
        "https://evil.example/services/data/x",
        "//evil.example/",
        "/elsewhere",
    ] {
        server.reset().await;
        let pages = json!({ "resultPages": [{ "resultUrl": place }], "done": true });
        Mock::given(path(format!("{DATA}/jobs/query/750/resultPages")))
            .respond_with(ResponseTemplate::new(200).set_body_json(pages))
            .mount(&server)
            .await;
        let info = json!({ "id": "750", "state": "JobComplete", "operation": "query" });
        Mock::given(path(format!("{DATA}/jobs/query/750")))
            .respond_with(ResponseTemplate::new(200).set_body_json(info))
            .mount(&server)
            .await;
        let client = support::client(&server.uri());
        let job = client.bulk().query_job(&JobId::new("750"));
        let read = job.results::<Account>().parallel(2).stream();
        let error = read.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{place}");
    }
}

#[tokio::test]
async fn what_the_vendors_recordings_show_is_read() {
    let (Some(open), Some(complete), Some(successful), Some(failed)) = (
        fixture("exchanges/ss-bulk2-open.json"),
        fixture("exchanges/ss-bulk2-complete.json"),
        fixture("exchanges/ss-bulk2-successful.json"),
        fixture("exchanges/force-bulk2-failed-results.json"),
    ) else {
        return;
    };
    let server = MockServer::start().await;
    let base = format!("{DATA}/jobs/ingest");
    let answer = |fixture: &serde_json::Value, kind: &str| {
        let body = fixture["response"]["body"].as_str().unwrap().to_owned();
        ResponseTemplate::new(200).set_body_raw(body, kind)
    };
    for (verb, path_, reply) in [
        ("POST", base.clone(), answer(&open, "application/json")),
        (
            "PUT",
            format!("{base}/Job-1/batches"),
            ResponseTemplate::new(201),
        ),
        (
            "PATCH",
            format!("{base}/Job-1"),
            answer(&open, "application/json"),
        ),
        (
            "GET",
            format!("{base}/Job-1"),
            answer(&complete, "application/json"),
        ),
        (
            "GET",
            format!("{base}/Job-1/successfulResults"),
            answer(&successful, "text/csv"),
        ),
        (
            "GET",
            format!("{base}/Job-1/failedResults"),
            answer(&failed, "text/csv"),
        ),
    ] {
        let mock = Mock::given(method(verb))
            .and(path(path_))
            .respond_with(reply);
        mock.expect(1).mount(&server).await;
    }
    let client = support::client(&server.uri());
    let given = rows(vec![account("x")]);
    let job = only(client.bulk().insert("Contact").rows(given)).await;
    assert_eq!(job.id().as_str(), "Job-1");
    let sent = server.received_requests().await.unwrap();
    let sent = |verb: &str| {
        sent.iter()
            .find(|sent| sent.method.as_str() == verb)
            .unwrap()
    };
    assert_eq!(sent("PUT").body, b"Name,Phone\nx,\n");
    assert_eq!(sent("PUT").headers["content-length"], "14");
    assert_eq!(sent("PUT").headers["authorization"], "Bearer token-1");
    let created: serde_json::Value = sent("POST").body_json().unwrap();
    assert_eq!(
        created,
        json!({ "object": "Contact", "operation": "insert", "contentType": "CSV",
            "columnDelimiter": "COMMA", "lineEnding": "LF" })
    );
    let closed: serde_json::Value = sent("PATCH").body_json().unwrap();
    assert_eq!(closed, json!({ "state": "UploadComplete" }));
    assert_eq!(job.wait().send().await.unwrap().number_records_processed, 2);
    let read = job.successful_results::<BTreeMap<String, String>>();
    let read: Vec<_> = read.try_collect().await.unwrap();
    assert_eq!(read[1].record["FirstName"], "Alice");
    let failed = only(job.failed_results::<BTreeMap<String, String>>()).await;
    assert_eq!(
        (failed.id, failed.error.code.as_str()),
        (None, "REQUIRED_FIELD_MISSING")
    );
}

#[cfg(feature = "bulk-v1")]
mod zip {
    use salesforce_client::bulk::{BatchState, FileRef, ZipBatch};

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        path_on_client: Option<&'static str>,
        first_publish_location_id: String,
        version_data: FileRef,
    }

    #[tokio::test]
    async fn files_arrive_and_each_row_has_its_own_outcome() {
        let org = Org::start().await;
        let account = org
            .fake
            .create("Account", json!({ "Name": "Acme" }))
            .unwrap();
        let mut batch = ZipBatch::new();
        for (path, name) in [
            ("1/a.pdf", Some("a.pdf")),
            ("2/b", None),
            ("3/ü", Some("c.txt")),
        ] {
            let version = Version {
                path_on_client: name,
                first_publish_location_id: account.clone(),
                version_data: batch.file(path, path.as_bytes()).unwrap(),
            };
            batch.row(&version).unwrap();
        }
        let job = org
            .client
            .bulk()
            .insert_zip("ContentVersion")
            .await
            .unwrap();
        let sent = job.add_batch(batch).await.unwrap();
        job.close().await.unwrap();
        let sent = org.client.bulk().zip_job(job.id()).batch(sent.id());
        let info = sent.wait().await.unwrap();
        assert_eq!(info.state, BatchState::Completed);
        assert_eq!(
            (info.number_records_processed, info.number_records_failed),
            (3, 1)
        );
        let outcomes = sent.results().await.unwrap();
        let refused = outcomes[1].as_ref().unwrap_err();
        assert_eq!(refused.code, "REQUIRED_FIELD_MISSING");
        for (row, content) in [(0, "1/a.pdf"), (2, "3/ü")] {
            let record = outcomes[row].as_ref().unwrap();
            assert!(record.created);
            assert_eq!(
                org.fake.bytes(record.id.as_str()).unwrap(),
                content.as_bytes()
            );
        }
        for request in org.fake.requests() {
            assert!(
                request.path.starts_with("/services/async/58.0/job"),
                "{}",
                request.path
            );
        }
    }

    #[tokio::test]
    async fn a_list_that_salesforce_cannot_use_fails_the_batch() {
        #[derive(Serialize)]
        struct Wrong {
            #[serde(rename = "Colour")]
            colour: &'static str,
        }
        let org = Org::start().await;
        let job = org
            .client
            .bulk()
            .insert_zip("ContentVersion")
            .await
            .unwrap();
        let mut batch = ZipBatch::new();
        batch.row(&Wrong { colour: "red" }).unwrap();
        let sent = job.add_batch(batch).await.unwrap();
        let error = sent.wait().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::JobFailed);
        assert_eq!(error.api().unwrap().code().unwrap(), "InvalidBatch");
    }

    #[tokio::test]
    async fn a_batch_whose_answer_is_lost_is_not_sent_twice() {
        let org = Org::start().await;
        let job = org
            .client
            .bulk()
            .insert_zip("ContentVersion")
            .await
            .unwrap();
        let batch = || {
            let mut batch = ZipBatch::new();
            let version_data = batch.file("a", b"a").unwrap();
            let version = Version {
                path_on_client: Some("a"),
                first_publish_location_id: String::new(),
                version_data,
            };
            batch.row(&version).unwrap();
            batch
        };
        org.fault("POST", "*/batch", FaultEffect::LostAnswer);
        org.fake.clear_requests();
        let error = job.add_batch(batch()).await.unwrap_err();
        assert!(error.may_have_happened());
        assert_eq!(org.fake.requests().len(), 1);
        // The end of a job is no such thing: it is looked up.
        org.fault("POST", "*/job/*", FaultEffect::LostAnswer);
        job.close().await.unwrap();
        let error = job.add_batch(batch()).await.unwrap_err();
        assert_eq!(error.api().unwrap().code().unwrap(), "InvalidJobState");
    }

    #[tokio::test]
    async fn a_session_that_ended_is_renewed_here_as_well() {
        let fake = FakeSalesforce::builder()
            .client("app", "secret")
            .start()
            .await
            .unwrap();
        let tokens = salesforce_client::ClientCredentials::new("app", "secret".to_owned());
        let client = SalesforceClient::builder(tokens)
            .login_url(fake.url())
            .retry(quick());
        let client = client.build().unwrap();
        client.bulk().insert_zip("ContentVersion").await.unwrap();
        fake.expire_sessions();
        client.bulk().insert_zip("ContentVersion").await.unwrap();
    }
}
