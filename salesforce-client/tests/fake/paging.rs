use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Session, refused, send};

async fn many(session: &Session, count: usize) {
    for number in 0..count {
        session.account(&format!("{number:04}"));
    }
}

fn names(page: &Value) -> Vec<String> {
    let records = page["records"].as_array().unwrap().iter();
    records
        .map(|record| record["Name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_follow_one_another_until_done() {
    let session = Session::with(FakeSalesforce::builder().page_size(2)).await;
    many(&session, 5).await;
    let mut page = session
        .query("SELECT Name FROM Account ORDER BY Name DESC")
        .await
        .json();
    let mut all = Vec::new();
    loop {
        assert_eq!(page["totalSize"], 5);
        all.push(names(&page));
        let Some(next) = page["nextRecordsUrl"].as_str() else {
            break;
        };
        assert_eq!(page["done"], false);
        assert!(next.starts_with("/services/data/v58.0/query/01g"), "{next}");
        page = session.get(next).await.json();
    }
    assert_eq!(page["done"], true);
    assert_eq!(
        all,
        [vec!["0004", "0003"], vec!["0002", "0001"], vec!["0000"]]
    );
}

#[tokio::test]
async fn pages_show_what_there_was_when_the_query_was_made() {
    let session = Session::with(FakeSalesforce::builder().page_size(1)).await;
    many(&session, 2).await;
    let first = session.query("SELECT Name FROM Account").await.json();
    session.account("late");
    let next = first["nextRecordsUrl"].as_str().unwrap();
    for _ in 0..2 {
        let second = session.get(next).await.json();
        assert_eq!(
            (names(&second), &second["done"]),
            (vec!["0001".to_owned()], &json!(true))
        );
    }
}

#[tokio::test]
async fn the_wished_size_is_kept_between_200_and_2000() {
    let session = Session::start().await;
    many(&session, 2001).await;
    for (options, rows) in [
        (None, 2000),
        (Some("batchSize=10"), 200),
        (Some("batchSize=500"), 500),
        (Some("batchSize=9999"), 2000),
        (Some("nonsense"), 2000),
    ] {
        let mut request = session.request("GET", "query?q=SELECT+Id+FROM+Account");
        if let Some(options) = options {
            request = request.header("sforce-query-options", options);
        }
        let page = send(request).await.json();
        assert_eq!(
            page["records"].as_array().unwrap().len(),
            rows,
            "{options:?}"
        );
    }
}

#[tokio::test]
async fn a_locator_that_is_not_open_is_refused() {
    let session = Session::with(FakeSalesforce::builder().page_size(1)).await;
    many(&session, 3).await;
    let first = session.query("SELECT Id FROM Account").await.json();
    let locator = first["nextRecordsUrl"].as_str().unwrap().to_owned();
    let beyond = locator.replace("-1", "-3");
    for path in ["query/01g5g0000009999AAA-1", "query/x", beyond.as_str()] {
        assert_eq!(
            session.get(path).await.error(),
            refused(400, "INVALID_QUERY_LOCATOR"),
            "{path}"
        );
    }
    assert_eq!(session.get(&locator).await.status, 200);
    for _ in 0..10 {
        session.query("SELECT Id FROM Account").await;
    }
    let dropped = session.get(&locator).await;
    assert_eq!(
        dropped.error(),
        refused(400, "INVALID_QUERY_LOCATOR"),
        "ten are open at most"
    );
}
