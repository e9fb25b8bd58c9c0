//! Box as a list of answers, which also checks what it was asked.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use box_client::{BoxClient, BoxClientBuilder, DeveloperToken, OAuth, RetryPolicy, TokenSource};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

use crate::spec;

pub(crate) const TOKEN: &str = "token-of-the-developer";

/// Box on loopback. Every request has to be one that was foreseen and one that Box documents.
pub(crate) struct Vendor {
    server: MockServer,
    foreseen: AtomicUsize,
}

impl Vendor {
    pub(crate) async fn start() -> Self {
        Self {
            server: MockServer::start().await,
            foreseen: AtomicUsize::new(0),
        }
    }

    /// These answers, one after the other, to exactly as many requests.
    pub(crate) async fn answers(
        &self,
        verb: &str,
        at: &str,
        answers: impl IntoIterator<Item = ResponseTemplate>,
    ) {
        let answers = InTurn::new(answers);
        self.responds(verb, at, answers.list.len(), answers).await;
    }

    pub(crate) async fn responds(
        &self,
        verb: &str,
        at: &str,
        times: usize,
        respond: impl Respond + 'static,
    ) {
        self.foreseen.fetch_add(times, Ordering::Relaxed);
        Mock::given(method(verb))
            .and(path(at))
            .respond_with(respond)
            .expect(times as u64)
            .mount(&self.server)
            .await;
    }

    /// A client with a token that cannot be renewed.
    pub(crate) fn client(&self) -> BoxClient {
        self.client_of(DeveloperToken::new(TOKEN))
    }

    pub(crate) fn client_of(&self, tokens: impl TokenSource) -> BoxClient {
        self.builder(tokens).build().unwrap()
    }

    pub(crate) fn builder(&self, tokens: impl TokenSource) -> BoxClientBuilder {
        BoxClient::builder(tokens)
            .base_url(&self.server.uri())
            .retry(quick())
    }

    pub(crate) fn oauth(&self, secret: &str) -> OAuth {
        OAuth::builder("the-client", secret)
            .base_url(&self.server.uri())
            .retry(quick())
            .build()
            .unwrap()
    }

    pub(crate) async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }

    /// The one request that came.
    pub(crate) async fn request(&self) -> Request {
        let mut requests = self.requests().await;
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// To be called at the end of each test.
    pub(crate) async fn done(self) {
        let requests = self.requests().await;
        self.server.verify().await;
        assert_eq!(
            requests.len(),
            self.foreseen.load(Ordering::Relaxed),
            "requests that nobody foresaw: {requests:?}"
        );
        spec::check(&requests);
    }
}

struct InTurn {
    list: Vec<ResponseTemplate>,
    next: AtomicUsize,
}

impl InTurn {
    fn new(answers: impl IntoIterator<Item = ResponseTemplate>) -> Self {
        Self {
            list: answers.into_iter().collect(),
            next: AtomicUsize::new(0),
        }
    }
}

impl Respond for InTurn {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let turn = self.next.fetch_add(1, Ordering::SeqCst);
        self.list.get(turn).cloned().unwrap_or_else(|| status(418))
    }
}

/// Patient in number, not in time.
pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy::default().delays(Duration::from_millis(1), Duration::from_millis(2))
}

pub(crate) fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

pub(crate) fn reply(code: u16, body: Value) -> ResponseTemplate {
    status(code).set_body_json(body)
}

/// Box's standard error body.
pub(crate) fn error(status: u16, code: &str) -> ResponseTemplate {
    reply(
        status,
        json!({
            "type": "error", "status": status, "code": code, "context_info": null,
            "help_url": "http://developers.box.com/docs/#errors",
            "message": "as the code says", "request_id": "7xk2",
        }),
    )
}

/// The token endpoint's.
pub(crate) fn refusal(error: &str, description: &str) -> ResponseTemplate {
    reply(
        400,
        json!({ "error": error, "error_description": description }),
    )
}

/// What Box says to a token that it does not take.
pub(crate) fn bad_token() -> ResponseTemplate {
    status(401).insert_header(
        "www-authenticate",
        r#"Bearer realm="Service", error="invalid_token", error_description="The access token provided is invalid.""#,
    )
}

pub(crate) fn file() -> Value {
    json!({ "type": "file", "id": "777", "etag": "1", "name": "nda.pdf" })
}

pub(crate) fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .get(name)
        .map(|value| value.to_str().unwrap())
}

/// The fields of a form.
pub(crate) fn form(request: &Request) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&request.body)
        .into_owned()
        .collect()
}
