use std::{pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{
    AccessToken, Grant, Lease, Stored, Swap, TokenEndpoint, TokenReply, TokenSource, TokenStore,
};
use crate::error::{Error, ErrorKind, Result};

/// An access token that another holder of the grant left in the store is taken over only while it
/// has more than this to be used, which is more than the minute before its end in which it would
/// be renewed anyway.
const WORTH_ADOPTING: Duration = Duration::from_secs(90);

/// How long one holder of the grant keeps the others from refreshing: so long do they wait when it
/// dies meanwhile.
const HOLD: Duration = Duration::from_secs(60);
const SHORTEST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// How long the store may take to renew a lease while an answer is waited for.
const RENEWING: Duration = Duration::from_secs(1);
/// For how long a refusal holds, where nobody stores another grant.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How often the others look whether it has come to an end.
const LOOK: Duration = Duration::from_millis(100);

/// The refresh token flow. Where the app rotates refresh tokens, the next one is in the
/// [`TokenStore`] before anything relies on it; where it does not, the old one stays.
#[derive(Debug)]
pub struct RefreshToken {
    client_id: String,
    client_secret: Option<SecretString>,
    store: Arc<dyn TokenStore>,
    known: Mutex<Known>,
    hold: Duration,
}

/// What this holder of the grant knows besides the store.
#[derive(Debug, Default)]
struct Known {
    /// A grant that Salesforce gave and the store would not take. It is stored before anything
    /// else happens: it is the only copy.
    unsaved: Option<Unsaved>,
    /// A refusal that only a person can mend, and what was stored then. It is not asked for again
    /// at every call: the use of a spent token is a reason to end what lives of the grant.
    refused: Option<(u64, Instant, Error)>,
}

/// Whose turn it is.
enum Turn {
    Ours(Lease, Stored),
    /// Another holder of the grant was first, and its token is as good.
    Theirs(AccessToken),
}

#[derive(Clone, Debug)]
struct Unsaved {
    grant: Grant,
    replaces: u64,
}

impl RefreshToken {
    /// The app's consumer key, its secret where the app demands it, and where the grant is kept.
    pub fn new(
        client_id: impl Into<String>,
        client_secret: Option<SecretString>,
        store: impl TokenStore,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret,
            store: Arc::new(store),
            known: Mutex::default(),
            hold: HOLD,
        }
    }

    /// How long this holder of the grant may keep the others from refreshing, if the store knows
    /// [leases](TokenStore::lease): a minute unless set, from a second to an hour. A refresh that takes
    /// longer is not given up, as its answer is the only copy of the next refresh token: its lease
    /// is [renewed](TokenStore::renew) meanwhile. When this process dies the others wait for so
    /// long.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold.clamp(SHORTEST_HOLD, LONGEST_HOLD);
        self
    }

    async fn load(&self) -> Result<Stored> {
        let stored = self
            .store
            .load()
            .await
            .map_err(|cause| store_failed().cause(cause))?;
        stored.ok_or_else(|| {
            Error::new(ErrorKind::Auth, "token").detail("no grant is stored: log in first")
        })
    }

    /// Stores what Salesforce gave. On a conflict the stored grant wins: somebody has logged in
    /// anew or has refreshed meanwhile.
    async fn save(&self, unsaved: &mut Option<Unsaved>) -> Result<()> {
        let Some(Unsaved { grant, replaces }) = unsaved.clone() else {
            return Ok(());
        };
        self.store
            .compare_and_swap(replaces, grant)
            .await
            .map(|(Swap::Stored | Swap::Conflict)| *unsaved = None)
            .map_err(|cause| store_failed().cause(cause))
    }
}

#[async_trait]
impl TokenSource for RefreshToken {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let mut known = self.known.lock().await;
        self.save(&mut known.unsaved).await?;
        let stored = self.load().await?;
        if let Some(token) = living(&stored.grant, refused, endpoint.lifetime()) {
            return Ok(token);
        }
        if let Some((version, at, error)) = &known.refused
            && *version == stored.version
            && at.elapsed() < REMEMBERED
        {
            return Err(error.again());
        }
        let (lease, stored) = match self.turn(endpoint, refused).await? {
            Turn::Ours(lease, stored) => (lease, stored),
            Turn::Theirs(token) => return Ok(token),
        };
        let version = stored.version;
        let fetched = self
            .refresh(endpoint, refused, stored, &lease, &mut known.unsaved)
            .await;
        self.give_back(lease).await;
        known.refused = match &fetched {
            Err(error) if error.kind() == ErrorKind::Auth => {
                Some((version, Instant::now(), error.again()))
            }
            _ => None,
        };
        fetched
    }
}

