//! `FakeBox`, which refuses what Box's OpenAPI document does not know.

use std::{env, path::PathBuf};

use box_client::{
    BoxClient, OAuth, TokenSource,
    testing::{FakeBox, FakeBoxBuilder, openapi::Spec},
};

use crate::vendor::quick;

/// Holds the requests to the document, where it is at hand; `spec` tells of it where it is not.
pub(crate) async fn start(builder: FakeBoxBuilder) -> FakeBox {
    let path = env::var_os("BOX_OPENAPI").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/box-openapi.json"),
        PathBuf::from,
    );
    let builder = match Spec::read(&path) {
        Ok(spec) => builder.openapi(spec),
        Err(_) => {
            assert!(env::var_os("CI").is_none(), "Box's document is missing");
            builder
        }
    };
    builder.start().await.unwrap()
}

pub(crate) fn client(fake: &FakeBox, tokens: impl TokenSource) -> BoxClient {
    let builder = BoxClient::builder(tokens).base_url(&fake.url());
    builder.retry(quick()).build().unwrap()
}

pub(crate) fn oauth(fake: &FakeBox) -> OAuth {
    OAuth::builder(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET)
        .base_url(&fake.url())
        .authorize_url(format!("{}/api/oauth2/authorize", fake.url()))
        .retry(quick())
        .build()
        .unwrap()
}

/// The login of the user that calls are made as.
pub(crate) async fn me(client: &BoxClient) -> box_client::Result<String> {
    let request = client.request(http::Method::GET, "/users/me");
    let user: serde_json::Value = request.send().await?.json()?;
    Ok(user["login"].as_str().unwrap().to_owned())
}

/// The form fields of each request to the token endpoint.
pub(crate) fn forms(fake: &FakeBox) -> Vec<Vec<(String, String)>> {
    let requests = fake.requests();
    let forms = requests.iter().filter(|r| r.path == "/oauth2/token");
    forms
        .map(|r| url::form_urlencoded::parse(&r.body).into_owned().collect())
        .collect()
}
