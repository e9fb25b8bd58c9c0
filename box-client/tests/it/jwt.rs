//! Server applications that sign: what Box takes, and what a wrong clock does.

use box_client::{
    ErrorKind, JwtAlgorithm, JwtBearer, SigningKey, Subject,
    testing::{FakeBox, FakeBoxBuilder, Fault, FaultEffect},
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::fake;

const PASSPHRASE: &str = "for-tests-only";
const KEYS: &[(&str, &str)] = &[
    ("console", include_str!("keys/des3-sha1.pem")),
    ("aes256", include_str!("keys/aes256-sha256.pem")),
    ("aes128", include_str!("keys/aes128-sha512.pem")),
    ("scrypt", include_str!("keys/scrypt.pem")),
];
const SERVICE: &str = "AutomationUser_1_fake@boxdevedition.com";

fn key(pem: &str) -> box_client::Result<SigningKey> {
    let (pem, passphrase) = (SecretString::from(pem), SecretString::from(PASSPHRASE));
    SigningKey::from_pem("k1", &pem, Some(&passphrase))
}

fn bearer() -> JwtBearer {
    let subject = Subject::Enterprise("12345".to_owned());
    let key = key(KEYS[0].1).unwrap();
    JwtBearer::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, key, subject)
}

fn config() -> Value {
    json!({
        "boxAppSettings": {
            "clientID": FakeBox::CLIENT_ID,
            "clientSecret": FakeBox::CLIENT_SECRET,
            "appAuth": {
                "publicKeyID": "k1", "privateKey": KEYS[0].1, "passphrase": PASSPHRASE,
            },
        },
        "enterpriseID": "12345",
    })
}

fn from_config(config: &Value) -> box_client::Result<JwtBearer> {
    JwtBearer::from_config(&SecretString::from(config.to_string()))
}

fn builder() -> FakeBoxBuilder {
    FakeBox::builder().jwt_key("k1", bearer().public_key())
}

/// The claims of each assertion that was sent.
fn claims(fake: &FakeBox) -> Vec<Value> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let forms = fake::forms(fake);
    // A connection that was reset brought none.
    let assertions = forms.iter().filter(|form| !form.is_empty()).map(|form| {
        let (_, assertion) = form.iter().find(|(name, _)| name == "assertion").unwrap();
        let part = assertion.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    });
    assertions.collect()
}

#[tokio::test]
async fn the_consoles_configuration_is_all_that_is_needed() {
    let fake = fake::start(builder()).await;
    let client = fake::client(&fake, from_config(&config()).unwrap());
    assert_eq!(fake::me(&client).await.unwrap(), SERVICE);
    let claims = claims(&fake).remove(0);
    let mut names: Vec<_> = claims.as_object().unwrap().keys().collect();
    names.sort();
    // Without `iat` and `nbf`, where Box bears no difference of clocks.
    assert_eq!(names, ["aud", "box_sub_type", "exp", "iss", "jti", "sub"]);
    assert_eq!(claims["aud"], "https://api.box.com/oauth2/token");
    assert_eq!(fake.violations(), [""; 0]);
}

#[tokio::test]
async fn the_application_acts_as_a_user_where_it_is_told_to() {
    let fake = fake::start(builder()).await;
    let ann = fake.create_user("Ann", "ann@example.com");
    let mut config = config();
    config["userID"] = json!(ann);
    let by_file = from_config(&config).unwrap();
    let by_call = bearer().subject(Subject::User(ann));
    for source in [by_file, by_call] {
        let client = fake::client(&fake, source);
        assert_eq!(fake::me(&client).await.unwrap(), "ann@example.com");
    }
}

#[tokio::test]
async fn every_algorithm_that_box_takes_is_signed() {
    let fake = fake::start(builder()).await;
    for algorithm in [
        JwtAlgorithm::Rs256,
        JwtAlgorithm::Rs384,
        JwtAlgorithm::Rs512,
    ] {
        let client = fake::client(&fake, bearer().algorithm(algorithm));
        assert_eq!(fake::me(&client).await.unwrap(), SERVICE, "{algorithm:?}");
    }
}

#[test]
fn keys_are_decrypted_as_the_console_and_openssl_encrypt_them() {
    let expected = bearer().public_key().to_vec();
    for (name, pem) in KEYS {
        assert_eq!(key(pem).unwrap().public_key(), expected, "{name}");
        // As a configuration that went through an environment variable has it.
        let escaped = pem.replace('\n', "\\n");
        assert_eq!(key(&escaped).unwrap().public_key(), expected, "{name}");
    }
}

