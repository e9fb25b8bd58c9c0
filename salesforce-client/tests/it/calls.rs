use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use http::Method;
use jiff::Timestamp;
use salesforce_client::{
    ErrorCode, ErrorKind, NewTask, Record, RecordId, RetryPolicy, SObject, SalesforceClient, soql,
};
use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, body_json, header_exists, method, path, query_param},
};

use crate::support::{Act, BrokenServer, DATA, builder, client, errors, fixture, id, quick};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct Account {
    name: String,
    last_modified_date: Option<Timestamp>,
}

impl SObject for Account {
    const NAME: &'static str = "Account";
}

fn account() -> RecordId {
    id("0015500001QdQWa")
}

async fn answering(status: u16, body: Value) -> (MockServer, SalesforceClient) {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    (server, client)
}

#[tokio::test]
async fn recorded_errors_have_the_kinds_that_they_mean() {
    for (name, kind, code) in [
        (
            "restforce-write-error",
            ErrorKind::Invalid,
            ErrorCode::INVALID_FIELD,
        ),
        (
            "restforce-upsert-bad-field",
            ErrorKind::NotFound,
            ErrorCode::NOT_FOUND,
        ),
        (
            "jsforce-multiple-errors",
            ErrorKind::Invalid,
            ErrorCode::FIELD_CUSTOM_VALIDATION_EXCEPTION,
        ),
    ] {
        let Some(recorded) = fixture(&format!("exchanges/{name}.json")) else {
            continue;
        };
        let response = &recorded["response"];
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        let status = response["status"].as_u64().unwrap();
        let (_server, client) = answering(u16::try_from(status).unwrap(), body.clone()).await;
        let request = client.request(Method::POST, "/x").send().await;
        let error = request.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (kind, 1), "{name}");
        assert!(!error.may_have_happened(), "{name}");
        let said = error.api().unwrap();
        assert!(said.has(&code), "{name}");
        assert_eq!(
            said.iter().count(),
            body.as_array().unwrap().len(),
            "{name}"
        );
    }
}

#[test]
fn recorded_ids_are_read_in_both_lengths() {
    let Some(file) = fixture("id-vectors.json") else {
        return;
    };
    for vector in file["vectors"].as_array().unwrap() {
        let long = vector["id18"].as_str().unwrap();
        assert_eq!(id(vector["id15"].as_str().unwrap()).as_str(), long);
        assert_eq!(id(long).as_str(), long);
    }
}

