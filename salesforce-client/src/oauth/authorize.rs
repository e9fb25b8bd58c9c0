use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use crate::error::{Error, ErrorKind, Result};

/// Salesforce speaks of 128 bytes, RFC 7636 allows 128 characters: this gives exactly those.
const VERIFIER_BYTES: usize = 96;
const STATE_BYTES: usize = 32;

/// A login that is being set up. From [`OAuthApp::authorize`](super::OAuthApp::authorize).
#[must_use]
#[derive(Clone, Debug)]
pub struct Authorize {
    url: Url,
    client_id: String,
    redirect_uri: String,
    scopes: String,
    prompt: Option<String>,
    login_hint: Option<String>,
}

impl Authorize {
    pub(super) fn new(url: Url, client_id: String, redirect_uri: String) -> Self {
        Self {
            url,
            client_id,
            redirect_uri,
            scopes: "api refresh_token".to_owned(),
            prompt: None,
            login_hint: None,
        }
    }

    /// Other scopes than `api` and `refresh_token`. `full` brings no refresh token by itself.
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.join(" ");
        self
    }

    /// What to ask of the person in any case, such as `login consent`.
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// The user name to fill in.
    pub fn login_hint(mut self, username: impl Into<String>) -> Self {
        self.login_hint = Some(username.into());
        self
    }

    /// The login, with secrets of its own.
    pub fn begin(self) -> Result<PendingLogin> {
        let redirect = Url::parse(&self.redirect_uri).map_err(|cause| {
            Error::new(ErrorKind::Config, "authorize")
                .detail("the redirect URI is no URL")
                .cause(cause)
        })?;
        if redirect.fragment().is_some() {
            return Err(
                Error::new(ErrorKind::Config, "authorize").detail("a redirect URI has no fragment")
            );
        }
        let verifier = random(VERIFIER_BYTES)?;
        let state = random(STATE_BYTES)?;
        let mut url = self.url;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.client_id)
                .append_pair("redirect_uri", &self.redirect_uri)
                .append_pair("scope", &self.scopes)
                .append_pair("state", &state)
                .append_pair("code_challenge", &challenge(&verifier))
                .append_pair("code_challenge_method", "S256");
            for (name, value) in [("prompt", self.prompt), ("login_hint", self.login_hint)] {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
        }
        Ok(PendingLogin {
            url,
            redirect_uri: self.redirect_uri,
            state: state.into(),
            verifier: verifier.into(),
        })
    }
}

/// A login that waits for the person to come back. It belongs to one browser: keep it where that
/// browser's session is kept, as [`to_secret`](Self::to_secret) where that is outside this process.
#[derive(Clone)]
pub struct PendingLogin {
    url: Url,
    redirect_uri: String,
    state: SecretString,
    verifier: SecretString,
}

#[derive(Deserialize, Serialize)]
struct Kept {
    url: String,
    redirect_uri: String,
    state: String,
    verifier: String,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// What a login came back with. It works once, and only together with its [`PendingLogin`].
#[derive(Clone, Debug)]
pub struct AuthorizationCode(SecretString);

/// Why a login came back without a code to use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The person, or a policy, said no. Salesforce's word for it.
    #[error("the login was refused: {0}")]
    Refused(String),
    /// The callback belongs to another login, or somebody made it up.
    #[error("the callback belongs to another login")]
    State,
    /// The callback has no code in it.
    #[error("the callback has no code")]
    NoCode,
    /// No callback came in time.
    #[error("nobody came back in time")]
    TimedOut,
    /// The callback could not be received.
    #[error("the callback could not be received: {0:?}")]
    Io(std::io::ErrorKind),
}

impl PendingLogin {
    /// The login as a text to keep while the person is away. Whoever has it can finish the login.
    pub fn to_secret(&self) -> SecretString {
        let kept = Kept {
            url: self.url.to_string(),
            redirect_uri: self.redirect_uri.clone(),
            state: self.state.expose_secret().to_owned(),
            verifier: self.verifier.expose_secret().to_owned(),
        };
        serde_json::json!(kept).to_string().into()
    }

