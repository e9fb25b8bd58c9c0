use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Session, refused, send};

#[tokio::test]
async fn every_call_is_counted_and_told() {
    let session = Session::with(FakeSalesforce::builder().daily_limit(100)).await;
    for (number, path) in [
        "limits",
        "sobjects",
        "sobjects/Account/describe",
        "nonsense",
    ]
    .iter()
    .enumerate()
    {
        let answer = session.get(path).await;
        let usage = format!("api-usage={}/100", number + 1);
        assert_eq!(
            answer.header("sforce-limit-info"),
            Some(usage.as_str()),
            "{path}"
        );
    }
    assert_eq!(session.fake.calls(), 4);
    let limits = session.get("limits").await.json();
    assert_eq!(
        limits["DailyApiRequests"],
        json!({ "Max": 100, "Remaining": 95 })
    );
}

#[tokio::test]
async fn over_the_daily_limit_nothing_is_done() {
    let session = Session::with(FakeSalesforce::builder().daily_limit(1)).await;
    assert_eq!(
        session
            .create("Account", json!({ "Name": "x" }))
            .await
            .status,
        201
    );
    for _ in 0..2 {
        let answer = session.create("Account", json!({ "Name": "y" })).await;
        assert_eq!(
            (answer.status, answer.json()),
            (
                403,
                json!([{
                    "message": "TotalRequests Limit exceeded.",
                    "errorCode": "REQUEST_LIMIT_EXCEEDED",
                }])
            )
        );
        assert_eq!(answer.header("sforce-limit-info"), Some("api-usage=1/1"));
    }
    assert_eq!(session.fake.records("Account").len(), 1);
}

#[tokio::test]
async fn the_list_of_versions_is_for_everybody_and_free() {
    let session = Session::start().await;
    let answer = send(session.http.get(session.url("/services/data"))).await;
    let versions = answer.json();
    let versions = versions.as_array().unwrap();
    assert_eq!(versions.len(), 37);
    assert_eq!(
        versions[36],
        json!({ "label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0" })
    );
    assert_eq!(versions[0]["version"], "31.0");
    assert_eq!(answer.header("sforce-limit-info"), None);
    assert_eq!(session.fake.calls(), 0);
}

#[tokio::test]
async fn a_version_is_retired_or_unknown_or_served() {
    let session = Session::with(FakeSalesforce::builder().versions([50, 58])).await;
    for (version, status) in [
        ("v49.0", 410),
        ("v50.0", 200),
        ("v58.0", 200),
        ("v59.0", 404),
        ("58", 404),
        ("v58", 404),
    ] {
        let answer = session
            .get(&format!("/services/data/{version}/limits"))
            .await;
        assert_eq!(answer.status, status, "{version}");
    }
    let gone = session.get("/services/data/v30.0/limits").await;
    assert_eq!(gone.error(), refused(410, "GONE"));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let session = Session::start().await;
    let long = "x".repeat(16_384);
    let uri = session.get(&format!("query?q={long}")).await;
    assert_eq!(uri.status, 414);
    let headers = send(session.request("GET", "limits").header("x-long", &long)).await;
    assert_eq!(headers.status, 431);
    let both = session.request("GET", &format!("query?q={}", &long[..9000]));
    assert_eq!(send(both.header("x-long", &long[..9000])).await.status, 431);
}

#[tokio::test]
async fn counts_leave_out_what_has_no_records() {
    let session = Session::start().await;
    session.account("x");
    let body = session
        .get("limits/recordCount?sObjects=Account,Contact")
        .await
        .json();
    assert_eq!(
        body,
        json!({ "sObjects": [{ "count": 1, "name": "Account" }] })
    );
    let resources = session.get("").await.json();
    assert_eq!(resources["query"], "/services/data/v58.0/query");
    assert_eq!(resources["connect"], Value::Null);
}
