//! `login`: a person lets the service into Box or Salesforce, by the browser of this machine.

use std::{path::Path, sync::Arc};

use box_client::OAuth;
use bridge::secrets::{GrantStore, SecretStore};
use clap::{Args, ValueEnum};
use salesforce_client::{OAuthApp, TokenStore as _};

use crate::{
    Failure, build,
    config::{BoxAuth, Config, SalesforceAuth, Secret},
    in_one_line, say,
    secrets::{self, Opened},
    serve::told_to_stop,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to log in.
    side: Side,
}

#[derive(Clone, Copy, ValueEnum)]
enum Side {
    Box,
    Salesforce,
}

pub(crate) async fn run(path: &Path, arguments: Arguments) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let login = async {
        match arguments.side {
            Side::Box => into_box(&config).await,
            Side::Salesforce => into_salesforce(&config).await,
        }
    };
    tokio::select! {
        done = login => done,
        () = told_to_stop() => Err(Failure::Run("stopped; nothing was stored".to_owned())),
    }
}

async fn into_box(config: &Config) -> Result<(), Failure> {
    let BoxAuth::RefreshToken {
        client_id,
        client_secret,
        grant,
    } = &config.content.auth
    else {
        return Err(not_by_login("box.auth"));
    };
    let secret = client_secret.read().map_err(|it| setup("box.auth", it))?;
    let oauth = OAuth::builder(client_id, secret)
        .base_url(&config.content.base_url)
        .authorize_url(&config.login.box_authorize_url)
        .retry(build::box_retry(&config.content.calls))
        .build()
        .map_err(|error| setup("box", in_one_line(&error)))?;
    let store = place(config, grant).await?;
    let redirect = box_client::LoopbackRedirect::bind(config.login.port).await;
    let redirect = redirect.map_err(|error| setup("login.port", in_one_line(&error)))?;
    let uri = redirect.uri();
    let login = oauth.authorize().redirect_uri(&uri).start();
    let login = login.map_err(Failure::run)?;
    ask(config, login.url(), &uri)?;
    let code = redirect.wait(&login, config.login.patience.0).await;
    let code = code.map_err(Failure::run)?;
    let given = oauth.exchange(&code).await.map_err(Failure::run)?;
    given.store_in(&store).await.map_err(Failure::run)?;
    stored(grant)
}

async fn into_salesforce(config: &Config) -> Result<(), Failure> {
    let side = &config.salesforce;
    let SalesforceAuth::RefreshToken {
        client_id,
        client_secret,
        grant,
    } = &side.auth
    else {
        return Err(not_by_login("salesforce.auth"));
    };
    let secret = client_secret.as_ref().map(Secret::read).transpose();
    let secret = secret.map_err(|it| setup("salesforce.auth", it))?;
    let app = OAuthApp::builder(client_id)
        .login_url(&side.login_url)
        .retry(build::salesforce_retry(&side.calls));
    let app = match secret {
        Some(secret) => app.client_secret(secret),
        None => app,
    };
    let app = app.build();
    let app = app.map_err(|error| setup("salesforce", in_one_line(&error)))?;
    let store = place(config, grant).await?;
    let redirect = salesforce_client::LoopbackRedirect::bind(config.login.port).await;
    let redirect = redirect.map_err(|error| setup("login.port", error.to_string()))?;
    let login = app.authorize(redirect.uri()).begin();
    let login = login.map_err(Failure::run)?;
    ask(config, login.url(), redirect.uri())?;
    let code = redirect.wait(&login, config.login.patience.0).await;
    let code = code.map_err(Failure::run)?;
    let given = app.exchange(&login, &code).await.map_err(Failure::run)?;
    secrets::store_salesforce(&store, given).await?;
    stored(grant)
}

/// Where the grant goes. It is read once, so that nobody logs in for a store that lets nothing in.
async fn place(config: &Config, name: &str) -> Result<GrantStore, Failure> {
    let secrets: Arc<dyn SecretStore> = Opened::of(config).await?.shared();
    let store = secrets::grant(Some(&secrets), name).map_err(|it| setup("secrets", it))?;
    store
        .load()
        .await
        .map_err(|error| setup("secrets", in_one_line(&*error)))?;
    Ok(store)
}

fn ask(config: &Config, url: &str, redirect: &str) -> Result<(), Failure> {
    say(format_args!(
        "Open this address in a browser of this machine:\n\n  {url}\n\n\
         Waiting for {redirect}, {} seconds at most. Ctrl-C stops.",
        config.login.patience.0.as_secs()
    ))
}

fn stored(name: &str) -> Result<(), Failure> {
    say(format_args!(
        "logged in, and stored as `{name}`; `bridge-server check` tells what it may do"
    ))
}

fn not_by_login(place: &str) -> Failure {
    let problem = "nobody logs in for this kind; set kind = \"refresh_token\" to log in";
    setup(place, problem.to_owned())
}

fn setup(place: &str, problem: String) -> Failure {
    Failure::Setup(vec![format!("{place}: {problem}")])
}