#[test]
fn a_key_that_is_not_encrypted_needs_no_passphrase() {
    use aws_lc_rs::{encoding::AsDer, rsa::KeySize, signature::RsaKeyPair};
    use base64::{Engine, engine::general_purpose::STANDARD};
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem("k", &pem.clone().into(), None).unwrap();
    let mut config = config();
    config["boxAppSettings"]["appAuth"]["privateKey"] = json!(pem);
    from_config(&config).unwrap();
}

#[test]
fn what_cannot_be_read_says_what_to_do_and_quotes_nothing() {
    let encrypted = SecretString::from(KEYS[0].1);
    let refused = |pem: &SecretString, passphrase: Option<&str>| {
        let passphrase = passphrase.map(SecretString::from);
        let failure = SigningKey::from_pem("k", pem, passphrase.as_ref()).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        assert!(std::error::Error::source(&failure).is_none());
        failure.to_string()
    };
    let told = refused(&encrypted, Some("wrong"));
    assert!(
        told.contains("passphrase is wrong") && !told.contains("\"wrong\""),
        "{told}"
    );
    assert!(refused(&encrypted, None).contains("no passphrase"));
    for old in [
        include_str!("keys/traditional.pem"),
        include_str!("keys/pbes1.pem"),
    ] {
        let told = refused(&old.into(), Some(PASSPHRASE));
        assert!(told.contains("openssl pkcs8 -topk8"), "{told}");
    }
    for garbage in [
        "",
        "secret",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
    ] {
        refused(&garbage.into(), Some(PASSPHRASE));
    }
}

#[test]
fn a_configuration_that_is_none_says_so() {
    let mut nobody = config();
    nobody["enterpriseID"] = json!("");
    let mut number = config();
    number["enterpriseID"] = json!(12345);
    from_config(&number).unwrap();
    for bad in [json!({}), json!("hidden"), json!([]), nobody] {
        let failure = from_config(&bad).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        assert!(!format!("{failure:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_set_right_by_boxs_own_and_stays_right() {
    for ahead in [-3600, -45, -20, 20, 45, 3600] {
        let fake = fake::start(builder().clock_ahead(ahead)).await;
        let client = fake::client(&fake, bearer());
        assert_eq!(fake::me(&client).await.unwrap(), SERVICE, "{ahead} s");
        let first = claims(&fake).len();
        assert_eq!(first, if ahead.abs() > 30 { 2 } else { 1 }, "{ahead} s");
        fake.inject(Fault::on("/2.0/users/me", FaultEffect::ExpireSession));
        fake::me(&client).await.unwrap();
        assert_eq!(claims(&fake).len(), first + 1, "the next one fits at once");
    }
}

#[tokio::test]
async fn every_attempt_has_an_assertion_of_its_own() {
    let fake = fake::start(builder()).await;
    for effect in [
        FaultEffect::LostAnswer,
        FaultEffect::RateLimit { retry_after: None },
        FaultEffect::Reset,
    ] {
        fake.inject(Fault::on("/oauth2/token", effect));
    }
    let client = fake::client(&fake, bearer());
    assert_eq!(fake::me(&client).await.unwrap(), SERVICE);
    let mut names: Vec<_> = claims(&fake)
        .iter()
        .map(|claims| claims["jti"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    assert!(names.iter().all(|name| (16..=128).contains(&name.len())));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), claims(&fake).len(), "no name is used twice");
}

#[tokio::test]
async fn a_refusal_that_no_new_assertion_mends_is_final() {
    let unknown_key = FakeBox::builder().jwt_key("k2", bearer().public_key());
    for (builder, source, code) in [
        (FakeBox::builder(), bearer(), "unauthorized_client"),
        (unknown_key, bearer(), "invalid_grant"),
        (
            builder(),
            bearer().subject(Subject::User("0".to_owned())),
            "invalid_grant",
        ),
    ] {
        let fake = fake::start(builder).await;
        let failure = fake::me(&fake::client(&fake, source)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert_eq!(failure.api().unwrap().code(), Some(code));
        assert_eq!(fake::forms(&fake).len(), 1);
    }
}

#[tokio::test]
async fn a_clock_that_box_never_likes_is_given_up_on() {
    let vendor = crate::vendor::Vendor::start().await;
    let about_exp =
        "Current date/time MUST be before the expiration date/time listed in the 'exp' claim";
    let refusals = [(); 3].map(|()| crate::vendor::refusal("invalid_grant", about_exp));
    vendor.answers("POST", "/oauth2/token", refusals).await;
    let failure = fake::me(&vendor.client_of(bearer())).await.unwrap_err();
    assert_eq!(failure.api().unwrap().message(), Some(about_exp));
    assert_eq!(failure.attempts(), 3);
    vendor.done().await;
}

#[test]
fn nothing_of_the_key_is_in_debug() {
    let shown = format!("{:?} {:?}", bearer(), key(KEYS[0].1).unwrap());
    for secret in ["BEGIN", PASSPHRASE, FakeBox::CLIENT_SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
