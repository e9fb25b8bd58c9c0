//! Logging in, and the life of tokens.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::header::LOCATION;
use salesforce_client::{
    ClientCredentials, ErrorKind, Grant, Introspected, LoginError, MemoryTokenStore, OAuthApp,
    PendingLogin, RefreshToken, SalesforceClient, SubjectTokens, TokenExchange, TokenSource,
    TokenStoreError,
    testing::{FakeSalesforce, Fault, FaultEffect, token_store_contract},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::support::quick;

const CALLBACK: &str = "https://example.com/callback";

fn app_at(org: &FakeSalesforce, id: &str, secret: Option<&str>) -> OAuthApp {
    let mut app = OAuthApp::builder(id).login_url(org.url()).retry(quick());
    if let Some(secret) = secret {
        app = app.client_secret(secret);
    }
    app.build().unwrap()
}

async fn org() -> FakeSalesforce {
    FakeSalesforce::builder()
        .client("app", "secret")
        .client("public", "")
        .redirect_uri("app", CALLBACK)
        .redirect_uri("public", CALLBACK)
        .start()
        .await
        .unwrap()
}

/// What the person's browser is sent to.
async fn browse(login: &PendingLogin) -> Option<String> {
    let http = reqwest::Client::builder();
    let http = http
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let answer = http.get(login.url()).send().await.unwrap();
    let location = answer.headers().get(LOCATION)?;
    Some(location.to_str().unwrap().to_owned())
}

fn client(org: &FakeSalesforce, tokens: impl TokenSource) -> SalesforceClient {
    let client = SalesforceClient::builder(tokens).login_url(org.url());
    client.retry(quick()).build().unwrap()
}

#[tokio::test]
async fn a_login_gives_a_grant_that_works_for_both_kinds_of_apps() {
    let org = org().await;
    for (id, secret) in [("app", Some("secret")), ("public", None)] {
        let app = app_at(&org, id, secret);
        let login = app.authorize(CALLBACK).begin().unwrap();
        let callback = browse(&login).await.unwrap();
        assert!(callback.starts_with(CALLBACK));
        // Kept elsewhere while the person is away, it is the same login.
        let login = PendingLogin::from_secret(&login.to_secret()).unwrap();
        let code = login.callback(&callback).unwrap();
        let grant = app.exchange(&login, &code).await.unwrap();
        let again = app.exchange(&login, &code).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Auth, "a code works once");
        let tokens = RefreshToken::new(id, secret.map(Into::into), MemoryTokenStore::new(grant));
        let client = client(&org, tokens);
        client.limits().await.unwrap();
        org.expire_sessions();
        client.limits().await.unwrap();
    }
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_another_login() {
    let org = org().await;
    let app = app_at(&org, "public", None);
    let login = app.authorize(CALLBACK).begin().unwrap();
    let other = app.authorize(CALLBACK).begin().unwrap();
    let callback = browse(&login).await.unwrap();
    assert_eq!(other.callback(&callback).unwrap_err(), LoginError::State);
    let code = login.callback(&callback).unwrap();
    let error = app.exchange(&other, &code).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "the proof is another's");
}

