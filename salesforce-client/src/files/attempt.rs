use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
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
    retry::Attempts,
    token::AccessToken,
    transport::Transport,
    transport::{Reply, broken},
};

/// An upload that is ready to be sent, as often as there is a content for it.
pub(super) struct Upload {
    pub(super) transport: Arc<Transport>,
    pub(super) call: Call,
    pub(super) encoding: Arc<Encoding>,
    pub(super) size: u64,
    /// What is sent instead to an org that takes no key.
    pub(super) otherwise: Option<Box<Upload>>,
}

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
            let token = self.transport.tokens.token().await;
            let token = token.map_err(|error| attempts.give_up(error.incomplete()))?;
            attempts.begin();
            let began = Instant::now();
            let sent = match open().await {
                Ok(stream) => this.attempt(&token, content(stream)).await,
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
            let Some(wait) = attempts.wait_after(&error, this.call.repeat) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = OPERATION, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) async fn attempt(&self, token: &AccessToken, content: Content) -> Result<RecordId> {
        #[derive(Deserialize)]
        struct Saved {
            id: RecordId,
        }
        let sender = &self.transport.sender;
        let mut slot = sender.admit(OPERATION, self.transport.priority).await?;
        let exchanged = self.exchange(token, content).await;
        let governed = sender.governed(exchanged).await;
        if let Some(slot) = &mut slot {
            slot.heard(governed.as_ref().map(|_| ()));
        }
        let reply = governed.map_err(|error| {
            if !refuses_keys(&error) {
                return error;
            }
            sender.no_idempotency.store(true, Ordering::Relaxed);
            error.detail("this org has no idempotent uploads: use another strategy")
        })?;
        if self.call.repeat == Repeat::Safe {
            let answer: Value = reply.json().await?;
            // What may be asked next has a turn of its own.
            drop(slot);
            return idempotent::version_in(&self.transport, &answer).await;
        }
        let saved: Saved = reply.json().await?;
        Ok(saved.id)
    }

    async fn exchange(&self, token: &AccessToken, content: Content) -> Result<Reply> {
        let sender = &self.transport.sender;
        let progress = Progress::new();
        let _abandoned = AbandonOnDrop(Arc::clone(&progress));
        let body = Body::new(
            Arc::clone(&self.encoding),
            content,
            self.size,
            Arc::clone(&progress),
        );
        let mut request = sender.request(&self.call, Some(token))?;
        *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
        let mut answer = pin!(sender.http.execute(request));
        let answer = loop {
            // The body can become whole meanwhile, which changes how long to wait.
            let look = Instant::now() + sender.idle.min(sender.upload_answer);
            if let Ok(answer) = timeout_at(look, &mut answer).await {
                break answer.map_err(|cause| broken(OPERATION, cause));
            }
            if progress.patience(sender.idle, sender.upload_answer) <= Instant::now() {
                break Err(Error::new(ErrorKind::Timeout, OPERATION).sent());
            }
        };
        if let Some(cause) = progress.take_failure() {
            return Err(Error::new(ErrorKind::Content, OPERATION).cause(cause));
        }
        let judged = match answer {
            Ok(response) => sender.judge(OPERATION, response).await,
            Err(error) => Err(error),
        };
        // What never was a whole request had no effect, whatever became of it.
        judged.map_err(|error| {
            if progress.abandon() {
                error
            } else {
                error.incomplete()
            }
        })
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

struct AbandonOnDrop(Arc<Progress>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