#[tokio::test]
async fn a_wait_past_the_deadline_is_returned_and_not_slept() {
    for asked in ["3600", "Fri, 31 Dec 2100 00:00:00 GMT"] {
        let server = MockServer::start().await;
        let busy = ResponseTemplate::new(503)
            .insert_header("retry-after", asked)
            .set_body_json(errors("SERVER_UNAVAILABLE", "Server too busy"));
        Mock::given(any())
            .respond_with(busy)
            .expect(1)
            .mount(&server)
            .await;
        let began = Instant::now();
        let request = client(&server.uri())
            .request(Method::GET, "/limits")
            .send()
            .await;
        let error = request.unwrap_err();
        assert!(error.retry_after().unwrap() >= Duration::from_secs(3600));
        assert!(error.is_retryable());
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_short_retry_after_is_waited_out() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "1");
    Mock::given(any())
        .respond_with(busy)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
        .mount(&server)
        .await;
    let began = Instant::now();
    let request = client(&server.uri())
        .request(Method::POST, "/x")
        .send()
        .await;
    request.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn reads_are_repeated_after_a_server_error_and_writes_are_not() {
    for (verb, sent) in [
        (Method::GET, 3),
        // Of a call of the user's own nobody knows what a second one does.
        (Method::PUT, 1),
        (Method::DELETE, 1),
        (Method::POST, 1),
        (Method::PATCH, 1),
    ] {
        let body = errors(
            "UNKNOWN_EXCEPTION",
            "An unexpected error occurred. ErrorId: 1-2",
        );
        let (server, _) = answering(500, body).await;
        let client = builder(&server.uri())
            .retry(quick().max_attempts(3))
            .build()
            .unwrap();
        let error = client.request(verb.clone(), "/x").send().await.unwrap_err();
        assert!(error.may_have_happened(), "{verb}");
        assert_eq!(error.attempts(), sent, "{verb}");
        let arrived = server.received_requests().await.unwrap().len();
        assert_eq!(arrived, sent as usize, "{verb}");
    }
}

#[tokio::test]
async fn what_never_left_is_repeated_whatever_it_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = builder(&url)
        .retry(quick().max_attempts(3))
        .build()
        .unwrap();
    let created = client.tasks().create(&NewTask::new("x")).await;
    let error = created.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Transport, 3));
    assert!(!error.may_have_happened());
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_done_when_there_is_nothing_left() {
    let gone = errors("ENTITY_IS_DELETED", "entity is deleted").to_string();
    let acts = vec![Act::LoseAnswer, Act::Answer(404, gone.clone())];
    let server = BrokenServer::start(acts).await;
    let deleted = client(&server.url)
        .sobject("Account")
        .delete(&account())
        .await;
    deleted.unwrap();

    let server = BrokenServer::start(vec![Act::Answer(404, gone)]).await;
    let deleted = client(&server.url)
        .sobject("Account")
        .delete(&account())
        .await;
    assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Deleted);
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_is_there() {
    let there = errors("DUPLICATE_VALUE", "Document with ID: 069 is already linked").to_string();
    let acts = vec![Act::LoseAnswer, Act::Answer(400, there)];
    let mut server = BrokenServer::start(acts).await;
    let client = client(&server.url);
    let (document, record) = (id("0695500000KQ12X"), account());
    let files = client.files();
    let linked = files
        .link(&document, &record, salesforce_client::ShareType::Viewer)
        .visibility(salesforce_client::Visibility::InternalUsers)
        .await;
    assert_eq!(linked.unwrap(), salesforce_client::Linked::Already);
    let sent: Value = serde_json::from_slice(&server.arrived().await.body).unwrap();
    assert_eq!(
        sent,
        json!({
            "ContentDocumentId": document, "LinkedEntityId": record,
            "ShareType": "V", "Visibility": "InternalUsers",
        })
    );
}

#[tokio::test]
async fn records_are_read_as_types_and_as_maps_and_only_when_changed() {
    let server = MockServer::start().await;
    let one = format!("{DATA}/sobjects/Account/{}", account());
    Mock::given(path(&one))
        .and(header_exists("if-modified-since"))
        .respond_with(ResponseTemplate::new(304))
        .mount(&server)
        .await;
    Mock::given(path(&one))
        .and(query_param("fields", "Name,LastModifiedDate"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "attributes": { "type": "Account", "url": one }, "Name": "Acme",
            "LastModifiedDate": "2024-05-31T09:30:00.000+0000",
        })))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let fields = ["Name", "LastModifiedDate"];
    let acme = client
        .records::<Account>()
        .get(&account())
        .fields(fields)
        .await
        .unwrap();
    let at: Timestamp = "2024-05-31T09:30:00Z".parse().unwrap();
    assert_eq!(acme.last_modified_date, Some(at));
    let map: Record = client
        .sobject("Account")
        .get(&account())
        .fields(fields)
        .await
        .unwrap();
    assert_eq!(map["Name"], "Acme");
    let same = client
        .records::<Account>()
        .get(&account())
        .if_modified_since(at)
        .send()
        .await;
    assert_eq!(same.unwrap(), None);
}

