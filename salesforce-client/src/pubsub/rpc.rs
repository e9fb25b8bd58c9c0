//! Calls of the service: the org's token with each, and what became of them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream;
use http::{StatusCode, uri::PathAndQuery};
use prost::Message;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::{
    sync::{OnceCell, mpsc},
    time::timeout,
};
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tracing::{Instrument, debug};

use super::proto::{FetchRequest, FetchResponse};
use crate::{
    ApiError, Query,
    call::Repeat,
    error::{Error, ErrorKind, Result},
    observe::Seen,
    retry::Attempts,
    token::AccessToken,
    transport::Transport,
};

/// Salesforce's events have 1 MB at most, and there are up to 100 to an answer.
const LARGEST_ANSWER: usize = 128 * 1024 * 1024;
/// Requests for more events that are not sent yet: there is never more than one.
const ASKED_AHEAD: usize = 4;

pub(super) struct Rpc {
    endpoint: Endpoint,
    channel: Mutex<Connected>,
    pub(super) transport: Arc<Transport>,
    tenant: OnceCell<String>,
}

/// A connection, and the how manyth it is.
#[derive(Clone)]
struct Connected {
    channel: Channel,
    number: u64,
}

/// A subscription as it runs.
pub(super) struct Feed {
    pub(super) asks: mpsc::Sender<FetchRequest>,
    pub(super) answers: Streaming<FetchResponse>,
    pub(super) token: AccessToken,
    /// Of its connection.
    pub(super) number: u64,
}

impl Connected {
    /// Within a Tokio runtime.
    fn to(endpoint: &Endpoint, number: u64) -> Self {
        Self {
            channel: endpoint.connect_lazy(),
            number,
        }
    }

    fn leave(&mut self, silent: u64, endpoint: &Endpoint) {
        if self.number == silent {
            *self = Self::to(endpoint, silent.wrapping_add(1));
        }
    }
}

impl Rpc {
    /// Within a Tokio runtime.
    pub(super) fn new(
        endpoint: Endpoint,
        transport: Arc<Transport>,
        tenant: OnceCell<String>,
    ) -> Self {
        Self {
            channel: Mutex::new(Connected::to(&endpoint, 0)),
            endpoint,
            transport,
            tenant,
        }
    }

    /// Lets later calls go over another connection. One whose calls stay without an answer can live
    /// all the same: whoever ends it on the far side says so, and what should answer behind hangs.
    /// Where others have left that one already, theirs is kept.
    pub(super) fn leave(&self, silent: u64) {
        self.connected().leave(silent, &self.endpoint);
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call with one answer. It is repeated as [`Repeat`] says, and once with another token.
    pub(super) async fn unary<Q, A>(
        &self,
        operation: &'static str,
        method: &'static str,
        message: Q,
        repeat: Repeat,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let seen = Seen::new(operation, "POST");
        let mut attempts = Attempts::new(&self.transport.sender.retry);
        let answer = self.until_answered(operation, method, message, repeat, &mut attempts);
        let answer = answer.instrument(seen.span.clone()).await;
        let outcome = answer.as_ref().map(|_: &A| StatusCode::OK.as_u16());
        seen.end(outcome, attempts.made());
        answer
    }

    async fn until_answered<Q, A>(
        &self,
        operation: &'static str,
        method: &'static str,
        message: Q,
        repeat: Repeat,
        attempts: &mut Attempts<'_>,
    ) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut renewed = false;
        loop {
            let token = self.transport.tokens.token().await;
            let token = token.map_err(|error| attempts.give_up(error.incomplete()))?;
            attempts.begin();
            let error = match self
                .attempt(operation, method, message.clone(), &token)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Auth && !renewed {
                renewed = true;
                self.transport.tokens.reject(&token);
                continue;
            }
            let Some(wait) = attempts.wait_after(&error, repeat) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt<Q, A>(
        &self,
        operation: &'static str,
        method: &'static str,
        message: Q,
        token: &AccessToken,
    ) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let request = self.request(operation, message, token).await?;
        let Connected { channel, number } = self.connected().clone();
        let call = async {
            let mut grpc = Grpc::new(channel);
            grpc.ready()
                .await
                .map_err(|cause| unreached(operation, cause))?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(request, PathAndQuery::from_static(method), codec);
            let answer = answer.await.map_err(|status| failed(operation, status))?;
            Ok(answer.into_inner())
        };
        timeout(self.transport.sender.idle, call)
            .await
            .map_err(|_| {
                self.leave(number);
                Error::new(ErrorKind::Timeout, operation).sent()
            })?
    }

    /// Opens a subscription by its first request. Nobody says whether its head comes before its
    /// first answer, so it may take as long as that.
    pub(super) async fn subscribe(
        &self,
        operation: &'static str,
        first: FetchRequest,
        silence: Duration,
    ) -> Result<Feed> {
        let token = self.transport.tokens.token().await?;
        let (asks, asked) = mpsc::channel(ASKED_AHEAD);
        let requests = stream::unfold((Some(first), asked), |(first, mut asked)| async move {
            let next = match first {
                Some(first) => first,
                None => asked.recv().await?,
            };
            Some((next, (None, asked)))
        });
        let request = self.request(operation, requests, &token).await?;
        let Connected { channel, number } = self.connected().clone();
        let call = async {
            let mut grpc = Grpc::new(channel).max_decoding_message_size(LARGEST_ANSWER);
            grpc.ready()
                .await
                .map_err(|cause| unreached(operation, cause))?;
            let path = PathAndQuery::from_static("/eventbus.v1.PubSub/Subscribe");
            let codec = ProstCodec::<FetchRequest, FetchResponse>::default();
            let answer = grpc.streaming(request, path, codec).await;
            let answer = answer.map_err(|status| failed(operation, status));
            answer.map(tonic::Response::into_inner)
        };
        let answers = match timeout(silence, call).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                if error.kind() == ErrorKind::Auth {
                    self.transport.tokens.reject(&token);
                }
                return Err(error);
            }
            Err(_) => {
                self.leave(number);
                return Err(Error::new(ErrorKind::Timeout, operation).sent());
            }
        };
        Ok(Feed {
            asks,
            answers,
            token,
            number,
        })
    }

    async fn request<M>(
        &self,
        operation: &'static str,
        message: M,
        token: &AccessToken,
    ) -> Result<Request<M>> {
        let bad = |detail| Error::new(ErrorKind::Config, operation).detail(detail);
        let ascii = |text: &str| AsciiMetadataValue::try_from(text).ok();
        let mut secret = ascii(token.secret().expose_secret())
            .ok_or_else(|| bad("the access token has characters that no header can carry"))?;
        secret.set_sensitive(true);
        let instance = ascii(token.instance_url().trim_end_matches('/'))
            .ok_or_else(|| bad("the instance URL has characters that no header can carry"))?;
        let tenant = ascii(self.tenant(token).await?)
            .ok_or_else(|| bad("the tenant id has characters that no header can carry"))?;
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("accesstoken", secret);
        metadata.insert("instanceurl", instance);
        metadata.insert("tenantid", tenant);
        Ok(request)
    }

    /// The org's id: as given, as the token begins with it, or as the org itself says.
    async fn tenant(&self, token: &AccessToken) -> Result<&str> {
        #[derive(Deserialize)]
        struct Organization {
            #[serde(rename = "Id")]
            id: String,
        }
        let found = self.tenant.get_or_try_init(|| async {
            let begin = token.secret().expose_secret().split_once('!');
            let begin = begin.map(|(begin, _)| begin);
            if let Some(id) =
                begin.filter(|id| id.starts_with("00D") && matches!(id.len(), 15 | 18))
            {
                return Ok(id.to_owned());
            }
            let soql = "SELECT Id FROM Organization LIMIT 1".into();
            let org = Query::<Organization>::new(&self.transport, soql)
                .first()
                .await?;
            org.map(|org| org.id).ok_or_else(|| {
                Error::new(ErrorKind::Config, "pubsub.tenant")
                    .detail("the org does not tell its id: set tenant_id()")
            })
        });
        found.await.map(String::as_str)
    }
}

