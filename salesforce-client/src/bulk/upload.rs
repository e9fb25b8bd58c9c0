//! Sends the data of a job.

use http::{
    HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tracing::Instrument;

use super::part::Part;
use crate::{
    call::Call,
    classify::is_session_end,
    error::Result,
    observe::Seen,
    token::AccessToken,
    transport::{Reply, Sender, Transport},
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
        let ready = transport.ready(call.operation, sender.retry.deadline);
        let (token, slot) = ready.await?;
        *attempts += 1;
        let sent = attempt(sender, call, &token, part).await;
        match sender.governed(sent, slot).await {
            Err(error) if is_session_end(&error) && *attempts == 1 => {
                transport.tokens.reject(&token);
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(sender: &Sender, call: &Call, token: &AccessToken, part: &Part) -> Result<Reply> {
    let request = sender.request(call, Some(token))?;
    let answer = sender.upload_answer;
    let response = sender.stream(call.operation, request, part.bytes(), answer);
    sender.judge(call.operation, response.await?).await
}
