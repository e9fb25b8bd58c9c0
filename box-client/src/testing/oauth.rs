//! The token endpoint: rotation, expiry and its own error shape.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::form_urlencoded;

#[cfg(feature = "jwt")]
use super::jwt::bearer;
use super::{
    answer::{Answer, Outcome, Refused},
    exchange::{self, Limits},
    head::Head,
    people::User,
    state::State,
    upload::Received,
};

/// As long as Box gives a browser's code.
const CODE_LIFETIME: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Tokens {
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    codes: HashMap<String, (Holder, Instant)>,
    /// Names of assertions that were used.
    #[cfg(feature = "jwt")]
    pub(super) assertions: std::collections::HashSet<String>,
}

/// For whom a token is, and for which application.
#[derive(Clone, PartialEq)]
pub(super) struct Holder {
    pub(super) user: User,
    pub(super) client: String,
    /// Of a downscoped token.
    pub(super) limits: Option<Limits>,
}

struct Access {
    holder: Holder,
    expires_at: Instant,
    used: bool,
    /// The access token that dies when this one is first used.
    replaces: Option<String>,
}

struct Refresh {
    holder: Holder,
    /// The access token issued with it.
    access: String,
    /// The refresh token that came in its place.
    spent_for: Option<String>,
}

/// The parameters of a form body.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    fn read(head: &Head, body: &Received) -> Option<Self> {
        let Received::Bytes(bytes) = body else {
            return None;
        };
        (head.content_type().as_deref() == Some("application/x-www-form-urlencoded"))
            .then(|| Self(form_urlencoded::parse(bytes).into_owned().collect()))
    }

    pub(super) fn value(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }
}

/// `POST /oauth2/token`, with the time as this Box has it.
pub(super) fn token(state: &mut State, head: &Head, body: &Received) -> Outcome {
    let date = Timestamp::from_second(box_second(state)).unwrap_or_default();
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&date)
        .unwrap_or_default();
    match granted(state, head, body) {
        Ok(answer) => Ok(answer.header("date", date)),
        Err(refused) => Ok(refused.answer("").header("date", date)),
    }
}

fn granted(state: &mut State, head: &Head, body: &Received) -> Outcome {
    let malformed = || {
        Refused::oauth(
            "invalid_request",
            "Invalid grant_type parameter or parameter missing",
        )
    };
    let form = Form::read(head, body).ok_or_else(malformed)?;
    match form.value("grant_type") {
        "refresh_token" => {
            let client = known_client(state, &form)?;
            refresh(state, &client, form.value("refresh_token"))
        }
        "authorization_code" => {
            let client = known_client(state, &form)?;
            let code = state.tokens.codes.remove(form.value("code"));
            let (holder, _) = code
                .filter(|(holder, until)| holder.client == client && *until > Instant::now())
                .ok_or_else(|| {
                    let reason = "Auth code doesn't exist or is invalid for the client";
                    Refused::oauth("invalid_grant", reason)
                })?;
            let (access, refresh) = state.issue_pair(holder, None);
            Ok(grant(state, &access, Some(&refresh), Vec::new()))
        }
        "client_credentials" => client_credentials(state, &form),
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let client = known_client(state, &form)?;
            bearer(state, client, form.value("assertion"))
        }
        "urn:ietf:params:oauth:grant-type:token-exchange" => exchange::token(state, &form),
        _ => Err(malformed()),
    }
}

/// Without keys to verify it, no assertion is good.
#[cfg(not(feature = "jwt"))]
fn bearer(_: &mut State, _: String, _: &str) -> Outcome {
    unauthorized()
}

/// `POST /oauth2/revoke`: an access or a refresh token takes its pair with it.
pub(super) fn revoke(state: &mut State, head: &Head, body: &Received) -> Outcome {
    let form = Form::read(head, body)
        .ok_or_else(|| Refused::oauth("invalid_request", "Missing parameter"))?;
    known_client(state, &form)?;
    let token = form.value("token");
    let paired = state
        .tokens
        .refresh
        .get(token)
        .map(|refresh| refresh.access.clone());
    let access = paired.unwrap_or_else(|| token.to_owned());
    state.tokens.access.remove(&access);
    state
        .tokens
        .refresh
        .retain(|name, refresh| name != token && refresh.access != access);
    Ok(Answer::empty(200))
}

impl State {
    /// Who comes with this access token. Its use ends the one that it replaced.
    pub(super) fn bearer(&mut self, token: &str) -> Result<Holder, Refused> {
        let access = self
            .tokens
            .access
            .get_mut(token)
            .ok_or_else(Refused::invalid_token)?;
        if access.expires_at <= Instant::now() {
            self.tokens.access.remove(token);
            return Err(Refused::invalid_token());
        }
        access.used = true;
        let holder = access.holder.clone();
        if let Some(replaced) = access.replaces.take() {
            self.tokens.access.remove(&replaced);
        }
        Ok(holder)
    }

    pub(super) fn kill(&mut self, access_token: &str) {
        self.tokens.access.remove(access_token);
    }

    /// What the handle issues is for the service account and the first application.
    pub(super) fn own(&self) -> Holder {
        let client = self
            .config
            .clients
            .first()
            .map(|(id, _)| id.clone())
            .unwrap_or_default();
        Holder {
            user: User::service_account(),
            client,
            limits: None,
        }
    }

