//! The grants that servers use: assertions and token exchange, as strict as the reference.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use box_client::testing::FakeBox;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Got, Session, send};

const EXP: &str =
    "Current date/time MUST be before the expiration date/time listed in the 'exp' claim";

fn key() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

fn assertion(key: &RsaKeyPair, header: &Value, claims: &Value) -> String {
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

fn header() -> Value {
    json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" })
}

fn claims(name: &str) -> Value {
    json!({
        "iss": FakeBox::CLIENT_ID, "sub": "12345", "box_sub_type": "enterprise",
        "aud": "https://api.box.com/oauth2/token", "jti": format!("{name:-<16}"),
        "exp": Timestamp::now().as_second() + 30,
    })
}

async fn ask(session: &Session, assertion: &str) -> Got {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", assertion),
        ("client_id", FakeBox::CLIENT_ID),
        ("client_secret", FakeBox::CLIENT_SECRET),
    ];
    session.form("token", &form).await
}

#[track_caller]
fn refused(got: &Got, description: &str) {
    assert_eq!(got.status, 400, "{got:?}");
    let expected = json!({ "error": "invalid_grant", "error_description": description });
    assert_eq!(got.json(), expected);
}

#[tokio::test]
async fn an_assertion_is_taken_once_and_gives_no_refresh_token() {
    let key = key();
    let builder = FakeBox::builder().jwt_key("k1", key.public_key().as_ref());
    let session = Session::with(builder).await;
    let assertion = assertion(&key, &header(), &claims("one"));
    let got = ask(&session, &assertion).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.json().get("refresh_token").is_none());
    let again = ask(&session, &assertion).await;
    refused(&again, "A unique 'jti' value is required.");
}

#[tokio::test]
async fn an_assertion_that_breaks_a_rule_is_refused_by_its_name() {
    let key = key();
    let builder = FakeBox::builder().jwt_key("k1", key.public_key().as_ref());
    let session = Session::with(builder).await;
    let now = Timestamp::now().as_second();
    for (claim, value, told) in [
        ("exp", json!(now - 1), EXP),
        ("exp", json!(now + 90), "Please check the 'exp' claim."),
        ("exp", Value::Null, "Please check the 'exp' claim."),
        (
            "aud",
            json!("https://api.box.com"),
            "Please check the 'aud' claim.",
        ),
        ("iss", json!("another"), "Please check the 'iss' claim."),
        ("sub", json!("98"), "Please check the 'sub' claim."),
        (
            "box_sub_type",
            json!("group"),
            "Please check the 'sub' claim.",
        ),
        ("jti", json!("short"), "A unique 'jti' value is required."),
        (
            "iat",
            json!(now + 20),
            "Current date/time MUST be after the time listed in the 'nbf' or 'iat' claim",
        ),
    ] {
        let mut claims = claims(&format!("{claim}{value}"));
        claims[claim] = value;
        let got = ask(&session, &assertion(&key, &header(), &claims)).await;
        refused(&got, told);
    }
}

#[tokio::test]
async fn an_assertion_of_another_key_or_without_a_signature_is_refused() {
    let (known, stranger) = (key(), key());
    let builder = FakeBox::builder().jwt_key("k1", known.public_key().as_ref());
    let session = Session::with(builder).await;
    let mut foreign = header();
    foreign["kid"] = json!("k2");
    let mut unsigned = header();
    unsigned["alg"] = json!("none");
    for assertion in [
        assertion(&stranger, &header(), &claims("a")),
        assertion(&known, &foreign, &claims("b")),
        assertion(&known, &unsigned, &claims("c")),
        "not.an.assertion".to_owned(),
        String::new(),
    ] {
        refused(
            &ask(&session, &assertion).await,
            "OAuth JWT signature is invalid.",
        );
    }
}

#[tokio::test]
async fn the_token_endpoint_tells_the_time_as_this_box_has_it() {
    for ahead in [0, 600] {
        let session = Session::with(FakeBox::builder().clock_ahead(ahead)).await;
        let got = ask(&session, "").await;
        let date = jiff::fmt::rfc2822::parse(got.header("date")).unwrap();
        let difference = date.timestamp().as_second() - Timestamp::now().as_second() - ahead;
        assert!((-60..=60).contains(&difference), "{difference}");
    }
}