#[tokio::test]
async fn a_redirect_that_is_not_registered_leads_nowhere() {
    let org = org().await;
    let app = app_at(&org, "public", None);
    let login = app
        .authorize("https://example.com/callback/")
        .begin()
        .unwrap();
    assert_eq!(browse(&login).await, None);
    let login = app.authorize("no url").begin();
    assert_eq!(login.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_login_without_the_scope_says_which_one_is_missing() {
    let org = org().await;
    let app = app_at(&org, "public", None);
    let login = app.authorize(CALLBACK).scopes(&["full"]).begin().unwrap();
    let code = login.callback(&browse(&login).await.unwrap()).unwrap();
    let error = app.exchange(&login, &code).await.unwrap_err();
    assert!(error.to_string().contains("refresh_token"), "{error}");
}

#[tokio::test]
async fn a_revoked_token_is_dead_and_revoking_it_again_is_no_error() {
    let org = org().await;
    let app = app_at(&org, "app", Some("secret"));
    let refresh = SecretString::from(org.issue_refresh_token());
    assert!(app.revoke(&refresh).await.unwrap());
    assert!(!app.revoke(&refresh).await.unwrap());
    let store = MemoryTokenStore::new(Grant::new(refresh.expose_secret()));
    let tokens = RefreshToken::new("app", Some("secret".into()), store);
    let error = client(&org, tokens).limits().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("log in again"), "{error}");
}

#[tokio::test]
async fn introspection_tells_how_long_a_token_lives_and_the_client_renews_before() {
    let builder = FakeSalesforce::builder().client("app", "secret");
    let builder = builder.session_lifetime(Duration::from_secs(30));
    let org = builder.start().await.unwrap();
    let app = app_at(&org, "app", Some("secret"));
    let token = SecretString::from(org.issue_token());
    let told = app.introspect(&token).await.unwrap();
    assert!(told.active);
    assert_eq!(told.username.as_deref(), Some("integration@example.com"));
    let lifetime = told.lifetime(jiff::Timestamp::now()).unwrap();
    assert!(lifetime <= Duration::from_secs(30), "{lifetime:?}");
    let dead = app.introspect(&SecretString::from("x")).await.unwrap();
    assert!(!dead.active && dead.lifetime(jiff::Timestamp::now()).is_none());

    let source = ClientCredentials::new("app", "secret");
    let tokens = Introspected::new(source, app);
    let client = SalesforceClient::builder(tokens).login_url(org.url());
    let client = client.retry(quick()).build().unwrap();
    client.limits().await.unwrap();
    // Without the answer of introspection the client's own setting holds.
    org.expire_sessions();
    org.inject(Fault::on("*/introspect", FaultEffect::Unavailable).times(10));
    client.limits().await.unwrap();
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_again_is_an_error_and_no_loop() {
    let org = FakeSalesforce::builder()
        .client("app", "secret")
        .start()
        .await
        .unwrap();
    org.inject(Fault::on("*/limits", FaultEffect::ExpireSession).times(100));
    let source = ClientCredentials::new("app", "secret");
    let client = SalesforceClient::builder(source).login_url(org.url());
    let client = client.retry(quick()).build().unwrap();
    let error = client.limits().await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Auth, 2));
    let asked = org.requests();
    let asked = asked
        .iter()
        .filter(|it| it.path.ends_with("/token"))
        .count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn fifty_callers_on_an_ended_session_ask_for_one_token() {
    let builder = FakeSalesforce::builder().client("app", "secret");
    let org = builder.rotate_refresh_tokens(true).start().await.unwrap();
    let store = MemoryTokenStore::new(Grant::new(org.issue_refresh_token()));
    let rotating = RefreshToken::new("app", Some("secret".into()), store);
    let credentials = ClientCredentials::new("app", "secret");
    for client in [client(&org, rotating), client(&org, credentials)] {
        client.limits().await.unwrap();
        org.expire_sessions();
        org.clear_requests();
        // Half of the refusals arrive when the session has long been renewed.
        for millis in [10, 200] {
            let late = FaultEffect::Delay { millis };
            org.inject(Fault::on("*/limits", late).times(25));
        }
        let calls = (0..50).map(|_| client.limits());
        for outcome in futures_util::future::join_all(calls).await {
            outcome.unwrap();
        }
        let requests = org.requests();
        let refused = requests.iter().filter(|it| it.status == Some(401));
        assert_eq!(refused.count(), 50);
        let asked = requests.iter().filter(|it| it.path.ends_with("/token"));
        assert_eq!(asked.count(), 1);
    }
}

#[derive(Debug)]
struct Subject(&'static str);

#[async_trait]
impl SubjectTokens for Subject {
    async fn subject_token(&self) -> Result<SecretString, TokenStoreError> {
        Ok(self.0.into())
    }
}

#[tokio::test]
async fn a_token_of_another_provider_is_traded_in() {
    let builder = FakeSalesforce::builder().client("app", "secret");
    let org = builder.subject_token("theirs").start().await.unwrap();
    for (subject, works) in [("theirs", true), ("made up", false)] {
        let source = TokenExchange::new("app", Some("secret".into()), Subject(subject));
        let source = source.subject_type("urn:ietf:params:oauth:token-type:id_token");
        let client = SalesforceClient::builder(source).login_url(org.url());
        let outcome = client.retry(quick()).build().unwrap().limits().await;
        assert_eq!(outcome.is_ok(), works);
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Auth);
        }
    }
    let source = TokenExchange::new("app", None, Subject("x"));
    let error = SalesforceClient::new(source).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Config,
        "it works on My Domain only"
    );
}

