//! Ways to what lies beside the usual: external ids, blobs, versions, the session, compression.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use salesforce_client::{
    AccessToken, Error, ErrorCode, ErrorKind, IdempotencyKey, OAuthApp, PendingLogin, Record,
    SalesforceClient, Strategy, TokenEndpoint, TokenSource, soql,
    testing::{FakeSalesforce, Field, FieldType},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    org::{self, account, builder_of, create},
    support::{Act, BrokenServer, builder, client, errors, id, quick},
};

#[tokio::test]
async fn a_record_is_read_and_deleted_by_its_external_id() {
    let key = Field::new("Ext__c", FieldType::String)
        .external_id(true)
        .unique(true);
    let org = FakeSalesforce::builder().custom_field("Account", key);
    let (org, client) = org::with(org).await;
    create(
        &org,
        "Account",
        json!({ "Name": "Acme", "Ext__c": "k 1/2" }),
    );
    let accounts = client.sobject("Account");
    let found: Record = accounts
        .get_by("Ext__c", "k 1/2")
        .fields(["Name"])
        .await
        .unwrap();
    assert_eq!(found["Name"], "Acme");
    accounts.delete_by("Ext__c", "k 1/2").await.unwrap();
    assert!(org.records("Account").is_empty());
    let gone = accounts.get_by("Ext__c", "k 1/2").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    for value in ["", ".", ".."] {
        let error = accounts.delete_by("Ext__c", value).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn any_field_of_bytes_is_streamed() {
    let (org, client) = org::start().await;
    let record = account(&org, "Acme");
    let version = org.add_file_as_other_user(record.as_str(), "a.bin", &[7; 70_000]);
    let versions = client.sobject("ContentVersion");
    let blob = versions
        .blob(&id(&version.unwrap()), "VersionData")
        .await
        .unwrap();
    assert_eq!(blob.size(), Some(70_000));
    assert_eq!(blob.bytes(70_000).await.unwrap().len(), 70_000);
}

#[tokio::test]
async fn another_version_and_the_session_share_one_token() {
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
    let session = client.access_token().await.unwrap();
    assert_eq!(session.instance_url().trim_end_matches('/'), fake.url());
    let newest = client.latest_version().await.unwrap();
    client.with_api_version(newest).limits().await.unwrap();
    let asked: Vec<_> = fake.requests().into_iter().map(|it| it.path).collect();
    assert!(
        asked.contains(&format!("/services/data/v{newest}/limits")),
        "{asked:?}"
    );
    assert_eq!(
        asked.iter().filter(|path| path.ends_with("/token")).count(),
        1
    );
}

#[tokio::test]
async fn searches_and_setup_are_asked_in_their_own_languages() {
    let server = MockServer::start().await;
    let found = json!({ "searchRecords": [{ "Id": "0015500000KQ12XAAT" }] });
    let rows = json!({ "totalSize": 1, "done": true, "records": [{ "Name": "A" }] });
    for answer in [found.clone(), found, rows] {
        let answer = ResponseTemplate::new(200).set_body_json(answer);
        Mock::given(any())
            .respond_with(answer)
            .up_to_n_times(1)
            .mount(&server)
            .await;
    }
    let client = client(&server.uri());
    let sosl = "FIND {Acme} IN NAME FIELDS RETURNING Account(Id)";
    assert_eq!(client.sosl::<Record>(sosl).await.unwrap().len(), 1);
    let search = client.search("Acme").object("Account", &["Id"]);
    let search = search.object_where(soql("Name != :n").bind("n", "O'Hara"));
    let search = search.object_order_by("Name DESC").object_limit(7);
    search.records().await.unwrap();
    let classes = client
        .tooling()
        .query::<Record>("SELECT Name FROM ApexClass");
    assert_eq!(classes.all(10).await.unwrap().len(), 1);
    let sent = server.received_requests().await.unwrap();
    let query = |place: usize| sent[place].url.query_pairs().next().unwrap().1.into_owned();
    assert!(sent[0].url.path().ends_with("/search"));
    assert_eq!(query(0), sosl);
    let body: serde_json::Value = serde_json::from_slice(&sent[1].body).unwrap();
    let object = &body["sobjects"][0];
    assert_eq!(object["where"], r"Name != 'O\'Hara'");
    assert_eq!(
        (&object["orderBy"], &object["limit"]),
        (&json!("Name DESC"), &json!(7))
    );
    assert!(sent[2].url.path().ends_with("/tooling/query"));
    let alone = client.search("Acme").object_limit(1).records().await;
    assert_eq!(alone.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn all_objects_are_described_only_if_one_was_changed() {
    let server = MockServer::start().await;
    let unchanged = ResponseTemplate::new(304);
    Mock::given(wiremock::matchers::header_exists("if-modified-since"))
        .respond_with(unchanged)
        .mount(&server)
        .await;
    let at = "2026-03-01T10:00:00Z".parse().unwrap();
    let client = client(&server.uri());
    let described = client.describe_global_if_modified_since(at).await;
    assert!(described.unwrap().is_none());
}

#[cfg(feature = "gzip")]
/// `{"DailyApiRequests": {"Max": 15000, "Remaining": 14998}}`
const LIMITS: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 171, 86, 114, 73, 204, 204, 169, 116, 44, 200, 12, 74, 45,
    44, 77, 45, 46, 41, 86, 178, 82, 168, 86, 242, 77, 172, 0, 210, 134, 166, 6, 6, 6, 58, 10, 74,
    65, 169, 185, 137, 153, 121, 153, 121, 233, 32, 49, 19, 75, 75, 139, 218, 90, 0, 150, 17, 79,
    15, 56, 0, 0, 0,
];

#[cfg(feature = "gzip")]
#[tokio::test]
async fn answers_come_compressed_and_files_as_they_are() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200)
        .insert_header("content-encoding", "gzip")
        .insert_header("content-type", "application/json")
        .set_body_bytes(LIMITS);
    Mock::given(any())
        .respond_with(answer)
        .up_to_n_times(1)
        .mount(&server)
        .await;
    let file = ResponseTemplate::new(200).set_body_bytes(LIMITS);
    Mock::given(any()).respond_with(file).mount(&server).await;
    let client = client(&server.uri());
    let limits = client.limits().await.unwrap();
    assert_eq!(limits.get("DailyApiRequests").unwrap().remaining, 14_998);
    let download = client
        .files()
        .download(&id("0685500000KQ12X"))
        .await
        .unwrap();
    assert_eq!(download.size(), Some(LIMITS.len() as u64));
    assert_eq!(download.bytes(1000).await.unwrap(), LIMITS);
    let sent = server.received_requests().await.unwrap();
    let accepts = |place: usize| sent[place].headers["accept-encoding"].to_str().unwrap();
    assert_eq!((accepts(0), accepts(1)), ("gzip", "identity"));
}

#[test]
fn a_login_is_finished_by_another_process() {
    let app = OAuthApp::builder("key").build().unwrap();
    let login = app
        .authorize("https://app.example/callback")
        .begin()
        .unwrap();
    let kept = login.to_secret();
    let again = PendingLogin::from_secret(&kept).unwrap();
    assert_eq!(again.url(), login.url());
    assert_eq!(again.redirect_uri(), login.redirect_uri());
    let state = url::Url::parse(login.url()).unwrap();
    let state = state
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1;
    again.callback(&format!("code=c&state={state}")).unwrap();
    assert!(!format!("{again:?}").contains(&*state));
    let error = PendingLogin::from_secret(&SecretString::from("hidden")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hidden"));
    assert!(!kept.expose_secret().is_empty());
}

#[tokio::test]
async fn what_stands_in_a_log_is_short_plain_and_finds_the_request() {
    let server = MockServer::start().await;
    let wild = format!("line\nbreak {}", "x".repeat(60_000));
    let answer = ResponseTemplate::new(400)
        .insert_header("x-sfdc-request-id", "abc-123")
        .set_body_json(json!({ "error": wild, "error_description": "the org's data" }));
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let error = client(&server.uri())
        .request(Method::GET, "/x")
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.request_id(), Some("abc-123"));
    assert_eq!(
        error.to_string(),
        "request failed: 400 UNKNOWN (request abc-123)"
    );
    assert!(!format!("{error:?}").contains("the org's data"));
    assert!(error.has_code(ErrorCode::new("UNKNOWN")));
    assert_eq!(ErrorCode::from("A_CODE_OF_2027").as_str(), "A_CODE_OF_2027");
}

/// Gives one token, and then none.
#[derive(Debug)]
struct Once(String, AtomicU32);

#[async_trait]
impl TokenSource for Once {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> salesforce_client::Result<AccessToken> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            0 => AccessToken::new("t1".into(), &self.0, None),
            _ => Err(Error::no_token("the login host is down")),
        }
    }
}

