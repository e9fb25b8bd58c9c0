use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::refusal::Refusal;

/// Registered apps, living sessions and refresh tokens.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) clients: BTreeMap<String, String>,
    pub(super) approvals: Vec<Approval>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) grants: HashMap<String, Grant>,
    /// Refresh tokens that were rotated away, with the next ones.
    spent: HashMap<String, String>,
    /// Codes of logins that came back and were not yet exchanged.
    pub(super) codes: HashMap<String, Code>,
    /// Where the apps' logins may come back to.
    pub(super) redirect_uris: Vec<(String, String)>,
    /// Tokens of another identity provider that can be traded in.
    pub(super) subjects: Vec<String>,
    issued: u64,
}

/// A user that an app may act as by JWT.
pub(super) struct Approval {
    pub(super) client: String,
    pub(super) username: String,
    pub(super) user: String,
    pub(super) public_key: Vec<u8>,
}

pub(super) struct Session {
    pub(super) user: String,
    number: u64,
    pub(super) issued: Timestamp,
    pub(super) used: Timestamp,
    pub(super) refresh_token: Option<String>,
    /// Whether its scopes open the API.
    opens_api: bool,
}

pub(super) struct Grant {
    pub(super) user: String,
    /// Absent for a token that was issued by the handle: any app may use it.
    pub(super) client: Option<String>,
    /// Which approval it came of; rotation does not change that.
    number: u64,
    /// Whether its scopes open the API.
    opens_api: bool,
}

pub(super) struct Code {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) scopes: String,
    pub(super) issued: Timestamp,
}

const SESSIONS_AT_MOST: usize = 10_000;
const APPROVALS_AT_MOST: usize = 5;

impl Auth {
    pub(super) fn add_client(&mut self, id: String, secret: String) {
        self.clients.insert(id, secret);
    }

    pub(super) fn approve(
        &mut self,
        client: String,
        username: String,
        user: String,
        public_key: Vec<u8>,
    ) {
        self.clients.entry(client.clone()).or_default();
        self.approvals.push(Approval {
            client,
            username,
            user,
            public_key,
        });
    }

    /// Opens a session and gives back its token.
    pub(super) fn open_session(
        &mut self,
        org_id: &str,
        user: &str,
        refresh_token: Option<&str>,
        now: Timestamp,
    ) -> String {
        if self.sessions.len() >= SESSIONS_AT_MOST {
            let oldest = self
                .sessions
                .iter()
                .min_by_key(|(_, session)| session.number);
            if let Some(oldest) = oldest.map(|(token, _)| token.clone()) {
                self.sessions.remove(&oldest);
            }
        }
        let token = format!("{}!AQ{}", &org_id[..15], self.secret());
        let grant = refresh_token.and_then(|token| self.grants.get(token));
        let session = Session {
            user: user.to_owned(),
            number: self.issued,
            issued: now,
            used: now,
            opens_api: grant.is_none_or(|grant| grant.opens_api),
            refresh_token: refresh_token.map(str::to_owned),
        };
        self.sessions.insert(token.clone(), session);
        token
    }

    pub(super) fn grant(&mut self, user: &str, client: Option<&str>) -> String {
        let token = format!("5Aep861{}", self.secret());
        let grant = Grant {
            user: user.to_owned(),
            client: client.map(str::to_owned),
            number: self.issued,
            opens_api: true,
        };
        self.grants.insert(token.clone(), grant);
        token
    }

    /// Grants what a user has approved. A user has so many approvals of one app: the next one ends
    /// the oldest, with all sessions that came of it.
    pub(super) fn grant_approved(&mut self, user: &str, client: &str) -> String {
        let own = |grant: &Grant| grant.user == user && grant.client.as_deref() == Some(client);
        let own = self.grants.iter().filter(|(_, grant)| own(grant));
        let mut own: Vec<_> = own.map(|(token, grant)| (grant.number, token)).collect();
        own.sort_unstable();
        let ended = own.len().saturating_sub(APPROVALS_AT_MOST - 1);
        let ended = own.into_iter().take(ended);
        let ended: Vec<String> = ended.map(|(_, token)| token.clone()).collect();
        for token in ended {
            self.end(&token);
        }
        self.grant(user, Some(client))
    }

    fn end(&mut self, refresh_token: &str) {
        self.grants.remove(refresh_token);
        self.sessions
            .retain(|_, session| session.refresh_token.as_deref() != Some(refresh_token));
    }

