use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Answer, Session, refused, send};

/// A call that steers the fake, without a token.
async fn control(session: &Session, method: &str, path: &str, body: Value) -> Answer {
    let method = method.parse().unwrap();
    let request = session
        .http
        .request(method, session.url(&format!("/_fake/{path}")));
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    send(request).await
}

#[tokio::test]
async fn tokens_can_be_had_and_ended() {
    let session = Session::with(FakeSalesforce::builder().client("app", "secret")).await;
    let body = control(&session, "POST", "tokens", Value::Null)
        .await
        .json();
    let access = body["access_token"].as_str().unwrap();
    let ask = || session.http.get(session.url("limits")).bearer_auth(access);
    assert_eq!(send(ask()).await.status, 200);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("client_secret", "secret"),
        ("refresh_token", body["refresh_token"].as_str().unwrap()),
    ];
    let token = session
        .http
        .post(session.url("/services/oauth2/token"))
        .form(&form);
    assert_eq!(send(token).await.status, 200);
    assert_eq!(
        control(&session, "DELETE", "tokens", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        send(ask()).await.error(),
        refused(401, "INVALID_SESSION_ID")
    );
}

#[tokio::test]
async fn records_come_and_go_as_by_a_person() {
    let session = Session::start().await;
    let created = control(&session, "POST", "records/Account", json!({ "Name": "x" })).await;
    assert_eq!(created.status, 201);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let path = format!("records/{id}");
    assert_eq!(
        control(&session, "PATCH", &path, json!({ "Name": "y" }))
            .await
            .status,
        204
    );
    let record = session.get(&format!("sobjects/Account/{id}")).await.json();
    assert_eq!(
        (&record["Name"], &record["OwnerId"]),
        (&json!("y"), &json!(session.fake.other_user()))
    );
    assert_eq!(
        control(&session, "DELETE", &path, Value::Null).await.status,
        204
    );
    assert_eq!(session.fake.record(&id), None);
    let missing = control(&session, "POST", "records/Account", json!({})).await;
    assert_eq!(missing.error(), refused(400, "REQUIRED_FIELD_MISSING"));
    let file = json!({ "PathOnClient": "a.txt", "VersionData": "eA==" });
    let file = control(&session, "POST", "records/ContentVersion", file).await;
    let file = file.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(session.fake.bytes(&file).unwrap(), "x");
}

#[tokio::test]
async fn the_state_is_all_there_is_without_the_bytes() {
    let session = Session::start().await;
    let deal = session.opportunity();
    let fields = json!({ "PathOnClient": "a.txt", "FirstPublishLocationId": deal });
    let version = session.upload(fields, b"content").await.id();
    let state = control(&session, "GET", "state", Value::Null).await.json();
    assert_eq!(state["records"]["Opportunity"][0]["Id"], json!(deal));
    assert_eq!(state["records"]["Contact"], json!([]));
    let file = &state["files"][0];
    assert_eq!(file["versions"][0]["id"], json!(version));
    assert_eq!(
        (&file["versions"][0]["size"], &file["links"][1]["record"]),
        (&json!(7), &json!(deal))
    );
    assert_eq!(state["api_calls"], 1);
}

