//! The client and how it is set up.

use std::{fmt, sync::Arc, time::Duration};

use http::Method;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{
    ApiUsage, Files, Opportunities, Query, RawRequest, RetryPolicy, SObjects, Soql, TokenSource,
    error::{Error, ErrorKind, Result},
    transport::{Sender, Transport},
};

/// A client of one Salesforce org.
///
/// Immutable and cheap to clone: clones share connections and the token. All calls take `&self`.
#[derive(Clone)]
pub struct SalesforceClient {
    transport: Arc<Transport>,
}

impl SalesforceClient {
    /// A client that logs in at `https://login.salesforce.com` by `tokens`.
    pub fn new(tokens: impl TokenSource) -> Result<Self> {
        Self::builder(tokens).build()
    }

    /// A client to set up further.
    pub fn builder(tokens: impl TokenSource) -> SalesforceClientBuilder {
        SalesforceClientBuilder {
            tokens: Arc::new(tokens),
            http: None,
            login_url: "https://login.salesforce.com".to_owned(),
            api_version: "58.0".to_owned(),
            retry: RetryPolicy::default(),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            upload_answer: Duration::from_secs(600),
            // Below the shortest session timeout that an admin can set, 15 minutes.
            token_lifetime: Duration::from_secs(13 * 60),
        }
    }

    /// The records of one object, such as `Task` or `Invoice__c`.
    pub fn sobject<'a>(&'a self, name: &'a str) -> SObjects<'a> {
        SObjects::new(&self.transport, name)
    }

    /// A query whose rows are read as `T`.
    pub fn query<T: DeserializeOwned + Send + 'static>(&self, soql: Soql) -> Query<'_, T> {
        Query::new(&self.transport, soql)
    }

    /// Files: their versions, their bytes, and the records that they are shown on.
    pub fn files(&self) -> Files<'_> {
        Files::new(&self.transport)
    }

    /// Opportunities and their stages.
    pub fn opportunities(&self) -> Opportunities<'_> {
        Opportunities::new(&self.transport)
    }

    /// How much of the org's calls of 24 hours is used, as the latest answer told.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        self.transport.usage()
    }

    /// Any call that this crate does not model, with the same token, retries and errors. `path`
    /// follows `/services/data/vNN.0`, or begins with `/services/` itself.
    pub fn request(&self, method: Method, path: &str) -> RawRequest<'_> {
        RawRequest::new(&self.transport, method, path)
    }
}

impl fmt::Debug for SalesforceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SalesforceClient")
            .field("data", &self.transport.data())
            .finish_non_exhaustive()
    }
}

/// A client that is being set up.
#[must_use]
#[derive(Debug)]
pub struct SalesforceClientBuilder {
    tokens: Arc<dyn TokenSource>,
    http: Option<reqwest::Client>,
    login_url: String,
    api_version: String,
    retry: RetryPolicy,
    connect: Duration,
    idle: Duration,
    upload_answer: Duration,
    token_lifetime: Duration,
}

impl SalesforceClientBuilder {
    /// Where to log in: `https://test.salesforce.com` for sandboxes, or the org's My Domain.
    pub fn login_url(mut self, url: impl Into<String>) -> Self {
        self.login_url = url.into();
        self
    }

    /// Another version of the API than 58.0, as `67.0`.
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = version.into();
        self
    }

    /// How patient the client is.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long the client waits for a connection, 10 s unless set. Has no effect on a client
    /// given by [`http`](Self::http).
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect = timeout;
        self
    }

    /// How long an answer may stay away, and how long a body may pause in either direction, 60 s
    /// unless set. There is no limit on how long a body may take as a whole.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = timeout;
        self
    }

    /// How long the answer to a whole upload may stay away: 10 minutes unless set, which is how
    /// long Salesforce works on a call at most.
    pub fn upload_answer_timeout(mut self, timeout: Duration) -> Self {
        self.upload_answer = timeout;
        self
    }

    /// How long a token is used before a new one is fetched: 13 minutes unless set. Salesforce
    /// tells no lifetime; an org's shortest session timeout is 15 minutes.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// An HTTP client of your own, for proxies, certificates or shared connections.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// The client.
    pub fn build(self) -> Result<SalesforceClient> {
        let bad = |detail| Error::new(ErrorKind::Config, "build").detail(detail);
        let login = Url::parse(&self.login_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none())
            .ok_or_else(|| bad("the login URL must be http or https, without a query"))?;
        let is_version = self
            .api_version
            .split_once('.')
            .is_some_and(|(major, minor)| {
                minor == "0" && major.parse::<u16>().is_ok_and(|major| major >= 31)
            });
        if !is_version {
            return Err(bad(
                "the API version must be written 58.0, and be 31.0 or newer",
            ));
        }
        let http = match self.http {
            Some(http) => http,
            None => reqwest::Client::builder()
                .connect_timeout(self.connect)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!(
                    "salesforce-api-client/",
                    env!("CARGO_PKG_VERSION"),
                    " (Rust)"
                ))
                .build()
                .map_err(|cause| bad("no HTTP client").cause(cause))?,
        };
        let sender = Sender {
            http,
            login,
            data: format!("/services/data/v{}", self.api_version),
            retry: self.retry,
            idle: self.idle,
            upload_answer: self.upload_answer,
            token_lifetime: self.token_lifetime,
            usage: std::sync::Mutex::new(None),
        };
        Ok(SalesforceClient {
            transport: Arc::new(Transport::new(sender, self.tokens)),
        })
    }
}
