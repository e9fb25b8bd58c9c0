use std::time::Duration;

use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Answer, Session, refused, send};

async fn session() -> Session {
    let builder = FakeSalesforce::builder()
        .client("app", "secret")
        .client("public", "");
    Session::with(builder).await
}

async fn call(session: &Session, endpoint: &str, form: &[(&str, &str)]) -> Answer {
    let url = session.url(&format!("/services/oauth2/{endpoint}"));
    send(session.http.post(url).form(form)).await
}

async fn token(session: &Session, form: &[(&str, &str)]) -> Answer {
    call(session, "token", form).await
}

fn assert_refused(answer: &Answer, error: &str, description: &str) {
    let body = json!({ "error": error, "error_description": description });
    assert_eq!((answer.status, answer.json()), (400, body));
    assert_eq!(answer.header("sforce-limit-info"), None);
}

/// Whether an access token opens the org.
async fn works(session: &Session, token: &Value) -> bool {
    let request = session
        .http
        .get(session.url("limits"))
        .bearer_auth(token.as_str().unwrap());
    let answer = send(request).await;
    if answer.status == 401 {
        assert_eq!(
            answer.json(),
            json!([{ "message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID" }])
        );
    }
    answer.status == 200
}

const APP: [(&str, &str); 2] = [("client_id", "app"), ("client_secret", "secret")];

fn refresh(token: &str) -> Vec<(&str, &str)> {
    let mut form = APP.to_vec();
    form.extend([("grant_type", "refresh_token"), ("refresh_token", token)]);
    form
}

#[tokio::test]
async fn a_refresh_token_gives_access_again_and_again() {
    let session = session().await;
    let spent = session.fake.issue_refresh_token();
    for _ in 0..2 {
        let body = token(&session, &refresh(&spent)).await.json();
        assert!(works(&session, &body["access_token"]).await);
        assert_eq!(body["instance_url"], session.fake.url());
        assert_eq!(body["token_type"], "Bearer");
        assert!(body["signature"].is_string() && body["issued_at"].is_string());
        let id = format!(
            "/id/{}/{}",
            session.fake.org_id(),
            session.fake.integration_user()
        );
        assert!(body["id"].as_str().unwrap().ends_with(&id));
        for absent in ["expires_in", "refresh_token"] {
            assert_eq!(body[absent], Value::Null, "{absent}");
        }
    }
}

#[tokio::test]
async fn a_rotated_refresh_token_is_good_once_and_its_second_use_ends_the_grant() {
    for forgives in [false, true] {
        let builder = FakeSalesforce::builder()
            .client("app", "secret")
            .rotate_refresh_tokens(true)
            .forgive_reuse(forgives);
        let session = Session::with(builder).await;
        let first = session.fake.issue_refresh_token();
        let other = session.fake.issue_refresh_token();
        let second = token(&session, &refresh(&first)).await.json();
        let second = second["refresh_token"].as_str().unwrap();
        let third = token(&session, &refresh(second)).await.json();
        let (access, third) = (&third["access_token"], &third["refresh_token"]);
        let (access, third) = (access.as_str().unwrap(), third.as_str().unwrap());
        let again = token(&session, &refresh(second)).await;
        assert_refused(&again, "invalid_grant", "expired access/refresh token");
        assert_eq!(session.fake.is_living(access), forgives);
        assert_eq!(session.fake.is_living(third), forgives);
        let next = token(&session, &refresh(third)).await.status;
        assert_eq!(next, if forgives { 200 } else { 400 });
        assert!(session.fake.is_living(&other), "another grant");
    }
}

#[tokio::test]
async fn a_refresh_token_of_one_app_is_none_of_another() {
    let builder = FakeSalesforce::builder()
        .client("app", "secret")
        .client("other", "secret")
        .rotate_refresh_tokens(true);
    let session = Session::with(builder).await;
    let issued = session.fake.issue_refresh_token();
    let own = token(&session, &refresh(&issued)).await.json();
    let own = own["refresh_token"].as_str().unwrap();
    let mut form = refresh(own);
    form[0] = ("client_id", "other");
    assert_refused(
        &token(&session, &form).await,
        "invalid_grant",
        "expired access/refresh token",
    );
}

#[tokio::test]
async fn client_credentials_come_in_the_form_or_as_basic() {
    let session = session().await;
    let mut form = APP.to_vec();
    form.push(("grant_type", "client_credentials"));
    let body = token(&session, &form).await.json();
    assert!(works(&session, &body["access_token"]).await);
    assert_eq!(body["refresh_token"], Value::Null);
    let request = session.http.post(session.url("/services/oauth2/token"));
    let request = request.basic_auth("app", Some("secret")).form(&form[2..]);
    assert!(works(&session, &send(request).await.json()["access_token"]).await);
}

