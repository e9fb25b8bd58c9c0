use std::{sync::atomic::AtomicBool, time::Duration};

use http::{HeaderValue, StatusCode};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug};
use url::Url;

use super::reply::{Read, Reply, Whole};
use crate::{
    ApiUsage, RetryPolicy,
    call::{Auth, Call, Repeat},
    classify::is_session_end,
    error::{Error, ErrorKind, Result},
    governor::{Governor, Priority, Slot},
    limits::LatestUsage,
    observe::{self, Seen},
    retry::Attempts,
    token::{AccessToken, Refusal, TokenCache},
};

/// Sends calls. The token endpoint is called through a sender too, so that a refresh has the same
/// patience and the same errors as everything else.
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) login: Url,
    pub(crate) call_options: Option<HeaderValue>,
    pub(crate) retry: RetryPolicy,
    pub(crate) idle: Duration,
    pub(crate) upload_answer: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) usage: LatestUsage,
    pub(crate) governor: Option<Governor>,
    pub(crate) refusal: Refusal,
    /// Whether the org has said that it takes no `Idempotency-Key`.
    pub(crate) no_idempotency: AtomicBool,
}

impl Sender {
    pub(crate) async fn whole(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        limit: usize,
    ) -> Result<Whole> {
        let reply = self.send(call, caller, Read::Body(limit)).await?;
        Ok(reply.into_whole())
    }

    pub(super) async fn send(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        read: Read,
    ) -> Result<Reply> {
        let seen = Seen::begin(call);
        let mut attempts = match call.since {
            Some(started) => Attempts::since(&self.retry, started),
            None => Attempts::new(&self.retry),
        };
        let sent = self.until_answered(call, caller, read, &mut attempts);
        let sent = sent.instrument(seen.span.clone()).await;
        let outcome = sent.as_ref().map(|reply| reply.status().as_u16());
        seen.end(outcome, attempts.made());
        sent
    }

    async fn until_answered(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        read: Read,
        attempts: &mut Attempts<'_>,
    ) -> Result<Reply> {
        let mut renewed = false;
        loop {
            let (token, slot) = match caller.filter(|_| call.auth != Auth::None) {
                Some(caller) => {
                    let ready = self.ready(call.operation, caller, attempts.left()).await;
                    let (token, slot) = ready.map_err(|error| attempts.give_up(error))?;
                    (Some((caller.0, token)), slot)
                }
                None => (None, None),
            };
            let begun = attempts.begin_in_time(call.operation);
            begun.map_err(|error| attempts.give_up(error))?;
            let token_sent = token.as_ref().map(|(_, token)| token);
            let attempt = self.attempt(call, token_sent, attempts.left()).await;
            let answered = match self.governed(attempt, slot).await {
                Ok(reply) => reply.with_body(read).await,
                Err(error) => Err(error),
            };
            let error = match answered {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if let Some((tokens, token)) = &token
                && !renewed
                && is_session_end(&error)
            {
                renewed = true;
                tokens.reject(token);
                continue;
            }
            let repeat = match error.status() {
                // Who is not available has spent nothing.
                Some(503) if call.single_use => Repeat::Safe,
                _ => call.repeat,
            };
            let Some(wait) = attempts.wait_after(&error, repeat) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = call.operation, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits for a token and for the call's turn, where there is a governor: for `patience` at most.
    /// Without them nothing of the call was sent, whatever became of the login.
    pub(super) async fn ready(
        &self,
        operation: &'static str,
        (tokens, priority): (&TokenCache, Priority),
        patience: Duration,
    ) -> Result<(AccessToken, Option<Slot>)> {
        let begun = Instant::now();
        let late =
            |_| Err(Error::new(ErrorKind::Timeout, operation).detail("there was no token in time"));
        let token = timeout(patience, tokens.token()).await;
        let token = token.unwrap_or_else(late).map_err(Error::incomplete)?;
        let slot = match &self.governor {
            Some(governor) => {
                let left = patience.saturating_sub(begun.elapsed());
                Some(governor.admit(operation, priority, left).await?)
            }
            None => None,
        };
        Ok((token, slot))
    }

    /// Lets the governor, where there is one, know what became of an attempt, whose turn is over.
    pub(crate) async fn governed<T>(&self, outcome: Result<T>, slot: Option<Slot>) -> Result<T> {
        observe::attempted(&outcome);
        let Some(slot) = slot else {
            return outcome;
        };
        match slot.judge(outcome.as_ref().map(|_| ())).await {
            Some(wait) => outcome.map_err(|error| error.wait(Some(wait))),
            None => outcome,
        }
    }

    pub(crate) async fn judge(
        &self,
        operation: &'static str,
        response: reqwest::Response,
    ) -> Result<Reply> {
        let reply = Reply::new(operation, response, self.idle);
        if let Some(usage) = reply.header("sforce-limit-info").and_then(ApiUsage::read) {
            self.usage.set(usage);
            observe::usage(usage);
            if let Some(governor) = &self.governor {
                governor.observe(usage);
            }
        }
        debug!(operation, status = reply.status().as_u16(), "answered");
        match reply.status() {
            status if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(reply),
            _ => Err(reply.into_error().await),
        }
    }
}
