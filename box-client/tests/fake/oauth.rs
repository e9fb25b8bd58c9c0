use std::time::Duration;

use box_client::testing::FakeBox;
use serde_json::json;

use crate::support::{Got, Session, send};

const CLIENT: [(&str, &str); 2] = [
    ("client_id", FakeBox::CLIENT_ID),
    ("client_secret", FakeBox::CLIENT_SECRET),
];

async fn token(session: &Session, pairs: &[(&str, &str)]) -> Got {
    session.form("token", &[&CLIENT[..], pairs].concat()).await
}

async fn refresh(session: &Session, token_text: &str) -> Got {
    token(
        session,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", token_text),
        ],
    )
    .await
}

async fn me(session: &Session, access: &str) -> Got {
    let url = format!("{}/2.0/users/me", session.fake.url());
    send(session.http.get(url).bearer_auth(access)).await
}

#[track_caller]
fn refused(got: &Got, error: &str, description: &str) {
    assert_eq!(got.status, 400, "{got:?}");
    assert_eq!(
        got.json(),
        json!({ "error": error, "error_description": description })
    );
}

#[tokio::test]
async fn a_refresh_token_is_spent_by_its_use() {
    let session = Session::start().await;
    let first = session.fake.issue_refresh_token();
    let got = refresh(&session, &first).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.json()["expires_in"], 3600);
    assert_eq!(got.json()["token_type"], "bearer");
    refused(
        &refresh(&session, &first).await,
        "invalid_grant",
        "Invalid refresh token",
    );
    let second = got.text("/refresh_token");
    assert_ne!(first, second);
    assert_eq!(refresh(&session, &second).await.status, 200);
    refused(
        &refresh(&session, "never issued").await,
        "invalid_grant",
        "Invalid refresh token",
    );
}

#[tokio::test]
async fn with_grace_a_lost_answer_can_be_had_again_until_the_new_token_is_used() {
    let session = Session::with(FakeBox::builder().refresh_grace(true)).await;
    let first = session.fake.issue_refresh_token();
    let lost = refresh(&session, &first).await;
    let again = refresh(&session, &first).await;
    assert_eq!(again.status, 200);
    assert_eq!(lost.text("/access_token"), again.text("/access_token"));
    assert_eq!(lost.text("/refresh_token"), again.text("/refresh_token"));
    assert_eq!(me(&session, &again.text("/access_token")).await.status, 200);
    refused(
        &refresh(&session, &first).await,
        "invalid_grant",
        "Invalid refresh token",
    );
}

#[tokio::test]
async fn using_the_new_access_token_ends_the_old_one() {
    let session = Session::start().await;
    let start = refresh(&session, &session.fake.issue_refresh_token()).await;
    let old = start.text("/access_token");
    let next = refresh(&session, &start.text("/refresh_token"))
        .await
        .text("/access_token");
    assert_eq!(me(&session, &old).await.status, 200);
    assert_eq!(me(&session, &next).await.status, 200);
    assert_eq!(me(&session, &old).await.status, 401);
}

#[tokio::test]
async fn an_expired_or_unknown_token_is_challenged_with_an_empty_body() {
    let session = Session::with(FakeBox::builder().token_lifetime(Duration::ZERO)).await;
    for token in [session.token.as_str(), "unknown"] {
        let got = me(&session, token).await;
        assert_eq!((got.status, got.body.len()), (401, 0));
        let challenge = got.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm=\"Service\", error=\"invalid_token\""));
    }
    let none = send(
        session
            .http
            .get(format!("{}/2.0/users/me", session.fake.url())),
    )
    .await;
    assert_eq!(none.status, 401);
}

#[tokio::test]
async fn the_lifetime_is_told_and_kept() {
    let session = Session::with(FakeBox::builder().token_lifetime(Duration::from_secs(4123))).await;
    let got = refresh(&session, &session.fake.issue_refresh_token()).await;
    assert_eq!(got.json()["expires_in"], 4123);
}