#[tokio::test]
async fn a_token_call_that_the_org_would_refuse_is_refused() {
    let session = session().await;
    let issued = session.fake.issue_refresh_token();
    let grant = |kind, id, secret| {
        [
            ("grant_type", kind),
            ("client_id", id),
            ("client_secret", secret),
            ("refresh_token", issued.as_str()),
        ]
    };
    for (form, error, description) in [
        (
            grant("client_credentials", "nobody", "secret"),
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            grant("client_credentials", "app", "wrong"),
            "invalid_client",
            "invalid client credentials",
        ),
        (
            grant("client_credentials", "public", ""),
            "invalid_client",
            "invalid client credentials",
        ),
        (
            grant("refresh_token", "app", "wrong"),
            "invalid_client",
            "invalid client credentials",
        ),
        (
            grant("refresh_token", "nobody", "secret"),
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            grant("nonsense", "app", "secret"),
            "unsupported_grant_type",
            "grant type not supported",
        ),
    ] {
        assert_refused(&token(&session, &form).await, error, description);
    }
    let unknown = token(&session, &refresh("nonsense")).await;
    assert_refused(&unknown, "invalid_grant", "expired access/refresh token");
    let got = send(session.http.get(session.url("/services/oauth2/token"))).await;
    assert_refused(&got, "invalid_request", "must use HTTP POST");
    let public = token(&session, &grant("refresh_token", "public", "")).await;
    assert_eq!(public.status, 200, "an app without a secret needs none");
}

#[tokio::test]
async fn a_revoked_token_is_dead_with_all_that_came_from_it() {
    let session = session().await;
    let issued = session.fake.issue_refresh_token();
    let access = token(&session, &refresh(&issued)).await.json()["access_token"].clone();
    let other = json!(session.fake.issue_token());
    assert_eq!(
        call(&session, "revoke", &[("token", &issued)]).await.status,
        200
    );
    assert!(!works(&session, &access).await);
    assert!(works(&session, &other).await);
    let again = token(&session, &refresh(&issued)).await;
    assert_refused(&again, "invalid_grant", "expired access/refresh token");
    let revoked = call(&session, "revoke", &[("token", other.as_str().unwrap())]).await;
    assert_eq!((revoked.status, revoked.body.len()), (200, 0));
    assert!(!works(&session, &other).await);
    assert_eq!(
        call(&session, "revoke", &[("token", "nonsense")])
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn introspection_tells_life_from_death() {
    let session = session().await;
    let mut form = APP.to_vec();
    form.push(("token", &session.token));
    let body = call(&session, "introspect", &form).await.json();
    assert_eq!(
        (&body["active"], &body["client_id"]),
        (&json!(true), &json!("app"))
    );
    let life = body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap();
    assert!((7199..=7201).contains(&life), "{life}");
    form[2] = ("token", "nonsense");
    assert_eq!(
        call(&session, "introspect", &form).await.json(),
        json!({ "active": false })
    );
    let stranger = call(&session, "introspect", &[("token", &session.token)]).await;
    assert_refused(&stranger, "invalid_client_id", "client identifier invalid");
}

#[tokio::test]
async fn the_user_behind_a_token_is_told() {
    let session = session().await;
    let answer = session.get("/services/oauth2/userinfo").await;
    assert_eq!(answer.json()["user_id"], session.fake.integration_user());
    assert_eq!(answer.json()["organization_id"], session.fake.org_id());
    let url = session.url("/services/oauth2/userinfo");
    let stranger = send(session.http.get(url)).await;
    assert_eq!(
        (stranger.status, &stranger.body[..]),
        (403, &b"Bad_OAuth_Token"[..])
    );
}

#[tokio::test]
async fn without_a_living_session_nothing_is_answered_or_done() {
    let session = session().await;
    let url = session.url("sobjects/Account");
    let body = json!({ "Name": "x" });
    let no_header = session.http.post(&url).json(&body);
    let wrong = session.http.post(&url).json(&body).bearer_auth("nonsense");
    let scheme = session
        .http
        .post(&url)
        .json(&body)
        .basic_auth(&session.token, Some(""));
    for request in [no_header, wrong, scheme] {
        assert_eq!(
            send(request).await.error(),
            refused(401, "INVALID_SESSION_ID")
        );
    }
    session.fake.expire_sessions();
    let expired = session.post("sobjects/Account", body).await;
    assert_eq!(expired.error(), refused(401, "INVALID_SESSION_ID"));
    assert!(session.fake.records("Account").is_empty());
    assert_eq!(session.fake.calls(), 0);
}

#[tokio::test]
async fn a_session_dies_of_inactivity() {
    let builder = FakeSalesforce::builder().session_lifetime(Duration::ZERO);
    let session = Session::with(builder).await;
    assert_eq!(
        session.get("limits").await.error(),
        refused(401, "INVALID_SESSION_ID")
    );
}

#[tokio::test]
async fn the_instance_can_be_elsewhere() {
    let builder = FakeSalesforce::builder()
        .client("app", "secret")
        .org_id("00D5g00000AbCdE")
        .instance_url("http://127.0.0.1:9");
    let session = Session::with(builder).await;
    let body = token(&session, &refresh(&session.fake.issue_refresh_token()))
        .await
        .json();
    assert_eq!(body["instance_url"], "http://127.0.0.1:9");
    assert!(
        body["access_token"]
            .as_str()
            .unwrap()
            .starts_with("00D5g00000AbCdE!")
    );
}