fn unreached(operation: &'static str, cause: tonic::transport::Error) -> Error {
    Error::new(ErrorKind::Transport, operation).cause(cause)
}

/// What a status says. The code in the trailer tells more than gRPC's own.
pub(super) fn failed(operation: &'static str, status: Status) -> Error {
    let told = |metadata: &MetadataMap, name| {
        let value = metadata.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let code = told(status.metadata(), "error-code");
    let rpc_id = told(status.metadata(), "rpc-id");
    debug!(operation, code = ?status.code(), error_code = ?code, ?rpc_id, "failed");
    let (kind, detail) = kind_of(&status, code.as_deref().unwrap_or_default());
    let code = code.unwrap_or_else(|| format!("{:?}", status.code()));
    let api = ApiError::new(&code, status.message(), Vec::new());
    let error = Error::new(kind, operation).told(api.into(), detail);
    let error = if never_left(&status) {
        error
    } else {
        error.sent()
    };
    error.cause(status)
}

/// Whether there was no connection to send anything over.
fn never_left(status: &Status) -> bool {
    let first = std::error::Error::source(status);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    causes.any(|cause| cause.is::<tonic::ConnectError>())
}

fn kind_of(status: &Status, code: &str) -> (ErrorKind, &'static str) {
    let says = |text| code.contains(text);
    if says(".auth.") || status.code() == Code::Unauthenticated {
        return (ErrorKind::Auth, "the token was refused");
    }
    if says("replayid.") {
        return (
            ErrorKind::PositionLost,
            "the replay id is unknown: events are kept for 72 hours",
        );
    }
    if says("limit.exceeded") {
        return (ErrorKind::RateLimited, "a limit of the org is used up");
    }
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            (ErrorKind::Invalid, "Salesforce calls the request wrong")
        }
        Code::NotFound => (ErrorKind::NotFound, "there is no such topic or schema"),
        Code::PermissionDenied => (ErrorKind::Forbidden, "the user lacks a right"),
        Code::ResourceExhausted => (ErrorKind::RateLimited, "a limit of the org is used up"),
        Code::DeadlineExceeded => (ErrorKind::Timeout, "Salesforce's time was over"),
        Code::Unimplemented => (ErrorKind::Config, "this is no Pub/Sub API"),
        _ if std::error::Error::source(status).is_some() => {
            (ErrorKind::Transport, "the connection broke")
        }
        _ => (ErrorKind::Server, "Salesforce ended the call"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_is_left_once_however_many_waited_on_it() {
        let endpoint = Endpoint::from_static("http://localhost:1");
        let mut connected = Connected::to(&endpoint, 0);
        for _ in 0..3 {
            connected.leave(0, &endpoint);
            assert_eq!(connected.number, 1);
        }
        connected.leave(1, &endpoint);
        assert_eq!(connected.number, 2);
    }
}