fn content() -> stream::Iter<std::array::IntoIter<std::io::Result<Bytes>, 1>> {
    stream::iter([Ok(Bytes::from_static(b"abc"))])
}

#[tokio::test]
async fn a_doubt_about_an_upload_outlives_the_loss_of_the_session() {
    let server = BrokenServer::start(vec![
        Act::LoseAnswer,
        Act::Answer(401, errors("INVALID_SESSION_ID", "expired").to_string()),
    ])
    .await;
    let client = SalesforceClient::builder(Once(server.url.clone(), AtomicU32::new(0)))
        .login_url(&server.url)
        .retry(quick())
        .build()
        .unwrap();
    let key = Strategy::Idempotent(IdempotencyKey::of(&["a"]));
    let upload = client.files().upload("a.txt").strategy(key);
    let open = || async { Ok::<_, std::io::Error>(content()) };
    let error = upload.send_with(open, 3).await.unwrap_err();
    assert!(error.may_have_happened(), "{error:?}");
    assert_eq!(error.attempts(), 2);
}

#[tokio::test]
async fn a_content_is_opened_again_where_its_failure_is_worth_it() {
    let (org, _) = org::start().await;
    let client = builder_of(&org).build().unwrap();
    for (is_worth_it, opened) in [(true, 2), (false, 1)] {
        let times = Arc::new(AtomicU32::new(0));
        let open = || {
            let first = times.fetch_add(1, Ordering::SeqCst) == 0;
            let broken = || Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            let rest = match first {
                true => broken(),
                false => Ok(Bytes::from_static(b"c")),
            };
            let pieces = [Ok(Bytes::from_static(b"ab")), rest];
            async move { Ok::<_, std::io::Error>(stream::iter(pieces)) }
        };
        let upload = client.files().upload("a.txt").reopen_if(move |cause| {
            let reset = std::io::ErrorKind::ConnectionReset;
            let cause = cause.downcast_ref::<std::io::Error>();
            is_worth_it && cause.is_some_and(|cause| cause.kind() == reset)
        });
        let sent = upload.send_with(open, 3).await;
        assert_eq!(sent.is_ok(), is_worth_it, "{sent:?}");
        assert_eq!(times.load(Ordering::SeqCst), opened);
    }
}

#[tokio::test]
async fn a_refusal_under_a_key_tells_that_the_key_may_be_spent() {
    let refusal = errors("INVALID_INPUT", "no").to_string();
    let server = BrokenServer::start(vec![Act::Answer(400, refusal)]).await;
    let client = builder(&server.url).build().unwrap();
    let key = IdempotencyKey::of(&["a"]);
    let upload = client
        .files()
        .upload("a.txt")
        .strategy(Strategy::Idempotent(key));
    let error = upload.send(content(), 3).await.unwrap_err();
    assert!(error.to_string().contains("attempt(1)"), "{error}");
}

#[tokio::test]
async fn an_account_is_changed_only_as_it_was_seen() {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::header("if-match", "\"e1\""))
        .respond_with(ResponseTemplate::new(412))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let accounts = client.sobject("Account");
    let fields = json!({ "Name": "Acme" });
    let update = accounts.update(&id("0015500000KQ12X"), &fields);
    let error = update.if_match("\"e1\"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}
