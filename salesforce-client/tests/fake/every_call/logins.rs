use async_trait::async_trait;
use reqwest::redirect::Policy;
use salesforce_client::{
    ClientCredentials, MemoryTokenStore, OAuthApp, RefreshToken, SalesforceClient, SubjectTokens,
    TokenExchange, TokenSource, TokenStoreError,
};
use secrecy::SecretString;

use super::Served;

pub(super) const CALLBACK: &str = "http://localhost:8080/callback";

#[derive(Debug)]
struct Subject;

#[async_trait]
impl SubjectTokens for Subject {
    async fn subject_token(&self) -> Result<SecretString, TokenStoreError> {
        Ok("subject".into())
    }
}

pub(super) async fn try_all(served: &mut Served) {
    let url = served.org.url().to_owned();
    let app = OAuthApp::builder("app")
        .client_secret("secret")
        .login_url(&url);
    let app = app.build().unwrap();
    let login = app.authorize(CALLBACK).begin().unwrap();
    let browser = reqwest::Client::builder().redirect(Policy::none());
    let browser = browser.build().unwrap();
    let answer = browser.get(login.url()).send().await.unwrap();
    let callback = answer.headers()["location"].to_str().unwrap();
    let code = login.callback(callback).unwrap();
    let grant = app.exchange(&login, &code).await;
    let grant = served.ok("OAuthApp::exchange", grant);

    let store = MemoryTokenStore::new(grant);
    works(&url, RefreshToken::new("app", Some("secret".into()), store)).await;
    works(&url, ClientCredentials::new("app", "secret".to_owned())).await;
    works(
        &url,
        TokenExchange::new("app", Some("secret".into()), Subject),
    )
    .await;

    let token = served.client.access_token().await.unwrap();
    let introspected = app.introspect(token.secret()).await;
    assert!(served.ok("OAuthApp::introspect", introspected).active);
    let revoked = app.revoke(token.secret()).await;
    assert!(served.ok("OAuthApp::revoke", revoked));
}

async fn works(url: &str, tokens: impl TokenSource) {
    let client = SalesforceClient::builder(tokens).login_url(url);
    client.build().unwrap().limits().await.unwrap();
}