impl RefreshToken {
    /// Waits for the right to refresh.
    async fn turn(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<Turn> {
        let until = Instant::now() + self.hold * 2;
        loop {
            let leased = self.store.lease(self.hold).await;
            let lease = leased.map_err(|cause| store_failed().cause(cause))?;
            // Loaded after the lease was had: what stood there before may be spent by now.
            let stored = match (self.load().await, &lease) {
                (Ok(stored), _) => stored,
                (Err(error), None) => return Err(error),
                (Err(error), Some(lease)) => {
                    self.give_back(lease.clone()).await;
                    return Err(error);
                }
            };
            if let Some(token) = living(&stored.grant, refused, endpoint.lifetime()) {
                if let Some(lease) = lease {
                    self.give_back(lease).await;
                }
                return Ok(Turn::Theirs(token));
            }
            if let Some(lease) = lease {
                return Ok(Turn::Ours(lease, stored));
            }
            if Instant::now() >= until {
                return Err(store_failed()
                    .detail("others keep the right to refresh, and none of them has refreshed"));
            }
            sleep(LOOK.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    /// The others get it in any case, when its time is over.
    async fn give_back(&self, lease: Lease) {
        if let Err(cause) = self.store.release(lease).await {
            warn!(%cause, "the right to refresh could not be given back");
        }
    }

    async fn refresh(
        &self,
        endpoint: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
        mut stored: Stored,
        lease: &Lease,
        unsaved: &mut Option<Unsaved>,
    ) -> Result<AccessToken> {
        let dead = "the refresh token is dead: log in again";
        // Twice: when the stored token turns out to be spent, somebody else may have stored the
        // next one meanwhile.
        for last in [false, true] {
            if let Some(token) = living(&stored.grant, refused, endpoint.lifetime()) {
                return Ok(token);
            }
            match self.ask(endpoint, &stored.grant, lease).await {
                Ok(reply) => {
                    // Stored before anything else is looked at: nothing may lose it.
                    let grant = Grant {
                        refresh_token: reply
                            .refresh_token
                            .clone()
                            .unwrap_or_else(|| stored.grant.refresh_token.clone()),
                        access_token: Some(reply.access_token.clone()),
                        issued_at: Some(Timestamp::now()),
                        instance_url: Some(reply.instance_url.clone()),
                    };
                    *unsaved = Some(Unsaved {
                        grant,
                        replaces: stored.version,
                    });
                    self.save(unsaved).await?;
                    return reply.access(endpoint.lifetime());
                }
                Err(error) if is_spent(&error) && !last => {
                    let spent = stored.grant.refresh_token;
                    stored = self.load().await?;
                    if stored.grant.refresh_token.expose_secret() == spent.expose_secret() {
                        return Err(error.detail(dead));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Auth, "token").detail(dead))
    }

    async fn ask(
        &self,
        endpoint: &TokenEndpoint<'_>,
        grant: &Grant,
        lease: &Lease,
    ) -> Result<TokenReply> {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", grant.refresh_token.expose_secret()),
            ("client_id", &self.client_id),
        ];
        if let Some(secret) = &self.client_secret {
            form.push(("client_secret", secret.expose_secret()));
        }
        let mut answer = pin!(endpoint.post_once(&form));
        loop {
            if let Ok(answer) = timeout(self.hold / 3, &mut answer).await {
                return answer;
            }
            let renewed = timeout(RENEWING, self.store.renew(lease, self.hold)).await;
            if let Err(cause) = renewed.unwrap_or_else(|late| Err(late.into())) {
                warn!(%cause, "the right to refresh could not be kept longer");
            }
        }
    }
}

/// The access token that another holder of the grant has left, if it is worth taking over.
fn living(grant: &Grant, refused: Option<&AccessToken>, lifetime: Duration) -> Option<AccessToken> {
    let secret = grant.access_token.clone()?;
    let age = Timestamp::now().duration_since(grant.issued_at?);
    let left = lifetime.checked_sub(Duration::try_from(age).ok()?)?;
    let token = AccessToken::new(secret, grant.instance_url.as_deref()?, Some(left)).ok()?;
    (left > WORTH_ADOPTING && !refused.is_some_and(|refused| refused.is(&token))).then_some(token)
}

fn is_spent(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    code.is_some_and(|code| code == "invalid_grant")
}

fn store_failed() -> Error {
    Error::new(ErrorKind::Store, "token")
}
