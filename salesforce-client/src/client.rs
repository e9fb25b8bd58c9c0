//! The client and how it is set up.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::{HeaderValue, Method};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    AccessToken, ApiUsage, ApiVersion, Batch, Composite, CompositeAnswers, DescribeGlobal, Files,
    Governor, Limits, Opportunities, OrgVersion, Priority, Query, QueryCursor, RawRequest,
    RecordCount, RetryPolicy, SObject, SObjects, Search, Soql, Tasks, TokenSource, Tooling,
    call::Call,
    error::{Error, ErrorKind, Result},
    limits::LatestUsage,
    token::{Refusal, http_url},
    transport::{Sender, Transport},
};

/// Longer than anybody waits, and well within what a clock can count.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

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
            api_version: ApiVersion::default().to_string(),
            client_name: None,
            retry: RetryPolicy::default(),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            upload_answer: Duration::from_secs(600),
            // Below the shortest session timeout that an admin can set, 15 minutes.
            token_lifetime: Duration::from_secs(13 * 60),
            governor: None,
        }
    }

    /// The records of one object, such as `Task` or `Invoice__c`, as maps of their fields.
    pub fn sobject<'a>(&'a self, name: &'a str) -> SObjects<'a> {
        SObjects::new(&self.transport, name)
    }

    /// The records of one object, read as `T`.
    pub fn records<T: SObject>(&self) -> SObjects<'_, T> {
        SObjects::new(&self.transport, T::NAME)
    }

    /// A query whose rows are read as `T`.
    pub fn query<T: DeserializeOwned>(&self, soql: impl Into<Soql>) -> Query<T> {
        Query::new(&self.transport, soql.into())
    }

    /// The rest of a query from where a page of it ended, be it in this process or another. The
    /// server forgets it after a while: `INVALID_QUERY_LOCATOR` then, and the query starts again.
    pub fn resume<T: DeserializeOwned>(&self, cursor: QueryCursor) -> Query<T> {
        Query::resume(&self.transport, cursor)
    }

    /// A search for words in many objects at once.
    pub fn search(&self, words: impl Into<String>) -> Search {
        Search::new(&self.transport, words.into())
    }

    /// All objects of the org that the user may see, in short.
    pub async fn describe_global(&self) -> Result<DescribeGlobal> {
        let call = self
            .transport
            .call("describe_global", Method::GET, &["sobjects"]);
        self.transport.json(&call).await
    }

    /// The same; `None` when no object was changed after this time, in whole seconds.
    pub async fn describe_global_if_modified_since(
        &self,
        at: Timestamp,
    ) -> Result<Option<DescribeGlobal>> {
        let call = self
            .transport
            .call("describe_global", Method::GET, &["sobjects"]);
        crate::sobjects::if_modified_since(&self.transport, call, at).await
    }

    /// A search in Salesforce's own language, `FIND {…} IN … RETURNING …`. What comes from people
    /// is better left to [`search`](Self::search), which takes words for words.
    ///
    /// Vendor: SOQL and SOSL Reference.
    pub async fn sosl<T: DeserializeOwned>(&self, sosl: &str) -> Result<Vec<T>> {
        crate::search::sosl(&self.transport, sosl).await
    }

    /// The org's limits and what is left of them. The call itself counts; the usage of calls alone
    /// comes with every answer: [`api_usage`](Self::api_usage).
    pub async fn limits(&self) -> Result<Limits> {
        let call = self.transport.call("limits", Method::GET, &["limits"]);
        self.transport.json(&call).await
    }

    /// About how many records these objects have. Those without records are left out.
    pub async fn record_counts(&self, objects: &[&str]) -> Result<Vec<RecordCount>> {
        crate::org_limits::record_counts(&self.transport, objects).await
    }

    /// The newest version of the API that the org has and this crate can use.
    pub async fn latest_version(&self) -> Result<ApiVersion> {
        let versions = self.versions().await?;
        let usable = versions.iter().filter_map(OrgVersion::usable);
        usable.max().ok_or_else(|| {
            Error::new(ErrorKind::Decode, "versions").detail("the org has no version to use")
        })
    }

    /// Files: their versions, their bytes, and the records that they are shown on.
    pub fn files(&self) -> Files<'_> {
        Files::new(&self.transport)
    }

    /// Many rows at once, as jobs.
    pub fn bulk(&self) -> crate::bulk::Bulk<'_> {
        crate::bulk::Bulk::new(&self.transport)
    }

    /// Events as they happen, to be set up.
    #[cfg(feature = "pubsub")]
    pub fn pubsub(&self) -> crate::pubsub::PubSubBuilder {
        crate::pubsub::PubSubBuilder::new(&self.transport)
    }

    /// Tasks.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks::new(&self.transport)
    }

    /// Fields of an integration's own, and the right to them.
    pub fn tooling(&self) -> Tooling<'_> {
        Tooling::new(&self.transport)
    }

    /// Opportunities and their stages.
    pub fn opportunities(&self) -> Opportunities<'_> {
        Opportunities::new(&self.transport)
    }

    /// The token that calls go with now, and the org's host: for a link to a record, or for another
    /// library that is to use the same session. It is fetched if there is none.
    pub async fn access_token(&self) -> Result<AccessToken> {
        self.transport.tokens.token().await
    }

    /// The same client for calls of another version of the API, such as
    /// [`latest_version`](Self::latest_version) gives it. They share connections and the token.
    pub fn with_api_version(&self, version: ApiVersion) -> Self {
        Self {
            transport: Arc::new(self.transport.with_data(data_path(version))),
        }
    }

    /// The same client for calls of another urgency, which its [`Governor`] heeds.
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self {
            transport: Arc::new(self.transport.with_priority(priority)),
        }
    }

    pub(crate) fn sender(&self) -> Arc<Sender> {
        Arc::clone(&self.transport.sender)
    }

    /// How much of the org's calls of 24 hours is used, as the latest answer told.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        self.transport.sender.usage.get()
    }

    /// The versions of the API that the org has, oldest first.
    pub async fn versions(&self) -> Result<Vec<OrgVersion>> {
        let call = Call::new("versions", Method::GET, "/services/data", &[]);
        self.transport.json(&call).await
    }

    /// Up to 25 calls in one, of which later ones can use what earlier ones gave.
    pub fn composite(&self) -> Composite {
        Composite::new(&self.transport)
    }

    /// Up to 25 calls in one, none of which knows of the others. Each counts.
    pub fn batch(&self) -> Batch {
        Batch::new(&self.transport)
    }

    /// Several composites in one call: each succeeds as a whole or not at all, whatever becomes of
    /// the others. Together they have up to 500 parts.
    ///
    /// Vendor: REST API Developer Guide, "Composite Graph".
    pub async fn graphs(
        &self,
        graphs: impl IntoIterator<Item = Composite>,
    ) -> Result<Vec<Result<CompositeAnswers>>> {
        crate::composite::graphs(&self.transport, graphs.into_iter().collect()).await
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
            .field("login", &self.transport.sender.login.as_str())
            .field("data", &self.transport.data)
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
    client_name: Option<String>,
    retry: RetryPolicy,
    connect: Duration,
    idle: Duration,
    upload_answer: Duration,
    token_lifetime: Duration,
    governor: Option<Governor>,
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

    /// The program's name, which Change Data Capture gives back with its own changes
    /// (`Sforce-Call-Options`).
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
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
        self.connect = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// How long an answer may stay away, and how long a body may pause in either direction, 60 s
    /// unless set. There is no limit on how long a body may take as a whole.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// How long the answer to a whole upload may stay away: 10 minutes unless set, which is how
    /// long Salesforce works on a call at most.
    pub fn upload_answer_timeout(mut self, timeout: Duration) -> Self {
        self.upload_answer = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// How long a token is used before a new one is fetched: 13 minutes unless set. Salesforce
    /// tells no lifetime; an org's shortest session timeout is 15 minutes.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Keeps the client's calls within bounds, together with those of all other clients that have
    /// the same governor.
    pub fn governor(mut self, governor: &Governor) -> Self {
        self.governor = Some(governor.clone());
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
        let login = http_url(&self.login_url).ok_or_else(|| {
            bad("the login URL must be http or https, without a user, a query or a fragment")
        })?;
        if login.path().contains("/services/") {
            return Err(bad("the login URL ends before /services/oauth2"));
        }
        self.tokens.check(login.as_str().trim_end_matches('/'))?;
        let version: ApiVersion = self.api_version.parse().map_err(|cause| {
            bad("the API version must be written 58.0, and be 31.0 or newer").cause(cause)
        })?;
        let call_options = self.client_name.as_deref().map(call_options).transpose()?;
        let http = match self.http {
            Some(http) => http,
            None => reqwest::Client::builder()
                .connect_timeout(self.connect)
                // A connection that the other side has closed meanwhile loses the call on it, and
                // a lost create is not repeated.
                .pool_idle_timeout(Duration::from_secs(30))
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
            call_options,
            retry: self.retry,
            idle: self.idle,
            upload_answer: self.upload_answer,
            token_lifetime: self.token_lifetime,
            usage: LatestUsage::default(),
            governor: self.governor,
            refusal: Refusal::default(),
            no_idempotency: AtomicBool::new(false),
        };
        Ok(SalesforceClient {
            transport: Arc::new(Transport::new(sender, data_path(version), self.tokens)),
        })
    }
}

fn data_path(version: ApiVersion) -> String {
    format!("/services/data/v{version}")
}

fn call_options(client_name: &str) -> Result<HeaderValue> {
    let separates = |c: char| matches!(c, ',' | ';' | '=') || !c.is_ascii_graphic();
    let legal = !client_name.is_empty() && !client_name.contains(separates);
    legal
        .then(|| HeaderValue::try_from(format!("client={client_name}")).ok())
        .flatten()
        .ok_or_else(|| {
            Error::new(ErrorKind::Config, "build")
                .detail("the client's name must be one word of plain characters")
        })
}