#[tokio::test]
async fn client_credentials_are_for_the_enterprise_or_a_user() {
    let session = Session::with(FakeBox::builder().enterprise_id("99")).await;
    let user = session.fake.create_user("Ann", "ann@example.com");
    for (kind, id, login) in [
        (
            "enterprise",
            "99",
            "AutomationUser_1_fake@boxdevedition.com",
        ),
        ("user", user.as_str(), "ann@example.com"),
    ] {
        let pairs = [
            ("grant_type", "client_credentials"),
            ("box_subject_type", kind),
            ("box_subject_id", id),
        ];
        let got = token(&session, &pairs).await;
        assert_eq!(got.status, 200);
        assert!(got.json().get("refresh_token").is_none());
        assert_eq!(
            me(&session, &got.text("/access_token"))
                .await
                .text("/login"),
            login
        );
    }
    for (kind, id) in [
        ("enterprise", "98"),
        ("user", "1"),
        ("group", "99"),
        ("", ""),
    ] {
        let pairs = [
            ("grant_type", "client_credentials"),
            ("box_subject_type", kind),
            ("box_subject_id", id),
        ];
        let got = token(&session, &pairs).await;
        refused(&got, "invalid_grant", "Grant credentials are invalid");
    }
}

#[tokio::test]
async fn grants_are_refused_with_the_errors_of_the_reference() {
    let session = Session::start().await;
    let refresh_token = session.fake.issue_refresh_token();
    let wrong = [
        ("client_id", FakeBox::CLIENT_ID),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    refused(
        &session.form("token", &wrong).await,
        "invalid_client",
        "The client credentials are invalid",
    );
    // Nothing was spent by that.
    assert_eq!(refresh(&session, &refresh_token).await.status, 200);

    let jwt = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "x"),
    ];
    let message = "This app is not authorized by the enterprise admin";
    refused(&token(&session, &jwt).await, "unauthorized_client", message);
    let malformed = "Invalid grant_type parameter or parameter missing";
    refused(
        &token(&session, &[("grant_type", "x")]).await,
        "invalid_request",
        malformed,
    );
    let as_json = json!({ "grant_type": "refresh_token", "refresh_token": "x" });
    refused(
        &session.post("oauth2/token", as_json).await,
        "invalid_request",
        malformed,
    );
}

#[tokio::test]
async fn an_authorization_code_works_once() {
    let session = Session::start().await;
    let code = session.fake.issue_code();
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
    ];
    let got = token(&session, &pairs).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        refresh(&session, &got.text("/refresh_token")).await.status,
        200
    );
    assert_eq!(
        token(&session, &pairs).await.json()["error"],
        "invalid_grant"
    );
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_application() {
    let builder = FakeBox::builder().client("one", "s1").client("two", "s2");
    let session = Session::with(builder).await;
    let refresh_token = session.fake.issue_refresh_token();
    for (id, secret, status) in [("two", "s2", 400), ("one", "s1", 200)] {
        let pairs = [
            ("client_id", id),
            ("client_secret", secret),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.as_str()),
        ];
        assert_eq!(session.form("token", &pairs).await.status, status, "{id}");
    }
}

#[tokio::test]
async fn revoking_either_token_ends_both() {
    for revoked in ["/access_token", "/refresh_token"] {
        let session = Session::start().await;
        let grant = refresh(&session, &session.fake.issue_refresh_token()).await;
        let access = grant.text("/access_token");
        assert_eq!(me(&session, &access).await.status, 200);
        let token = grant.text(revoked);
        let pairs = [&CLIENT[..], &[("token", token.as_str())]].concat();
        let got = session.form("revoke", &pairs).await;
        assert_eq!((got.status, got.body.len()), (200, 0));
        assert_eq!(me(&session, &access).await.status, 401);
        assert_eq!(
            refresh(&session, &grant.text("/refresh_token"))
                .await
                .status,
            400
        );
    }
}

#[tokio::test]
async fn as_user_acts_as_that_user() {
    let session = Session::start().await;
    let ann = session.fake.create_user("Ann", "ann@example.com");
    let got = send(
        session
            .request("GET", "2.0/users/me")
            .header("as-user", &ann),
    )
    .await;
    assert_eq!(got.text("/login"), "ann@example.com");
    let got = send(
        session
            .request("GET", "2.0/users/me")
            .header("as-user", "1"),
    )
    .await;
    got.refused(403, "access_denied_insufficient_permissions");
}

#[tokio::test]
async fn secrets_are_in_no_debug_output() {
    let builder = FakeBox::builder()
        .client("app", "hidden-client-secret")
        .signature_keys("hidden-primary", "hidden-secondary");
    let shown = format!("{builder:?}");
    let session = Session::with(builder).await;
    let refresh_token = session.fake.issue_refresh_token();
    refresh(&session, &refresh_token).await;
    me(&session, &session.token).await;
    let shown = format!("{shown}{:?}{:?}", session.fake, session.fake.requests());
    for secret in ["hidden", refresh_token.as_str(), session.token.as_str()] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