#[tokio::test]
async fn no_secret_of_an_app_is_shown() {
    let app = OAuthApp::builder("app").client_secret("s3cret");
    assert!(!format!("{app:?}").contains("s3cret"));
    assert!(!format!("{:?}", app.build().unwrap()).contains("s3cret"));
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    let store = Arc::new(MemoryTokenStore::new(Grant::new("r1")));
    token_store_contract(&store, Some(&Arc::clone(&store))).await;
}

#[tokio::test]
async fn clients_that_share_a_store_spend_each_refresh_token_once() {
    let builder = FakeSalesforce::builder().client("app", "secret");
    let org = builder.rotate_refresh_tokens(true).start().await.unwrap();
    let store = Arc::new(MemoryTokenStore::new(Grant::new(org.issue_refresh_token())));
    let clients: Vec<SalesforceClient> = (0..8)
        .map(|_| {
            let tokens = RefreshToken::new("app", Some("secret".into()), Arc::clone(&store));
            client(&org, tokens)
        })
        .collect();
    for _ in 0..5 {
        let calls = clients.iter().map(|client| client.limits());
        for outcome in futures_util::future::join_all(calls).await {
            outcome.unwrap();
        }
        org.expire_sessions();
    }
    let requests = org.requests();
    let refreshes = requests.iter().filter(|it| it.path.ends_with("/token"));
    assert!(refreshes.clone().all(|it| it.status == Some(200)));
    assert!(refreshes.count() <= 6, "one refresh serves all");
}

#[cfg(feature = "login")]
mod loopback {
    use salesforce_client::LoopbackRedirect;
    use tokio::{io::AsyncWriteExt, net::TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_login_comes_back_to_this_machine_whoever_else_knocks() {
        let redirect = LoopbackRedirect::bind(0).await.unwrap();
        let uri = redirect.uri().to_owned();
        let builder = FakeSalesforce::builder().client("public", "");
        let org = builder.redirect_uri("public", &uri).start().await.unwrap();
        let app = app_at(&org, "public", None);
        let login = app.authorize(&uri).begin().unwrap();
        let address = uri.strip_prefix("http://localhost").unwrap();
        let address = format!("127.0.0.1{}", address.strip_suffix("/callback").unwrap());
        let waiting = {
            let login = login.clone();
            tokio::spawn(async move { redirect.wait(&login, Duration::from_secs(60)).await })
        };
        // One that says nothing and goes, one that talks nonsense, an icon, a forged callback.
        drop(TcpStream::connect(&address).await.unwrap());
        let mut noise = TcpStream::connect(&address).await.unwrap();
        noise.write_all(b"\0\xff\r\n\r\n").await.unwrap();
        let get = async |target: &str| {
            let url = format!("http://{address}{target}");
            reqwest::get(url).await.unwrap().status().as_u16()
        };
        assert_eq!(get("/favicon.ico").await, 404);
        assert_eq!(get("/callback?code=forged&state=x").await, 404);
        assert_eq!(get("/callback?error=access_denied").await, 404);
        let callback = browse(&login).await.unwrap();
        assert_eq!(
            get(callback
                .strip_prefix("http://localhost")
                .unwrap()
                .split_once('/')
                .map(|(_, rest)| format!("/{rest}"))
                .unwrap()
                .as_str())
            .await,
            200
        );
        let code = waiting.await.unwrap().unwrap();
        app.exchange(&login, &code).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_waited_for_for_ever() {
        let redirect = LoopbackRedirect::bind(0).await.unwrap();
        let app = OAuthApp::builder("public").build().unwrap();
        let login = app.authorize(redirect.uri()).begin().unwrap();
        let waited = redirect.wait(&login, Duration::from_millis(1)).await;
        assert_eq!(waited.unwrap_err(), LoginError::TimedOut);
    }
}

#[tokio::test]
async fn the_texts_of_these_endpoints_are_not_told_on() {
    let org = org().await;
    let app = app_at(&org, "app", Some("wrong"));
    let secret = "00D!planted";
    let body = json!({ "error": "invalid_client", "error_description": secret }).to_string();
    let fault = FaultEffect::Status {
        status: 400,
        headers: Default::default(),
        body,
    };
    org.inject(Fault::on("*/oauth2/*", fault).times(10));
    let token = SecretString::from("x");
    let errors = [
        app.introspect(&token).await.unwrap_err(),
        app.revoke(&token).await.unwrap_err(),
    ];
    for error in errors {
        assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
    }
}
