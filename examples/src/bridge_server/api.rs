//! The routes for commands, where the configuration has them.

use std::sync::Arc;

use axum::Router;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Failure,
    build::{self, Parts},
    config::Config,
    store::Store,
};

/// Shorter ones can be guessed.
const SHORTEST_TOKEN: usize = 16;

pub(crate) fn token(config: &Config) -> Result<Option<SecretString>, Failure> {
    let Some(api) = &config.api else {
        return Ok(None);
    };
    let wrong = |problem: String| Failure::Setup(vec![format!("api.token: {problem}")]);
    let token = api.token.read().map_err(wrong)?;
    if token.expose_secret().len() < SHORTEST_TOKEN {
        let problem = format!("it must have at least {SHORTEST_TOKEN} characters");
        return Err(wrong(problem));
    }
    if !token
        .expose_secret()
        .bytes()
        .all(|it| it.is_ascii_graphic())
    {
        return Err(wrong("it must be of printable ASCII characters".to_owned()));
    }
    Ok(Some(token))
}

pub(crate) fn routes(
    config: &Config,
    token: Option<SecretString>,
    store: &Store,
    parts: &Parts,
) -> Router {
    let (Some(api), Some(token)) = (&config.api, token) else {
        return Router::new();
    };
    let commands = build::commands(parts, Arc::clone(&store.queue));
    bridge::axum::Api::new(commands, &token)
        .clock(Arc::clone(&store.clock))
        .body_limit(api.body_limit)
        .body_timeout(config.server.idle_timeout.0)
        .store_within(config.webhook.store_within.0)
        .routes()
}