    /// A login that was kept.
    pub fn from_secret(kept: &SecretString) -> Result<Self> {
        let bad = || Error::new(ErrorKind::Config, "authorize").detail("what was kept is no login");
        let kept: Kept = serde_json::from_str(kept.expose_secret()).map_err(|_| bad())?;
        Ok(Self {
            url: Url::parse(&kept.url).map_err(|_| bad())?,
            redirect_uri: kept.redirect_uri,
            state: kept.state.into(),
            verifier: kept.verifier.into(),
        })
    }

    /// What the person's browser is to open.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Reads the callback: the URL that the browser came back to, or its query alone.
    pub fn callback(&self, url_or_query: &str) -> Result<AuthorizationCode, LoginError> {
        let query = url_or_query
            .split_once('?')
            .map_or(url_or_query, |(_, q)| q);
        let query = query.split('#').next().unwrap_or_default();
        let (mut code, mut state, mut error) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "code" => &mut code,
                "state" => &mut state,
                "error" => &mut error,
                _ => continue,
            };
            slot.get_or_insert(value.into_owned());
        }
        // First of all: what has another state says nothing about this login.
        let is_ours = state.is_some_and(|state| same(&state, self.state.expose_secret()));
        if !is_ours {
            return Err(LoginError::State);
        }
        if let Some(error) = error {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
            let word: String = error.chars().take(40).filter(|c| is_word(*c)).collect();
            return Err(LoginError::Refused(word));
        }
        let code = code.filter(|code| !code.is_empty());
        code.map(|code| AuthorizationCode(code.into()))
            .ok_or(LoginError::NoCode)
    }

    /// Where the browser comes back to.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    pub(super) fn verifier(&self) -> &SecretString {
        &self.verifier
    }
}

impl AuthorizationCode {
    pub(super) fn secret(&self) -> &SecretString {
        &self.0
    }
}

/// In a time that does not tell how much of it is right.
fn same(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    let differ = pairs.fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && differ == 0
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

fn random(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|cause| {
        Error::new(ErrorKind::Config, "authorize")
            .detail("the system gives no random bytes")
            .cause(cause)
    })?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn login() -> PendingLogin {
        let url = Url::parse("https://login.salesforce.com/services/oauth2/authorize").unwrap();
        Authorize::new(url, "id".into(), "http://localhost:1717/callback".into())
            .begin()
            .unwrap()
    }

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        assert_eq!(login().verifier.expose_secret().len(), 128);
    }

    #[test]
    fn no_two_logins_share_a_secret_and_none_shows_it() {
        let (one, other) = (login(), login());
        assert_ne!(one.state.expose_secret(), other.state.expose_secret());
        assert_ne!(one.verifier.expose_secret(), other.verifier.expose_secret());
        assert!(!one.url().contains(one.verifier.expose_secret()));
        let shown = format!("{one:?}");
        assert!(!shown.contains(one.state.expose_secret()), "{shown}");
        assert!(!shown.contains(one.verifier.expose_secret()), "{shown}");
    }

    #[test]
    fn a_callback_is_believed_only_with_the_state_of_its_login() {
        let login = login();
        let state = login.state.expose_secret();
        let url = |query: &str| format!("http://localhost:1717/callback?{query}");
        let code = login.callback(&url(&format!("code=aPrx%3D%3D&state={state}")));
        assert_eq!(code.unwrap().secret().expose_secret(), "aPrx==");
        for (query, error) in [
            ("code=a&state=x".to_owned(), LoginError::State),
            ("code=a".to_owned(), LoginError::State),
            ("error=access_denied".to_owned(), LoginError::State),
            (String::new(), LoginError::State),
            (format!("state={state}"), LoginError::NoCode),
            (format!("state={state}&code="), LoginError::NoCode),
            (
                format!("error=access_denied&error_description=x&state={state}"),
                LoginError::Refused("access_denied".into()),
            ),
        ] {
            assert_eq!(login.callback(&url(&query)).unwrap_err(), error, "{query}");
            assert_eq!(login.callback(&query).unwrap_err(), error, "{query}");
        }
    }
}
