//! One request whose body is sent as it comes, as often as that is safe and possible.

use std::{ops::Range, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, header::CONTENT_LENGTH};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, debug};

use super::{
    body::{Body, Frame, Progress},
    content::Content,
};
use crate::{
    call::Call,
    error::{Error, ErrorKind, Result},
    observe::Watch,
    token::AccessToken,
    transport::{Transport, Whole, broken, may_repeat, wants_new_token},
};

/// An answer names a file.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

pub(super) struct Exchange<'a> {
    pub(super) transport: &'a Transport,
    pub(super) call: Call,
    pub(super) frame: Frame,
    pub(super) content: &'a Content,
    pub(super) range: Range<u64>,
    /// Whether the bytes are to be hashed on their way.
    pub(super) hashed: bool,
}

/// What came of an exchange, with the SHA-1 of what was sent if it was sent whole.
pub(super) struct Exchanged {
    pub(super) answer: Result<Whole>,
    pub(super) sha1: Option<String>,
}

impl Exchange<'_> {
    /// A new attempt is made where the content can be had again and the one before had no effect,
    /// or may have had it twice.
    pub(super) async fn run(&self) -> Exchanged {
        let watch = Watch::new(self.call.operation);
        let attempts = self.attempts(&watch);
        let exchanged = attempts.instrument(watch.span()).await;
        watch.ended(&exchanged.answer);
        exchanged
    }

    async fn attempts(&self, watch: &Watch) -> Exchanged {
        let policy = self.transport.retry();
        let mut waits = policy.waits();
        let mut patience = policy.deadline;
        let mut renewed = false;
        let mut attempts = 0;
        loop {
            let token = match self.permitted(&mut patience).await {
                Ok(token) => token,
                Err(error) => return Exchanged::without_hash(error.after(attempts)),
            };
            attempts += 1;
            watch.attempt(attempts);
            let progress = Progress::new();
            let error = match self.attempt(watch, &token, &progress).await {
                Ok(answer) => {
                    return Exchanged {
                        answer: Ok(answer),
                        sha1: progress.sha1(),
                    };
                }
                Err(error) => error,
            };
            watch.failed(&error);
            self.transport.sender.gate.shut(&error);
            let is_lasting = self.content.is_lasting();
            let token_is_over = wants_new_token(&error);
            if token_is_over {
                self.transport.caller.tokens.reject(&token);
            }
            if token_is_over && is_lasting && !renewed {
                renewed = true;
                continue;
            }
            let wait = (is_lasting && error.is_retryable() && may_repeat(&self.call, &error))
                .then(|| waits.next())
                .flatten()
                .map(|wait| error.retry_after().map_or(wait, |asked| asked.max(wait)))
                .filter(|wait| *wait < patience);
            let Some(wait) = wait else {
                let error = if token_is_over && !renewed {
                    error
                        .token_was_over()
                        .detail("the token had ended: send the content again")
                } else {
                    error
                };
                return Exchanged {
                    answer: Err(error.after(attempts)),
                    sha1: progress.sha1(),
                };
            };
            debug!(operation = self.call.operation, attempts, ?wait, %error, "trying again");
            // Only waits count: how long a body may take as a whole has no limit.
            patience -= wait;
            tokio::time::sleep(wait).await;
        }
    }

    /// A token, once Box lets calls like this one go on.
    async fn permitted(&self, patience: &mut Duration) -> Result<AccessToken> {
        let operation = self.call.operation;
        let began = Instant::now();
        let left = || patience.saturating_sub(began.elapsed());
        self.transport.sender.gate.pass(operation, left).await?;
        *patience = left();
        timeout(*patience, self.transport.caller.tokens.token())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, operation))
            .map_err(|late| late.detail("there was no token in time"))?
            // Nothing of this call was sent, whatever became of the login.
            .map_err(Error::incomplete)
    }

    async fn attempt(
        &self,
        watch: &Watch,
        token: &AccessToken,
        progress: &Arc<Progress>,
    ) -> Result<Whole> {
        let operation = self.call.operation;
        let sender = &self.transport.sender;
        let content = self
            .content
            .open(operation, self.range.clone(), sender.idle)
            .await?;
        let _abandoned = AbandonOnDrop(Arc::clone(progress));
        let size = self.range.end - self.range.start;
        let body = Body::new(
            &self.frame,
            content,
            size,
            self.hashed,
            Arc::clone(progress),
        );
        let mut request = sender.request(
            &self.call,
            Some(token),
            self.transport.caller.as_user.as_ref(),
        )?;
        let frame = (self.frame.head.len() + self.frame.tail.len()) as u64;
        request.headers_mut().insert(
            CONTENT_LENGTH,
            HeaderValue::from(size.saturating_add(frame)),
        );
        *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
        let mut answer = pin!(sender.http.execute(request));
        let answer = loop {
            // Each piece that goes out puts off how long to wait.
            let Some(patience) = progress.patience(sender.idle) else {
                break answer.await.map_err(|cause| broken(operation, cause));
            };
            match timeout_at(patience, &mut answer).await {
                Ok(answer) => break answer.map_err(|cause| broken(operation, cause)),
                Err(_) if progress.patience(sender.idle) <= Some(Instant::now()) => {
                    break Err(Error::new(ErrorKind::Timeout, operation).sent());
                }
                Err(_) => {}
            }
        };
        if let Some(cause) = progress.take_failure() {
            return Err(Error::new(ErrorKind::Content, operation).cause(cause));
        }
        let judged = match answer {
            Ok(response) => match sender.judge(operation, response).await {
                Ok(reply) => {
                    watch.answered(&reply);
                    reply.whole(ANSWER_LIMIT).await
                }
                Err(error) => Err(error),
            },
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
}

impl Exchanged {
    fn without_hash(error: Error) -> Self {
        Self {
            answer: Err(error),
            sha1: None,
        }
    }
}

struct AbandonOnDrop(Arc<Progress>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