#[tokio::test]
async fn upserts_say_what_they_did_and_keep_strange_keys_in_one_segment() {
    let key = "a/b?c#d+e%f .json";
    for (status, body, id_told, created) in [
        (
            201,
            json!({"id": "0015500001QdQWaAAN", "success": true, "created": true}),
            true,
            true,
        ),
        (
            200,
            json!({"id": "0015500001QdQWaAAN", "success": true, "created": false}),
            true,
            false,
        ),
        (204, json!(null), false, false),
    ] {
        let server = MockServer::start().await;
        let answer = if status == 204 {
            ResponseTemplate::new(204)
        } else {
            ResponseTemplate::new(status).set_body_json(body)
        };
        Mock::given(method("PATCH"))
            .and(body_json(json!({ "Name": "Acme" })))
            .respond_with(answer)
            .mount(&server)
            .await;
        let client = client(&server.uri());
        let accounts = client.sobject("Account");
        let fields = json!({ "Name": "Acme" });
        let upserted = accounts.upsert("Key__c", key, &fields).await.unwrap();
        assert_eq!(
            (upserted.id.is_some(), upserted.created),
            (id_told, created)
        );
        let sent = server.received_requests().await.unwrap();
        assert_eq!(
            sent[0].url.path(),
            format!("{DATA}/sobjects/Account/Key__c/a%2Fb%3Fc%23d%2Be%25f%20%2Ejson")
        );
    }
    let (server, client) = answering(200, json!({})).await;
    for (field, value) in [
        ("Key__c", ""),
        ("Key__c", "."),
        ("Key__c", ".."),
        ("a/b", "x"),
    ] {
        let accounts = client.sobject("Account");
        let refused = accounts.upsert(field, value, &json!({})).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{field} {value}"
        );
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn several_matches_of_an_upsert_change_nothing() {
    let urls = json!([
        "/services/data/v58.0/sobjects/Account/1",
        "/services/data/v58.0/sobjects/Account/2"
    ]);
    let (_server, client) = answering(300, urls).await;
    let upserted = client
        .sobject("Account")
        .upsert("Key__c", "x", &json!({}))
        .await;
    let error = upserted.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Duplicate);
    assert!(!error.may_have_happened());
}

