use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::SignedDuration;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::auth::Code;
use super::oauth::{OAuthCall, OAuthError, authenticate_client, sign, token_answer};
use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Config, State};

const CODE_LIVES: SignedDuration = SignedDuration::from_mins(15);

/// `authorize`: the integration user is logged in and says yes at once.
pub(super) fn authorize(state: &mut State, call: &OAuthCall) -> Reply {
    if call.method != Method::GET {
        return Reply::from(Refusal::not_allowed(&call.method, "GET"));
    }
    let part = |name: &str| call.form.get(name).map(String::as_str);
    let text = |name: &str| part(name).unwrap_or_default().to_owned();
    let (client, redirect_uri) = (text("client_id"), text("redirect_uri"));
    // Nobody is sent anywhere that the app has not registered.
    let page = |error: &str, description: &str| {
        let body = json!({ "error": error, "error_description": description });
        Reply::json(400, &body)
    };
    if !state.auth.clients.contains_key(&client) {
        return page("invalid_client_id", "client identifier invalid");
    }
    let asked = (client.clone(), redirect_uri.clone());
    let known = state.auth.redirect_uris.contains(&asked);
    let Some(mut target) = Url::parse(&redirect_uri).ok().filter(|_| known) else {
        return page(
            "redirect_uri_mismatch",
            "redirect_uri must match configuration",
        );
    };
    let method_fits = matches!(part("code_challenge_method"), None | Some("S256"));
    if part("response_type") != Some("code") {
        back(&mut target, "error", "unsupported_response_type");
    } else if !method_fits {
        back(&mut target, "error", "invalid_request");
    } else {
        let code = state.auth.remember(Code {
            client,
            redirect_uri,
            challenge: part("code_challenge").map(str::to_owned),
            scopes: text("scope"),
            issued: call.now,
        });
        back(&mut target, "code", &code);
    }
    if let Some(state) = part("state") {
        back(&mut target, "state", state);
    }
    Reply::empty(302).with_header("location", target.as_str())
}

fn back(target: &mut Url, name: &str, value: &str) {
    target.query_pairs_mut().append_pair(name, value);
}

/// The second half of the web server flow.
pub(super) fn exchange_code(
    state: &mut State,
    config: &Config,
    call: &OAuthCall,
) -> Result<Reply, OAuthError> {
    let (client, secret) = authenticate_client(&state.auth, call, false)?;
    let part = |name: &str| call.form.get(name).map(String::as_str).unwrap_or_default();
    // Taken out whatever follows: a code works once.
    let login = state.auth.codes.remove(part("code"));
    let login = login.filter(|login| {
        login.client == client && call.now.duration_since(login.issued) <= CODE_LIVES
    });
    let login = login.ok_or(OAuthError("invalid_grant", "expired authorization code"))?;
    if login.redirect_uri != part("redirect_uri") {
        let text = "redirect_uri must match configuration";
        return Err(OAuthError("redirect_uri_mismatch", text));
    }
    if let Some(challenge) = &login.challenge {
        let verifier = part("code_verifier");
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        if !(43..=128).contains(&verifier.len()) || digest != *challenge {
            return Err(OAuthError("invalid_grant", "invalid code verifier"));
        }
    }
    let user = &config.integration_user;
    let mut scopes = login.scopes.split_whitespace();
    let lasts = scopes.any(|scope| matches!(scope, "refresh_token" | "offline_access"));
    let refresh_token = lasts.then(|| state.auth.grant_approved(user, &client));
    let access_token =
        state
            .auth
            .open_session(&config.org_id, user, refresh_token.as_deref(), call.now);
    // Without scopes the login is for all that the app has.
    let mut scopes = login.scopes.split_whitespace().peekable();
    if scopes.peek().is_some() && !scopes.any(|scope| matches!(scope, "api" | "full")) {
        state.auth.close_api(&access_token);
    }
    let mut body = token_answer(config, user, &access_token);
    sign(&mut body, &secret, call.now);
    body["scope"] = json!(login.scopes);
    if let Some(refresh_token) = refresh_token {
        body["refresh_token"] = json!(refresh_token);
    }
    Ok(Reply::json(200, &body))
}

/// Trades in a token of another identity provider.
pub(super) fn exchange_token(
    state: &mut State,
    config: &Config,
    call: &OAuthCall,
) -> Result<Reply, OAuthError> {
    authenticate_client(&state.auth, call, false)?;
    let part = |name: &str| call.form.get(name).map(String::as_str).unwrap_or_default();
    let kind = part("subject_token_type").strip_prefix("urn:ietf:params:oauth:token-type:");
    let kinds = ["access_token", "id_token", "refresh_token", "jwt", "saml2"];
    if !kind.is_some_and(|kind| kinds.contains(&kind)) {
        return Err(OAuthError(
            "invalid_request",
            "unsupported subject_token_type",
        ));
    }
    let subject = part("subject_token");
    if !state.auth.subjects.iter().any(|known| known == subject) {
        return Err(OAuthError("invalid_grant", "invalid subject token"));
    }
    let user = &config.integration_user;
    let access_token = state
        .auth
        .open_session(&config.org_id, user, None, call.now);
    let mut body = token_answer(config, user, &access_token);
    body["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
    Ok(Reply::json(200, &body))
}
