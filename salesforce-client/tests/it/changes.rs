//! What changed in an org.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{ChangeCursor, ChangePage, ErrorCode, testing::FakeSalesforce};
use serde_json::json;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path, query_param},
};

use crate::{
    org::{self, create},
    support::{DATA, client, errors},
};

fn ago(minutes: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(minutes)
}

fn account(org: &FakeSalesforce, minutes_ago: i64) -> String {
    let at = ago(minutes_ago).to_string();
    let id = create(org, "Account", json!({ "Name": "a", "SystemModstamp": at }));
    id.as_str().to_owned()
}

#[tokio::test]
async fn changes_come_window_by_window_and_go_on_from_a_kept_cursor() {
    let (org, client) = org::start().await;
    let older = account(&org, 150);
    let newer = account(&org, 30);
    let accounts = client.sobject("Account");
    let follow = |cursor| {
        let changes = accounts.changes(cursor).window(Duration::from_secs(3600));
        changes.until_now().stream()
    };
    let pages: Vec<ChangePage> = follow(ChangeCursor::starting_at(ago(180)))
        .try_collect()
        .await
        .unwrap();
    // A minute that begins meanwhile has a window of its own.
    assert!(pages.len() >= 3);
    let ids = |pages: &[ChangePage]| -> Vec<String> {
        let ids = pages.iter().flat_map(|page| &page.updated);
        ids.map(|id| id.as_str().to_owned()).collect()
    };
    assert_eq!(ids(&pages), [older, newer.clone()]);
    let kept = serde_json::to_string(&pages[1].cursor).unwrap();
    let cursor: ChangeCursor = serde_json::from_str(&kept).unwrap();
    let rest: Vec<ChangePage> = follow(cursor).try_collect().await.unwrap();
    assert_eq!(ids(&rest), [newer]);
}

#[tokio::test]
async fn deletions_are_told_and_what_is_too_old_is_said() {
    let (org, client) = org::start().await;
    let gone = account(&org, 5);
    org.delete(&gone).unwrap();
    let accounts = client.sobject("Account");
    let soon = Timestamp::now() + SignedDuration::from_mins(2);
    let told = accounts.deleted(ago(10), soon).await.unwrap();
    assert_eq!(told.deleted_records[0].id.as_str(), gone);
    assert!(told.latest_date_covered <= soon);
    let old = ChangeCursor::starting_at(ago(31 * 24 * 60));
    let changes = accounts.changes(old).without_deletions().stream();
    let error = changes.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(
        error
            .api()
            .unwrap()
            .has(&ErrorCode::INVALID_REPLICATION_DATE)
    );
}

#[tokio::test]
async fn the_next_window_begins_where_salesforce_is_sure_and_not_where_the_last_one_ended() {
    let server = MockServer::start().await;
    let sure = ago(50).strftime("%Y-%m-%dT%H:%M:00.000+0000").to_string();
    let body = json!({ "ids": ["001000000000001"], "latestDateCovered": sure });
    Mock::given(method("GET"))
        .and(path(format!("{DATA}/sobjects/Account/updated")))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    let client = client(&server.uri());
    let changes = client
        .sobject("Account")
        .changes(ChangeCursor::starting_at(ago(60)));
    let mut pages = Box::pin(changes.without_deletions().until_now().stream());
    let page = pages.try_next().await.unwrap().unwrap();
    assert_eq!(page.cursor.updated, sure.parse::<Timestamp>().unwrap());
    // The same again brings nothing further, so that is the end and no loop.
    assert_eq!(pages.try_next().await.unwrap(), None);
    let asked = server.received_requests().await.unwrap();
    let start = |request: &Request| {
        let mut pairs = request.url.query_pairs();
        pairs
            .find(|(name, _)| name == "start")
            .unwrap()
            .1
            .into_owned()
    };
    assert_eq!(
        start(&asked[1]).parse::<Timestamp>().unwrap(),
        page.cursor.updated
    );
}

#[tokio::test]
async fn a_window_with_too_many_ids_is_made_smaller() {
    let server = MockServer::start().await;
    let resource = || path(format!("{DATA}/sobjects/Account/updated"));
    let start = ago(64);
    let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let half = start + SignedDuration::from_mins(32);
    let body = json!({ "ids": [], "latestDateCovered": text(half) });
    Mock::given(resource())
        .and(query_param("end", text(half)))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    Mock::given(resource())
        .respond_with(ResponseTemplate::new(400).set_body_json(errors("EXCEEDED_ID_LIMIT", "")))
        .mount(&server)
        .await;
    let changes = client(&server.uri())
        .sobject("Account")
        .changes(ChangeCursor::starting_at(start));
    let changes = changes
        .window(Duration::from_secs(64 * 60))
        .without_deletions();
    let page = Box::pin(changes.stream())
        .try_next()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text(page.cursor.updated), text(half));
}

#[cfg(feature = "outbound")]
mod outbound {
    use salesforce_client::{OUTBOUND_ACK, OutboundReader, RecordId};
    use wiremock::matchers::any;

    use super::*;

    #[tokio::test]
    async fn a_delivered_message_is_read_and_only_the_acknowledgement_counts() {
        let (org, _) = org::start().await;
        let ids = ["Acme & <Sons>", "b"].map(|name| {
            let fields = json!({ "Name": name });
            create(&org, "Account", fields).as_str().to_owned()
        });
        let action = "04kxx0000000001AAA";
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let message = org
            .outbound_message(action, &ids, &["Name", "Phone"])
            .unwrap();
        for (answer, acknowledged) in [(OUTBOUND_ACK, true), ("", false)] {
            let server = MockServer::start().await;
            let reply = ResponseTemplate::new(200).set_body_raw(answer, "text/xml");
            Mock::given(any()).respond_with(reply).mount(&server).await;
            let delivered = org.deliver(&server.uri(), &message).await.unwrap();
            assert_eq!(delivered.acknowledged, acknowledged);
            let got = server.received_requests().await.unwrap();
            let reader = OutboundReader::new(&RecordId::new(org.org_id()).unwrap());
            let reader = reader.action(&RecordId::new(action).unwrap());
            let read = reader.read(&got[0].body).unwrap();
            assert_eq!(read.notifications.len(), 2);
            assert_eq!(read.notifications[0].field("Name"), Some("Acme & <Sons>"));
            assert_eq!(read.notifications[0].record_id().unwrap().as_str(), ids[0]);
        }
    }
}