#[tokio::test]
async fn any_call_reaches_its_path_and_bulk_1_has_its_own_header() {
    let (server, client) = answering(200, json!({})).await;
    client
        .request(Method::GET, "/sobjects/Account/describe")
        .query("x", "a b")
        .send()
        .await
        .unwrap();
    client
        .request(Method::POST, "/services/async/58.0/job")
        .body("application/xml", "<jobInfo/>")
        .send()
        .await
        .unwrap();
    client.versions().await.unwrap_err();
    for bad in ["limits", "/limits?x=1", "/a\\b", "//evil.example/x#y"] {
        let refused = client.request(Method::GET, bad).send().await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    let sent = server.received_requests().await.unwrap();
    assert_eq!(
        sent[0].url.path(),
        format!("{DATA}/sobjects/Account/describe")
    );
    assert_eq!(sent[0].url.query(), Some("x=a+b"));
    assert_eq!(sent[0].headers["authorization"], "Bearer token-1");
    assert_eq!(sent[1].url.path(), "/services/async/58.0/job");
    assert_eq!(sent[1].headers["x-sfdc-session"], "token-1");
    assert!(!sent[1].headers.contains_key("authorization"));
    assert_eq!(sent[2].url.path(), "/services/data");
}

#[tokio::test]
async fn a_client_names_itself_and_uses_the_version_that_it_was_given() {
    let (server, _) = answering(200, json!({})).await;
    let client = builder(&server.uri())
        .api_version("v67.0")
        .client_name("box-bridge")
        .build()
        .unwrap();
    client.request(Method::GET, "/limits").send().await.unwrap();
    let sent = server.received_requests().await.unwrap();
    assert_eq!(sent[0].url.path(), "/services/data/v67.0/limits");
    assert_eq!(sent[0].headers["sforce-call-options"], "client=box-bridge");
    for (version, name) in [("58", "x"), ("30.0", "x"), ("58.0", "a,b"), ("58.0", "")] {
        let built = builder(&server.uri())
            .api_version(version)
            .client_name(name)
            .build();
        assert_eq!(
            built.unwrap_err().kind(),
            ErrorKind::Config,
            "{version} {name}"
        );
    }
}

#[tokio::test]
async fn what_no_uri_holds_is_not_sent_unless_it_is_a_query_which_goes_inside_another_call() {
    let (server, client) = answering(200, json!({})).await;
    let request = client
        .request(Method::GET, "/search")
        .query("q", "x".repeat(16_384));
    let error = request.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(server.received_requests().await.unwrap().is_empty());

    let page = json!({ "totalSize": 1, "done": true, "records": [{ "Name": "a" }] });
    let part = json!({ "body": page, "httpStatusCode": 200, "referenceId": "inner" });
    let (server, client) = answering(200, json!({ "compositeResponse": [part] })).await;
    let ids = vec![account(); 900];
    let query = soql("SELECT Name FROM Account WHERE Id IN :ids").bind("ids", ids);
    let rows = client
        .query::<Record>(query.clone())
        .batch_size(500)
        .all(10)
        .await;
    assert_eq!(rows.unwrap()[0]["Name"], "a");
    let sent = server.received_requests().await.unwrap();
    assert_eq!(sent[0].url.path(), format!("{DATA}/composite"));
    let body: Value = sent[0].body_json().unwrap();
    let part = &body["compositeRequest"][0];
    assert_eq!(part["method"], "GET");
    assert_eq!(part["httpHeaders"]["sforce-query-options"], "batchSize=500");
    let url = server.uri() + part["url"].as_str().unwrap();
    let url = reqwest::Url::parse(&url).unwrap();
    assert_eq!(url.path(), format!("{DATA}/query"));
    let asked = url.query_pairs().next().unwrap().1.into_owned();
    assert_eq!(asked, query.text().unwrap());
}

async fn paged(server: &MockServer, pages: usize) {
    for number in 0..pages {
        let last = number + 1 == pages;
        let mut page = json!({
            "totalSize": pages * 2, "done": last,
            "records": [{ "Name": format!("{number}a") }, { "Name": format!("{number}b") }],
        });
        if !last {
            page["nextRecordsUrl"] = json!(format!("{DATA}/query/01g-{}", number + 1));
        }
        let at = match number {
            0 => format!("{DATA}/query"),
            _ => format!("{DATA}/query/01g-{number}"),
        };
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(page))
            .mount(server)
            .await;
    }
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn one_page_is_fetched_ahead_and_never_two() {
    let server = MockServer::start().await;
    paged(&server, 4).await;
    let client = client(&server.uri());
    let mut rows = Box::pin(client.query::<Account>("SELECT Name FROM Account").stream());
    assert_eq!(asked(&server).await, 0, "nobody has asked for a row yet");
    assert_eq!(rows.next().await.unwrap().unwrap().name, "0a");
    // The second page comes without anybody asking for another row.
    while asked(&server).await < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows.next().await.unwrap().unwrap().name, "0b");
    assert_eq!(asked(&server).await, 2);
    let rest: Vec<_> = rows.map_ok(|row| row.name).try_collect().await.unwrap();
    assert_eq!(rest, ["1a", "1b", "2a", "2b", "3a", "3b"]);
    assert_eq!(asked(&server).await, 4);
}

