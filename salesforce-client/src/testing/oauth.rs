use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::auth::Auth;
use super::jwt::Assertion;
use super::login;
use super::refusal::Refusal;
use super::reply::Reply;
use super::state::{Config, State};

/// A request to one of the OAuth endpoints.
pub(super) struct OAuthCall {
    pub(super) method: Method,
    pub(super) endpoint: String,
    pub(super) form: BTreeMap<String, String>,
    pub(super) authorization: Option<String>,
    pub(super) now: Timestamp,
}

/// Answers one of the OAuth endpoints.
pub(super) fn answer(state: &mut State, config: &Config, call: &OAuthCall) -> Reply {
    let answered = match call.endpoint.as_str() {
        "token" | "revoke" | "introspect" if call.method != Method::POST => {
            Err(OAuthError("invalid_request", "must use HTTP POST"))
        }
        "token" => token(state, config, call),
        "revoke" => revoke(state, call),
        "introspect" => introspect(state, config, call),
        "authorize" => return login::authorize(state, call),
        "userinfo" => return user_info(state, config, call),
        _ => return Reply::from(Refusal::not_found()),
    };
    answered.unwrap_or_else(|OAuthError(error, description)| {
        let body = json!({ "error": error, "error_description": description });
        Reply::json(400, &body)
    })
}

/// Code and description of the error body of these endpoints.
pub(super) struct OAuthError(pub(super) &'static str, pub(super) &'static str);

const EXPIRED: OAuthError = OAuthError("invalid_grant", "expired access/refresh token");

fn token(state: &mut State, config: &Config, call: &OAuthCall) -> Result<Reply, OAuthError> {
    match call.form.get("grant_type").map(String::as_str) {
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => jwt_bearer(state, config, call),
        Some("refresh_token") => refresh(state, config, call),
        Some("authorization_code") => login::exchange_code(state, config, call),
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            login::exchange_token(state, config, call)
        }
        Some("client_credentials") => client_credentials(state, config, call),
        _ => Err(OAuthError(
            "unsupported_grant_type",
            "grant type not supported",
        )),
    }
}

fn jwt_bearer(state: &mut State, config: &Config, call: &OAuthCall) -> Result<Reply, OAuthError> {
    let invalid = OAuthError("invalid_grant", "invalid assertion");
    let text = call
        .form
        .get("assertion")
        .map(String::as_str)
        .unwrap_or_default();
    let Some(assertion) = Assertion::parse(text) else {
        return Err(invalid);
    };
    if !state.auth.clients.contains_key(&assertion.issuer) {
        return Err(OAuthError("invalid_client_id", "client identifier invalid"));
    }
    let login_hosts = [
        "https://login.salesforce.com",
        "https://test.salesforce.com",
    ];
    let audience = assertion.audience.trim_end_matches('/');
    let own_hosts = [config.url.as_str(), config.instance_url.as_str()];
    if !login_hosts
        .iter()
        .chain(&own_hosts)
        .any(|host| *host == audience)
    {
        return Err(OAuthError("invalid_grant", "audience is invalid"));
    }
    let mut keys = state
        .auth
        .approvals
        .iter()
        .filter(|known| known.client == assertion.issuer);
    if !assertion.is_timely(call.now)
        || !keys
            .clone()
            .any(|known| assertion.is_signed_by(&known.public_key))
    {
        return Err(invalid);
    }
    let approval = keys.find(|known| known.username.eq_ignore_ascii_case(&assertion.subject));
    let Some(user) = approval.map(|approval| approval.user.clone()) else {
        return Err(OAuthError(
            "invalid_grant",
            "user hasn't approved this consumer",
        ));
    };
    let access_token = state
        .auth
        .open_session(&config.org_id, &user, None, call.now);
    // This flow has neither issued_at nor signature nor a refresh token.
    Ok(Reply::json(
        200,
        &token_answer(config, &user, &access_token),
    ))
}

fn refresh(state: &mut State, config: &Config, call: &OAuthCall) -> Result<Reply, OAuthError> {
    let (client, secret) = authenticate_client(&state.auth, call, false)?;
    let spent = call
        .form
        .get("refresh_token")
        .map(String::as_str)
        .unwrap_or_default();
    let grant = state.auth.grants.get(spent);
    let grant = grant.filter(|grant| grant.client.as_ref().is_none_or(|own| *own == client));
    let Some(user) = grant.map(|grant| grant.user.clone()) else {
        // Whoever comes with it a second time may have stolen it, and so may the first have.
        if !config.forgive_reuse {
            state.auth.end_family(spent);
        }
        return Err(EXPIRED);
    };
    let rotates = config.rotate_refresh_tokens;
    let next = rotates.then(|| state.auth.rotate(spent, &user, &client));
    let family = next.as_deref().unwrap_or(spent);
    let access_token = state
        .auth
        .open_session(&config.org_id, &user, Some(family), call.now);
    let mut body = token_answer(config, &user, &access_token);
    sign(&mut body, &secret, call.now);
    body["scope"] = json!("api refresh_token");
    if let Some(next) = next {
        body["refresh_token"] = json!(next);
    }
    Ok(Reply::json(200, &body))
}