#[tokio::test]
async fn custom_fields_can_be_added_to_a_running_org() {
    let session = Session::start().await;
    let field = json!({ "name": "Key__c", "type": "string", "length": 3, "unique": true });
    assert_eq!(
        control(&session, "POST", "custom_fields/Activity", field.clone())
            .await
            .status,
        204
    );
    let task = |key: &str| json!({ "Key__c": key });
    assert_eq!(
        session.create("Task", task("abcd")).await.error(),
        refused(400, "STRING_TOO_LONG")
    );
    assert_eq!(session.create("Task", task("abc")).await.status, 201);
    assert_eq!(
        session.create("Task", task("abc")).await.error(),
        refused(400, "DUPLICATE_VALUE")
    );
    assert_eq!(
        control(&session, "POST", "custom_fields/Activity", field)
            .await
            .status,
        400
    );
    let wrong = json!({ "name": "Key" });
    assert_eq!(
        control(&session, "POST", "custom_fields/Account", wrong)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn faults_come_one_by_one_or_in_a_list() {
    let session = Session::start().await;
    let one = json!({ "path": "*/limits", "effect": { "do": "unavailable" } });
    let limit = json!({ "method": "GET", "path": "*/limits", "times": 1, "effect": { "do": "daily_limit" } });
    assert_eq!(
        control(&session, "POST", "faults", one.clone())
            .await
            .status,
        204
    );
    assert_eq!(
        control(&session, "POST", "faults", json!([limit, one]))
            .await
            .status,
        204
    );
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(session.get("limits").await.status);
    }
    assert_eq!(statuses, [503, 403]);
    assert_eq!(
        control(&session, "DELETE", "faults", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(session.get("limits").await.status, 200);
    let wrong = json!({ "path": "*", "effect": { "do": "nonsense" } });
    assert_eq!(control(&session, "POST", "faults", wrong).await.status, 400);
}

#[tokio::test]
async fn requests_are_recorded_without_their_tokens() {
    let session = Session::start().await;
    let request = session
        .request("POST", "sobjects/Task?a=b%20c")
        .header("x-mark", "m");
    send(request.json(&json!({ "Subject": "x" }))).await;
    control(&session, "GET", "state", Value::Null).await;
    let body = control(&session, "GET", "requests", Value::Null).await;
    assert!(!String::from_utf8_lossy(&body.body).contains(&session.token));
    let [seen] = &session.fake.requests()[..] else {
        panic!("not one request");
    };
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/services/data/v58.0/sobjects/Task")
    );
    assert_eq!(seen.query, [("a".to_owned(), "b c".to_owned())]);
    assert_eq!(
        (seen.header("Authorization"), seen.header("X-Mark")),
        (Some("Bearer"), Some("m"))
    );
    assert_eq!(
        (seen.body.as_str(), seen.content_length, seen.status),
        (r#"{"Subject":"x"}"#, 15, Some(201))
    );
    assert_eq!(body.json()[0]["body"], r#"{"Subject":"x"}"#);
    assert_eq!(
        control(&session, "DELETE", "requests", Value::Null)
            .await
            .status,
        204
    );
    assert!(session.fake.requests().is_empty());
}

#[tokio::test]
async fn the_calls_of_the_day_can_be_set() {
    let session = Session::start().await;
    let limits = async || send(session.request("GET", "limits")).await;
    control(
        &session,
        "PUT",
        "api_calls",
        json!({ "used": 9, "allowed": 10 }),
    )
    .await;
    let told = limits().await;
    assert_eq!(told.header("sforce-limit-info"), Some("api-usage=10/10"));
    assert_eq!(limits().await.status, 403);
    control(&session, "PUT", "api_calls", json!({ "used": 0 })).await;
    let told = limits().await;
    assert_eq!(told.header("sforce-limit-info"), Some("api-usage=1/10"));
}

#[tokio::test]
async fn what_is_no_control_call_is_refused() {
    let session = Session::start().await;
    assert_eq!(
        control(&session, "GET", "nonsense", Value::Null)
            .await
            .status,
        404
    );
    let broken = session.http.post(session.url("/_fake/faults")).body("{");
    assert_eq!(send(broken).await.status, 400);
}

#[tokio::test]
async fn a_stopped_fake_is_gone_and_so_is_one_without_handles() {
    for dropped in [false, true] {
        let Session { fake, http, .. } = Session::start().await;
        let url = format!("{}/services/data", fake.url());
        assert_eq!(send(http.get(&url)).await.status, 200);
        let other = fake.clone();
        drop(fake);
        assert_eq!(send(http.get(&url)).await.status, 200, "a clone holds it");
        if !dropped {
            other.stop();
        }
        drop(other);
        let gone = async {
            while http.get(&url).send().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(std::time::Duration::from_secs(120), gone).await;
        assert!(in_time.is_ok(), "dropped: {dropped}");
    }
}
