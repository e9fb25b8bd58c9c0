use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use super::{
    body::{Body, Content, Progress, content},
    encoding::Encoding,
    idempotent,
    upload::OPERATION,
};
use crate::{
    RecordId,
    api_error::ApiErrors,
    call::{Call, Repeat},
    classify::is_session_end,
    error::{Error, ErrorKind, Result},
    governor::Slot,
    pulse::Pulse,
    retry::Attempts,
    token::AccessToken,
    transport::{Reply, Transport},
};

/// An upload that is ready to be sent, as often as there is a content for it.
pub(super) struct Upload {
    pub(super) transport: Arc<Transport>,
    pub(super) call: Call,
    pub(super) encoding: Arc<Encoding>,
    pub(super) size: u64,
    /// What is sent instead to an org that takes no key.
    pub(super) otherwise: Option<Box<Upload>>,
    pub(super) reopen_if: Option<ReopenIf>,
}

/// Whether a failure of the content is worth another one.
pub(super) type ReopenIf = Arc<dyn Fn(&(dyn std::error::Error + 'static)) -> bool + Send + Sync>;

impl Upload {
    pub(super) async fn until_sent<O, F, S, E>(
        &self,
        open: O,
        attempts: &mut Attempts<'_>,
    ) -> Result<RecordId>
    where
        O: Fn() -> F + Send,
        F: Future<Output = Result<S, E>> + Send,
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut renewed = false;
        let mut this = self;
        loop {
            let ready = self.transport.ready(OPERATION, attempts.left()).await;
            let (token, slot) = ready.map_err(|error| attempts.give_up(error))?;
            let begun = attempts.begin_in_time(OPERATION);
            begun.map_err(|error| attempts.give_up(error))?;
            let began = Instant::now();
            // Opened last, so that it does not grow old in a queue.
            let sent = match open().await {
                Ok(stream) => this.attempt(&token, slot, content(stream)).await,
                Err(cause) => Err(Error::new(ErrorKind::Content, OPERATION).cause(cause)),
            };
            attempts.forget(began.elapsed());
            let error = match sent {
                Ok(id) => return Ok(id),
                Err(error) => error,
            };
            if is_session_end(&error) && !renewed {
                renewed = true;
                self.transport.tokens.reject(&token);
                continue;
            }
            if let Some(otherwise) = &this.otherwise
                && refuses_keys(&error)
                && !attempts.is_doubtful()
            {
                debug!(
                    operation = OPERATION,
                    "the org takes no key: trying without"
                );
                this = otherwise;
                continue;
            }
            let wait = match self.reopens_after(&error) {
                true => attempts.next_wait(&error),
                false => attempts.wait_after(&error, this.call.repeat),
            };
            let Some(wait) = wait else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = OPERATION, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether the content failed in a way that another one would not. Salesforce has nothing.
    fn reopens_after(&self, error: &Error) -> bool {
        let cause = std::error::Error::source(error);
        let reopens = self.reopen_if.as_ref().zip(cause);
        error.kind() == ErrorKind::Content && reopens.is_some_and(|(ask, cause)| ask(cause))
    }

    pub(super) async fn attempt(
        &self,
        token: &AccessToken,
        slot: Option<Slot>,
        content: Content,
    ) -> Result<RecordId> {
        #[derive(Deserialize)]
        struct Saved {
            id: RecordId,
        }
        let sender = &self.transport.sender;
        let exchanged = self.exchange(token, content).await;
        let reply = sender.governed(exchanged, slot).await.map_err(|error| {
            if !refuses_keys(&error) {
                return self.key_may_be_spent(error);
            }
            sender.no_idempotency.store(true, Ordering::Relaxed);
            error.detail("this org has no idempotent uploads: use another strategy")
        })?;
        if self.call.repeat == Repeat::Safe {
            let answer: Value = reply.json().await?;
            return idempotent::version_in(&self.transport, &answer).await;
        }
        let saved: Saved = reply.json().await?;
        Ok(saved.id)
    }

    async fn exchange(&self, token: &AccessToken, content: Content) -> Result<Reply> {
        let sender = &self.transport.sender;
        let progress = Progress::new();
        let _abandoned = AbandonOnDrop(progress.pulse.clone());
        let body = Body::new(
            Arc::clone(&self.encoding),
            content,
            self.size,
            Arc::clone(&progress),
        );
        let mut request = sender.request(&self.call, Some(token))?;
        *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
        let answer = sender
            .paced(OPERATION, request, &progress.pulse, sender.upload_answer)
            .await;
        if let Some(cause) = progress.take_failure() {
            return Err(Error::new(ErrorKind::Content, OPERATION).cause(cause));
        }
        let judged = match answer {
            Ok(response) => sender.judge(OPERATION, response).await,
            Err(error) => Err(error),
        };
        // What never was a whole request had no effect, whatever became of it.
        judged.map_err(|error| {
            if progress.pulse.abandon() {
                error
            } else {
                error.incomplete()
            }
        })
    }

    /// Salesforce does not say whether it keeps a refusal under a key.
    fn key_may_be_spent(&self, error: Error) -> Error {
        let is_final = !error.is_retryable() && error.kind() != ErrorKind::Auth;
        if self.call.repeat == Repeat::Safe && is_final && error.status().is_some() {
            return error.detail("the key may be spent: let the next try have attempt(1) of it");
        }
        error
    }

    /// Lets the next call have another token where this one is over, and tells where another goes
    /// without a key.
    pub(super) fn worth_again(&self, token: &AccessToken, error: Error) -> Error {
        if self.otherwise.is_some() && refuses_keys(&error) {
            return error
                .worth_another_way()
                .detail("this org has no idempotent uploads: send the content again");
        }
        if !is_session_end(&error) {
            return error;
        }
        self.transport.tokens.reject(token);
        error
            .session_ended()
            .detail("the session had ended: send the content again")
    }
}

/// Whether it is the answer of an org without the feature, which has written nothing.
fn refuses_keys(error: &Error) -> bool {
    let refuses = |api: &ApiErrors| api.says("Idempotency not supported");
    error.status() == Some(400) && error.api().is_some_and(refuses)
}

struct AbandonOnDrop(Pulse);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