fn client_credentials(
    state: &mut State,
    config: &Config,
    call: &OAuthCall,
) -> Result<Reply, OAuthError> {
    let (_, secret) = authenticate_client(&state.auth, call, true)?;
    let user = &config.integration_user;
    let access_token = state
        .auth
        .open_session(&config.org_id, user, None, call.now);
    let mut body = token_answer(config, user, &access_token);
    sign(&mut body, &secret, call.now);
    Ok(Reply::json(200, &body))
}

/// Id and secret of the app, from the form or from Basic authentication.
pub(super) fn authenticate_client(
    auth: &Auth,
    call: &OAuthCall,
    needs_secret: bool,
) -> Result<(String, String), OAuthError> {
    let (id, secret) = basic(call.authorization.as_deref()).unwrap_or_else(|| {
        let part = |name: &str| call.form.get(name).cloned().unwrap_or_default();
        (part("client_id"), part("client_secret"))
    });
    let Some(known) = auth.clients.get(&id) else {
        return Err(OAuthError("invalid_client_id", "client identifier invalid"));
    };
    // An app without a secret is a public one.
    if *known != secret || (needs_secret && known.is_empty()) {
        return Err(OAuthError("invalid_client", "invalid client credentials"));
    }
    Ok((id, secret))
}

pub(super) fn token_answer(config: &Config, user: &str, access_token: &str) -> Value {
    json!({
        "access_token": access_token,
        "instance_url": config.instance_url,
        "id": format!("{}/id/{}/{user}", config.url, config.org_id),
        "scope": "api",
        "token_type": "Bearer",
    })
}

pub(super) fn sign(body: &mut Value, secret: &str, now: Timestamp) {
    let issued_at = now.as_millisecond().to_string();
    if let Some(id) = body["id"].as_str()
        && let Some(signature) = hmac_sha256(secret, &format!("{id}{issued_at}"))
    {
        body["signature"] = json!(signature);
    }
    body["issued_at"] = json!(issued_at);
}

#[cfg(feature = "jwt")]
fn hmac_sha256(secret: &str, text: &str) -> Option<String> {
    use aws_lc_rs::hmac;

    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    Some(STANDARD.encode(hmac::sign(&key, text.as_bytes())))
}

/// Without the feature `jwt` answers go unsigned, which the vendor's may as well.
#[cfg(not(feature = "jwt"))]
fn hmac_sha256(_secret: &str, _text: &str) -> Option<String> {
    None
}

fn revoke(state: &mut State, call: &OAuthCall) -> Result<Reply, OAuthError> {
    let token = call
        .form
        .get("token")
        .map(String::as_str)
        .unwrap_or_default();
    let auth = &mut state.auth;
    if auth.grants.remove(token).is_some() {
        auth.sessions
            .retain(|_, session| session.refresh_token.as_deref() != Some(token));
        return Ok(Reply::empty(200));
    }
    match auth.sessions.remove(token) {
        Some(_) => Ok(Reply::empty(200)),
        None => Err(OAuthError("invalid_token", "invalid token")),
    }
}

fn introspect(state: &State, config: &Config, call: &OAuthCall) -> Result<Reply, OAuthError> {
    let (client, _) = authenticate_client(&state.auth, call, true)?;
    let token = call
        .form
        .get("token")
        .map(String::as_str)
        .unwrap_or_default();
    let session = state.auth.sessions.get(token);
    let lifetime = SignedDuration::try_from(config.session_lifetime).unwrap_or_default();
    let session = session.filter(|session| call.now.duration_since(session.used) <= lifetime);
    let Some(session) = session else {
        return Ok(Reply::json(200, &json!({ "active": false })));
    };
    let username = state
        .org
        .get(&session.user)
        .and_then(|(_, user)| user.text("Username"));
    let expires = session.used.as_second() + lifetime.as_secs();
    let body = json!({
        "active": true,
        "scope": "api",
        "client_id": client,
        "username": username,
        "sub": format!("{}/id/{}/{}", config.url, config.org_id, session.user),
        "token_type": "access_token",
        "exp": expires,
        "iat": session.issued.as_second(),
        "nbf": session.issued.as_second(),
    });
    Ok(Reply::json(200, &body))
}

fn user_info(state: &mut State, config: &Config, call: &OAuthCall) -> Reply {
    let authorization = call.authorization.as_deref();
    let user = state
        .auth
        .authenticate(authorization, config.session_lifetime, call.now);
    let Ok(user) = user else {
        let mut reply = Reply::empty(403);
        reply.body = bytes::Bytes::from_static(b"Bad_OAuth_Token");
        return reply;
    };
    let record = state.org.get(&user).map(|(_, record)| record);
    let text = |field: &str| record.and_then(|record| record.text(field));
    let body = json!({
        "sub": format!("{}/id/{}/{user}", config.url, config.org_id),
        "user_id": user,
        "organization_id": config.org_id,
        "preferred_username": text("Username"),
        "name": text("Name"),
        "email": text("Email"),
        "urls": { "rest": format!("{}/services/data/v{{version}}/", config.instance_url) },
    });
    Reply::json(200, &body)
}

fn basic(authorization: Option<&str>) -> Option<(String, String)> {
    let (scheme, pair) = authorization?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    pair.split_once(':')
        .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}