    /// Puts another refresh token in the place of this one.
    pub(super) fn rotate(&mut self, spent: &str, user: &str, client: &str) -> String {
        let before = self.grants.remove(spent);
        let next = self.grant(user, Some(client));
        if let (Some(before), Some(grant)) = (before, self.grants.get_mut(&next)) {
            (grant.number, grant.opens_api) = (before.number, before.opens_api);
        }
        if self.spent.len() >= SESSIONS_AT_MOST {
            self.spent.clear();
        }
        self.spent.insert(spent.to_owned(), next.clone());
        next
    }

    /// Ends all that came of a refresh token which somebody uses although it was rotated away, and
    /// tells whether it was.
    pub(super) fn end_family(&mut self, reused: &str) -> bool {
        if !self.spent.contains_key(reused) {
            return false;
        }
        let mut first = reused.to_owned();
        while let Some(before) = self.spent.iter().find(|(_, next)| **next == first) {
            first.clone_from(before.0);
        }
        let mut next = Some(first);
        while let Some(token) = next {
            self.end(&token);
            next = self.spent.remove(&token);
        }
        true
    }

    /// Narrows a session, and the grant that it came of, to other things than the API.
    pub(super) fn close_api(&mut self, token: &str) {
        let Some(session) = self.sessions.get_mut(token) else {
            return;
        };
        session.opens_api = false;
        let refresh_token = session.refresh_token.as_ref();
        if let Some(grant) = refresh_token.and_then(|token| self.grants.get_mut(token)) {
            grant.opens_api = false;
        }
    }

    /// Keeps a login until its code is exchanged.
    pub(super) fn remember(&mut self, login: Code) -> String {
        let code = format!("aPrx{}==", self.secret());
        self.codes.insert(code.clone(), login);
        code
    }

    /// The user of a living session that opens the API.
    pub(super) fn authorize(
        &mut self,
        authorization: Option<&str>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let user = self.authenticate(authorization, lifetime, now)?;
        let session = bearer(authorization).and_then(|token| self.sessions.get(token));
        if session.is_some_and(|session| session.opens_api) {
            return Ok(user);
        }
        let text = "This session is not valid for use with the REST API";
        Err(Refusal::new(401, "INVALID_SESSION_ID", text))
    }

    /// The user of a living session, whose life this prolongs.
    pub(super) fn authenticate(
        &mut self,
        authorization: Option<&str>,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, Refusal> {
        let token = bearer(authorization).ok_or_else(Refusal::session)?;
        let session = self.sessions.get_mut(token).ok_or_else(Refusal::session)?;
        if now.duration_since(session.used).unsigned_abs() > lifetime {
            self.sessions.remove(token);
            return Err(Refusal::session());
        }
        session.used = now;
        Ok(session.user.clone())
    }

    pub(super) fn is_living(&self, token: &str, lifetime: Duration) -> bool {
        let idle = |session: &Session| Timestamp::now().duration_since(session.used);
        let session = self.sessions.get(token);
        self.grants.contains_key(token)
            || session.is_some_and(|session| idle(session).unsigned_abs() <= lifetime)
    }

    pub(super) fn expire(&mut self, authorization: Option<&str>) {
        if let Some(token) = bearer(authorization) {
            self.sessions.remove(token);
        }
    }

    pub(super) fn expire_all(&mut self) {
        self.sessions.clear();
    }

    /// Unique, and not to be guessed from another run.
    fn secret(&mut self) -> String {
        self.issued += 1;
        format!(
            "{:016x}{:016x}.{}",
            fastrand::u64(..),
            fastrand::u64(..),
            self.issued
        )
    }
}

fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    let known = ["Bearer", "OAuth"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme));
    known.then(|| token.trim())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn use_prolongs_a_session_and_idleness_ends_it() {
        let mut auth = Auth::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let token = auth.open_session("00D5g0000000001EAA", "user", None, at(0));
        let header = format!("Bearer {token}");
        let mut asked = |second| {
            auth.authenticate(Some(&header), Duration::from_secs(10), at(second))
                .is_ok()
        };
        assert!(asked(10));
        assert!(asked(20), "ten seconds after the last use");
        assert!(!asked(31));
        assert!(!asked(32), "it does not come back");
    }
}
