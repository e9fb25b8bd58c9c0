//! Sends the data of a job.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use http::{
    HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::part::Part;
use crate::{
    call::Call,
    classify::is_session_end,
    error::{Error, ErrorKind, Result},
    observe::Seen,
    token::AccessToken,
    transport::{Reply, Sender, Transport, broken},
};

/// Sends `part` once; once more with another token where the session had ended.
pub(super) async fn put(transport: &Transport, call: Call, part: &Part) -> Result<()> {
    let call = call
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("text/csv; charset=UTF-8"),
        )
        .header(CONTENT_LENGTH, HeaderValue::from(part.length));
    let seen = Seen::begin(&call);
    let mut attempts = 0;
    let sent = until_sent(transport, &call, part, &mut attempts);
    let sent = sent.instrument(seen.span.clone()).await;
    let outcome = sent.as_ref().map(|reply| reply.status().as_u16());
    seen.end(outcome, attempts);
    sent.map(drop)
}

async fn until_sent(
    transport: &Transport,
    call: &Call,
    part: &Part,
    attempts: &mut u32,
) -> Result<Reply> {
    let sender = &transport.sender;
    loop {
        let token = transport.tokens.token().await?;
        let mut slot = sender.admit(call.operation, transport.priority).await?;
        *attempts += 1;
        let sent = attempt(sender, call, &token, part).await;
        let outcome = sender.governed(sent).await;
        if let Some(slot) = &mut slot {
            slot.heard(outcome.as_ref().map(|_| ()));
        }
        match outcome {
            Err(error) if is_session_end(&error) && *attempts == 1 => {
                transport.tokens.reject(&token);
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(sender: &Sender, call: &Call, token: &AccessToken, part: &Part) -> Result<Reply> {
    let content = |cause| Error::new(ErrorKind::Content, call.operation).cause(cause);
    let pulse = Pulse::new();
    let (beat, end) = (pulse.clone(), pulse.clone());
    let pieces = part
        .bytes()
        .map_err(content)?
        .inspect(move |_| beat.beat(false));
    let whole = futures_util::stream::poll_fn(move |_| {
        end.beat(true);
        std::task::Poll::Ready(None)
    });
    let mut request = sender.request(call, Some(token))?;
    *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces.chain(whole)));
    let mut answer = pin!(sender.http.execute(request));
    loop {
        let patience = pulse.patience(sender.idle, sender.upload_answer);
        match timeout_at(patience, &mut answer).await {
            Ok(answer) => {
                let response = answer.map_err(|cause| broken(call.operation, cause))?;
                return sender.judge(call.operation, response).await;
            }
            // A piece has gone out meanwhile, most likely.
            Err(_) if pulse.patience(sender.idle, sender.upload_answer) > Instant::now() => {}
            Err(_) => return Err(Error::new(ErrorKind::Timeout, call.operation).sent()),
        }
    }
}

/// When the last piece went out, and whether it was the last of all.
#[derive(Clone)]
struct Pulse(Arc<Mutex<(Instant, bool)>>);

impl Pulse {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), false))))
    }

    fn beat(&self, is_whole: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_whole);
    }

    fn patience(&self, idle: Duration, answer: Duration) -> Instant {
        let (last, is_whole) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last + if is_whole { answer } else { idle }
    }
}