#[tokio::test]
async fn after_an_error_no_row_comes() {
    let server = MockServer::start().await;
    let next = json!({
        "totalSize": 2, "done": false, "nextRecordsUrl": format!("{DATA}/query/01g-1"),
        "records": [{ "Name": "a" }],
    });
    Mock::given(path(format!("{DATA}/query")))
        .respond_with(ResponseTemplate::new(200).set_body_json(next))
        .mount(&server)
        .await;
    let gone = errors("INVALID_QUERY_LOCATOR", "invalid query locator");
    Mock::given(path(format!("{DATA}/query/01g-1")))
        .respond_with(ResponseTemplate::new(400).set_body_json(gone))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let rows: Vec<_> = client
        .query::<Account>("SELECT Name FROM Account")
        .stream()
        .collect()
        .await;
    assert!(rows[0].is_ok());
    let error = rows[1].as_ref().unwrap_err();
    assert!(error.api().unwrap().has(&ErrorCode::INVALID_QUERY_LOCATOR));
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_limit_of_rows_is_kept_and_never_cuts() {
    let server = MockServer::start().await;
    paged(&server, 2).await;
    let client = client(&server.uri());
    let query = || client.query::<Account>("SELECT Name FROM Account");
    assert_eq!(query().all(4).await.unwrap().len(), 4);
    assert_eq!(
        query().all(3).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    assert_eq!(query().count().await.unwrap(), 4);
    server.reset().await;
    paged(&server, 2).await;
    assert_eq!(query().first().await.unwrap().unwrap().name, "0a");
    let sent = server.received_requests().await.unwrap();
    assert_eq!(sent.len(), 1, "one page is enough for one row");
    assert_eq!(sent[0].headers["sforce-query-options"], "batchSize=200");
}

#[tokio::test]
async fn recorded_pages_are_read_to_their_end() {
    let pages = ["1", "2"].map(|n| fixture(&format!("exchanges/restforce-query-page-{n}.json")));
    let [Some(first), Some(second)] = pages else {
        return;
    };
    let server = MockServer::start().await;
    for (at, page) in [
        (format!("{DATA}/query"), first),
        ("/services/data/v26.0/query/01gD".into(), second),
    ] {
        let body = page["response"]["body"].as_str().unwrap();
        Mock::given(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_string(body))
            .mount(&server)
            .await;
    }
    let client = client(&server.uri());
    let rows = client
        .query::<Record>("SELECT Text_Label FROM Whizbang")
        .all(10)
        .await
        .unwrap();
    let labels: Vec<_> = rows
        .iter()
        .map(|row| row["Text_Label"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["First Page", "Last Page"]);
}

#[tokio::test]
async fn deleted_rows_and_page_sizes_are_asked_for() {
    let (server, client) =
        answering(200, json!({"totalSize": 0, "done": true, "records": []})).await;
    let query = soql("SELECT Id FROM Account WHERE Name = :n").bind("n", "Müller & Söhne + O'Neil");
    let rows = client
        .query::<Record>(query)
        .all_rows()
        .batch_size(50)
        .all(1)
        .await;
    assert!(rows.unwrap().is_empty());
    let sent = server.received_requests().await.unwrap();
    assert_eq!(sent[0].url.path(), format!("{DATA}/queryAll"));
    assert_eq!(sent[0].headers["sforce-query-options"], "batchSize=200");
    let (_, q) = sent[0].url.query_pairs().next().unwrap();
    assert_eq!(
        q,
        r"SELECT Id FROM Account WHERE Name = 'Müller & Söhne + O\'Neil'"
    );
}

#[tokio::test]
async fn files_are_read_back_and_downloaded() {
    let server = MockServer::start().await;
    let version = id("0685500000KQ12X");
    Mock::given(path(format!(
        "{DATA}/sobjects/ContentVersion/{version}/VersionData"
    )))
    .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![7_u8; 100_000]))
    .mount(&server)
    .await;
    Mock::given(path(format!("{DATA}/sobjects/ContentVersion/{version}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "Id": version, "ContentDocumentId": "0695500000KQ12X",
            "Checksum": "900150983cd24fb0d6963f7d28e17f72", "ContentSize": 1.0E5,
        })))
        .mount(&server)
        .await;
    Mock::given(path(format!("{DATA}/query")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({
            "totalSize": 1, "done": true, "records": [{
                "Id": "06A5500000KQ12X", "ContentDocumentId": "0695500000KQ12X",
                "LinkedEntityId": account(), "ShareType": "Q", "Visibility": "AllUsers",
                "ContentDocument": { "Title": "NDA", "LatestPublishedVersionId": version },
            }],
        })))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let files = client.files();
    assert_eq!(
        files.version(&version).await.unwrap().content_size,
        Some(100_000)
    );
    let links = files.linked_to(&account()).await.unwrap();
    let other = salesforce_client::ShareType::Other("Q".into());
    assert_eq!(links[0].share_type, Some(other));
    let download = files.download(&version).await.unwrap();
    assert_eq!(download.size(), Some(100_000));
    assert_eq!(download.bytes(100_000).await.unwrap().len(), 100_000);
    let small = files.download(&version).await.unwrap().bytes(10).await;
    assert_eq!(small.unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    let server = BrokenServer::start(vec![Act::Stall(0), Act::Stall(0)]).await;
    let client = builder(&server.url)
        .retry(RetryPolicy::none())
        .idle_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let created = client.tasks().create(&NewTask::new("x")).await;
    let error = created.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.may_have_happened(), "a task may be there now");
}