async fn exchange(session: &Session, pairs: &[(&str, &str)]) -> Got {
    let fixed = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", session.token.as_str()),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
    ];
    session.form("token", &[&fixed, pairs].concat()).await
}

#[tokio::test]
async fn a_narrowed_token_can_do_what_it_was_made_for() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let inside = session.fake.upload(&folder, "a", "x").unwrap().file_id;
    let outside = session.fake.upload("0", "b", "x").unwrap().file_id;
    let resource = format!("https://api.box.com/2.0/folders/{folder}");
    let wanted = [
        ("scope", "item_preview item_rename"),
        ("resource", &resource),
    ];
    let got = exchange(&session, &wanted).await;
    assert_eq!(got.status, 200, "{got:?}");
    let token = got.text("/access_token");
    assert_eq!(got.json()["restricted_to"][1]["scope"], "item_rename");
    assert_eq!(got.json()["restricted_to"][1]["object"]["id"], folder);
    for (method, path, status) in [
        ("GET", format!("2.0/files/{inside}"), 200),
        ("GET", format!("2.0/folders/{folder}/items"), 200),
        ("GET", format!("2.0/files/{outside}"), 403),
        ("GET", format!("2.0/files/{inside}/content"), 403),
        ("DELETE", format!("2.0/files/{inside}"), 403),
        ("GET", "2.0/webhooks".to_owned(), 403),
    ] {
        let url = format!("{}/{path}", session.fake.url());
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let got = send(session.http.request(method, url).bearer_auth(&token)).await;
        assert_eq!(got.status, status, "{path}");
        if status == 403 {
            let challenge = got.header("www-authenticate");
            assert!(challenge.contains("insufficient_scope"), "{challenge}");
        }
    }
}

#[tokio::test]
async fn an_exchange_that_box_would_not_make_is_refused() {
    let session = Session::start().await;
    for (pairs, error) in [
        (&[][..], "invalid_scope"),
        (&[("scope", "everything")], "invalid_scope"),
        (
            &[
                ("scope", "item_preview"),
                ("resource", "https://api.box.com/2.0/files/1"),
            ],
            "invalid_resource",
        ),
        (
            &[
                ("scope", "item_preview"),
                ("resource", "x"),
                ("box_shared_link", "y"),
            ],
            "invalid_request",
        ),
    ] {
        let got = exchange(&session, pairs).await;
        assert_eq!(
            (got.status, got.json()["error"].as_str()),
            (400, Some(error))
        );
    }
    session.fake.inject(box_client::testing::Fault::on(
        "/2.0/users/me",
        box_client::testing::FaultEffect::ExpireSession,
    ));
    session.get("2.0/users/me").await;
    let got = exchange(&session, &[("scope", "item_preview")]).await;
    assert_eq!(got.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn the_authorize_page_sends_the_browser_back_with_code_and_state() {
    let session = Session::start().await;
    let page = |query: &str| {
        let url = format!("{}/api/oauth2/authorize?{query}", session.fake.url());
        send(session.http.get(url))
    };
    let base = format!("response_type=code&client_id={}", FakeBox::CLIENT_ID);
    let got = page(&format!(
        "{base}&redirect_uri=http://localhost:1/cb?x=1&state=s%26t"
    ))
    .await;
    assert_eq!(got.status, 302);
    let back = url::Url::parse(got.header("location")).unwrap();
    let pairs: Vec<_> = back.query_pairs().into_owned().collect();
    assert_eq!(pairs[0], ("x".to_owned(), "1".to_owned()));
    assert_eq!((pairs[1].0.as_str(), pairs[2].1.as_str()), ("code", "s&t"));
    for query in [
        "client_id=unknown&response_type=code&redirect_uri=http://x/",
        &base,
    ] {
        assert_eq!(page(query).await.status, 400, "{query}");
    }
}