    pub(super) fn issue_access(&mut self, holder: Holder, replaces: Option<String>) -> String {
        let now = Instant::now();
        self.tokens
            .access
            .retain(|_, access| access.expires_at > now);
        let token = self.ids.secret();
        let expires_at = now + self.config.token_lifetime;
        let access = Access {
            holder,
            expires_at,
            used: false,
            replaces,
        };
        self.tokens.access.insert(token.clone(), access);
        token
    }

    /// A token that ends with the one it was made from at the latest.
    pub(super) fn issue_within(&mut self, holder: Holder, subject: &str) -> String {
        let token = self.issue_access(holder, None);
        let end = self.tokens.access.get(subject).map(|own| own.expires_at);
        if let Some((made, end)) = self.tokens.access.get_mut(&token).zip(end) {
            made.expires_at = made.expires_at.min(end);
        }
        token
    }

    pub(super) fn issue_pair(
        &mut self,
        holder: Holder,
        replaces: Option<String>,
    ) -> (String, String) {
        let access = self.issue_access(holder.clone(), replaces);
        let token = self.ids.secret();
        let refresh = Refresh {
            holder,
            access: access.clone(),
            spent_for: None,
        };
        self.tokens.refresh.insert(token.clone(), refresh);
        (access, token)
    }

    pub(super) fn issue_code(&mut self) -> String {
        let client = self.own().client;
        self.issue_code_for(&client)
    }

    pub(super) fn issue_code_for(&mut self, client: &str) -> String {
        let mut holder = self.own();
        holder.client = client.to_owned();
        let code = self.ids.secret();
        self.tokens
            .codes
            .insert(code.clone(), (holder, Instant::now() + CODE_LIFETIME));
        code
    }
}

fn refresh(state: &mut State, client: &str, token: &str) -> Outcome {
    let invalid = || Refused::oauth("invalid_grant", "Invalid refresh token");
    let known = state
        .tokens
        .refresh
        .get(token)
        .filter(|known| known.holder.client == client);
    let known = known.ok_or_else(invalid)?;
    let Some(successor) = known.spent_for.clone() else {
        let (holder, old) = (known.holder.clone(), known.access.clone());
        let (access, refresh) = state.issue_pair(holder, Some(old));
        if let Some(spent) = state.tokens.refresh.get_mut(token) {
            spent.spent_for = Some(refresh.clone());
        }
        return Ok(grant(state, &access, Some(&refresh), Vec::new()));
    };
    let again = state
        .tokens
        .refresh
        .get(&successor)
        .filter(|_| state.config.refresh_grace);
    let access = again.map(|pair| pair.access.clone()).filter(|access| {
        state
            .tokens
            .access
            .get(access)
            .is_some_and(|access| !access.used)
    });
    let access = access.ok_or_else(invalid)?;
    Ok(grant(state, &access, Some(&successor), Vec::new()))
}

fn client_credentials(state: &mut State, form: &Form) -> Outcome {
    // For this grant Box says `invalid_grant` of everything, a wrong secret included.
    let invalid = || Refused::oauth("invalid_grant", "Grant credentials are invalid");
    let client = known_client(state, form).map_err(|_| invalid())?;
    let subject = form.value("box_subject_id");
    let user = match form.value("box_subject_type") {
        "enterprise" if subject == state.config.enterprise => User::service_account(),
        "user" => state.user(subject).cloned().ok_or_else(invalid)?,
        _ => return Err(invalid()),
    };
    let holder = Holder {
        user,
        client,
        limits: None,
    };
    let access = state.issue_access(holder, None);
    Ok(grant(state, &access, None, Vec::new()))
}

fn known_client(state: &State, form: &Form) -> Result<String, Refused> {
    let (id, secret) = (form.value("client_id"), form.value("client_secret"));
    let mut clients = state.config.clients.iter();
    clients
        .find(|(known, known_secret)| known == id && known_secret.expose_secret() == secret)
        .map(|(known, _)| known.clone())
        .ok_or_else(|| Refused::oauth("invalid_client", "The client credentials are invalid"))
}

/// An application that no admin has authorized.
pub(super) fn unauthorized() -> Outcome {
    let reason = "This app is not authorized by the enterprise admin";
    Err(Refused::oauth("unauthorized_client", reason))
}

/// Seconds since 1970 by this Box's clock.
pub(super) fn box_second(state: &State) -> i64 {
    state.now().as_second()
}

pub(super) fn grant(
    state: &State,
    access: &str,
    refresh: Option<&str>,
    restricted_to: Vec<Value>,
) -> Answer {
    let left = state.tokens.access.get(access).map(|access| {
        access
            .expires_at
            .saturating_duration_since(Instant::now())
            .as_secs_f64()
            .round()
    });
    let mut body = json!({
        "access_token": access,
        "expires_in": left.unwrap_or_default() as u64,
        "token_type": "bearer",
        "restricted_to": restricted_to,
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    Answer::json(200, &body)
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("access", &self.access.len())
            .field("refresh", &self.refresh.len())
            .finish_non_exhaustive()
    }
}
