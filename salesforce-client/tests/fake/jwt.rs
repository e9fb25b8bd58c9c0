use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Answer, Session, send};

const USER: &str = "integration@example.com";

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn claims() -> Value {
    json!({ "iss": "app", "sub": USER, "aud": "https://login.salesforce.com", "exp": now() + 170 })
}

fn assertion(key: &KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(
        &RSA_PKCS1_SHA256,
        &random,
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn ask(session: &Session, assertion: &str) -> Answer {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", assertion),
    ];
    send(
        session
            .http
            .post(session.url("/services/oauth2/token"))
            .form(&form),
    )
    .await
}

async fn session(key: &KeyPair) -> Session {
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let builder = FakeSalesforce::builder()
        .jwt_user("app", USER, public.as_ref())
        .jwt_user("app", "other@example.com", key.public_key().as_ref());
    Session::with(builder).await
}

#[tokio::test]
async fn an_assertion_is_exchanged_for_a_session_of_its_user() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let session = session(&key).await;
    let rs256 = json!({ "alg": "RS256" });
    let own = session.fake.url().to_owned();
    for audience in [
        "https://login.salesforce.com",
        "https://test.salesforce.com",
        &own,
    ] {
        let mut claims = claims();
        claims["aud"] = json!(audience);
        let answer = ask(&session, &assertion(&key, &rs256, &claims)).await;
        assert_eq!(answer.status, 200, "{audience}: {:?}", answer.body);
        let body = answer.json();
        assert_eq!(
            (&body["refresh_token"], &body["expires_in"]),
            (&Value::Null, &Value::Null)
        );
        assert!(
            body["id"]
                .as_str()
                .unwrap()
                .ends_with(session.fake.integration_user())
        );
    }
    let mut claims = claims();
    claims["sub"] = json!("other@example.com");
    claims["exp"] = json!((now() + 170).to_string());
    let body = ask(&session, &assertion(&key, &rs256, &claims))
        .await
        .json();
    let token = body["access_token"].as_str().unwrap();
    let request = session
        .http
        .post(session.url("sobjects/Account"))
        .bearer_auth(token);
    let id = send(request.json(&json!({ "Name": "x" }))).await.id();
    let owner = session.fake.record(&id).unwrap()["OwnerId"].clone();
    assert_ne!(owner, session.fake.integration_user());
    let username = session.fake.record(owner.as_str().unwrap()).unwrap()["Username"].clone();
    assert_eq!(username, "other@example.com");
}

#[tokio::test]
async fn an_assertion_that_the_org_would_refuse_is_refused() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let stranger = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let session = session(&key).await;
    let rs256 = json!({ "alg": "RS256" });
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        assertion(&key, &rs256, &claims)
    };
    let valid = assertion(&key, &rs256, &claims());
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let mut forged = claims();
    forged["sub"] = json!("admin@example.com");
    let forged = assertion(&stranger, &rs256, &forged);
    for (assertion, error, description) in [
        (
            with("iss", json!("nobody")),
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            with("sub", json!("nobody@example.com")),
            "invalid_grant",
            "user hasn't approved this consumer",
        ),
        (
            with("aud", json!("https://example.com")),
            "invalid_grant",
            "audience is invalid",
        ),
        (
            with("exp", json!(now() - 1)),
            "invalid_grant",
            "invalid assertion",
        ),
        (
            with("exp", json!(now() + 400)),
            "invalid_grant",
            "invalid assertion",
        ),
        (
            with("exp", Value::Null),
            "invalid_grant",
            "invalid assertion",
        ),
        (
            assertion(&stranger, &rs256, &claims()),
            "invalid_grant",
            "invalid assertion",
        ),
        (forged, "invalid_grant", "invalid assertion"),
        (
            assertion(&key, &json!({ "alg": "none" }), &claims()),
            "invalid_grant",
            "invalid assertion",
        ),
        (
            assertion(&key, &json!({ "alg": "HS256" }), &claims()),
            "invalid_grant",
            "invalid assertion",
        ),
        (format!("{signed}."), "invalid_grant", "invalid assertion"),
        (
            format!("{signed}x.{signature}"),
            "invalid_grant",
            "invalid assertion",
        ),
        (String::new(), "invalid_grant", "invalid assertion"),
    ] {
        let answer = ask(&session, &assertion).await;
        let body = json!({ "error": error, "error_description": description });
        assert_eq!((answer.status, answer.json()), (400, body), "{assertion}");
    }
}
