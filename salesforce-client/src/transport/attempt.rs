//! One attempt at a call: its request, its body as it goes out, and the wait for its answer.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Sender,
    reply::{Reply, broken},
};
use crate::{
    call::{Auth, Call},
    error::{Error, ErrorKind, Result},
    pulse::Pulse,
    token::AccessToken,
};

/// A body of this size takes its time to go out, which is no silence.
const SLOW_BODY: usize = 1024 * 1024;
/// In which pieces such a body is handed to the connection.
const PIECE: usize = 64 * 1024;
/// Salesforce's limit for the URI, and for the URI with all headers.
const HEAD_LIMIT: usize = 16_384;
/// What the HTTP library adds to a head: its name, the host, what it accepts.
const HEAD_RESERVE: usize = 256;

impl Sender {
    pub(super) async fn attempt(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
        left: Duration,
    ) -> Result<Reply> {
        let mut request = self.request(call, token)?;
        // An answer that must not be lost is waited for as long as Salesforce works on a call.
        let answer = match call.single_use {
            true => self.upload_answer,
            false => self.idle.min(left),
        };
        let body = call.body.clone().unwrap_or_default();
        let response = if body.len() < SLOW_BODY {
            *request.body_mut() = call.body.clone().map(Into::into);
            timeout(answer, self.http.execute(request))
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, call.operation).sent())?
                .map_err(|cause| broken(call.operation, cause))?
        } else {
            let length = HeaderValue::from(body.len());
            request.headers_mut().insert(CONTENT_LENGTH, length);
            let pieces = stream::unfold(body, |mut body| async move {
                let piece = body.split_to(PIECE.min(body.len()));
                (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), body))
            });
            self.stream(call.operation, request, pieces, answer).await?
        };
        self.judge(call.operation, response).await
    }

    /// Sends a request with these pieces as its body. `answer` is how long the answer to the whole
    /// may stay away.
    pub(crate) async fn stream<S, E>(
        &self,
        operation: &'static str,
        mut request: reqwest::Request,
        pieces: S,
        answer: Duration,
    ) -> Result<reqwest::Response>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let pulse = Pulse::new();
        let body = pulse.beating(pieces);
        *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
        self.paced(operation, request, &pulse, answer).await
    }

    /// Sends a request whose body goes out piece by piece: the idle timeout is one for each piece,
    /// and `answer` is how long the answer to the whole may stay away.
    pub(crate) async fn paced(
        &self,
        operation: &'static str,
        request: reqwest::Request,
        pulse: &Pulse,
        answer: Duration,
    ) -> Result<reqwest::Response> {
        let mut answered = pin!(self.http.execute(request));
        loop {
            // The body can become whole meanwhile, which changes how long to wait.
            let look = Instant::now() + self.idle.min(answer);
            let look = look.min(pulse.patience(self.idle, answer));
            if let Ok(answered) = timeout_at(look, &mut answered).await {
                return answered.map_err(|cause| broken(operation, cause));
            }
            if pulse.patience(self.idle, answer) <= Instant::now() {
                return Err(Error::new(ErrorKind::Timeout, operation).sent());
            }
        }
    }

    /// The request without its body.
    pub(crate) fn request(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
    ) -> Result<reqwest::Request> {
        let base = token.map_or(&self.login, AccessToken::base);
        let mut request = reqwest::Request::new(call.method.clone(), call.url(base)?);
        let headers = request.headers_mut();
        *headers = call.headers.clone();
        if let Some(token) = token {
            match call.auth {
                Auth::Session => {
                    headers.insert(HeaderName::from_static("x-sfdc-session"), token.session()?)
                }
                _ => headers.insert(AUTHORIZATION, token.bearer().clone()),
            };
            if let Some(options) = &self.call_options {
                headers.insert(
                    HeaderName::from_static("sforce-call-options"),
                    options.clone(),
                );
            }
        }
        let headers: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if request.url().as_str().len() + headers + HEAD_RESERVE > HEAD_LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, call.operation)
                .detail("URL and headers are longer than the 16,384 bytes that Salesforce takes"));
        }
        Ok(request)
    }
}
