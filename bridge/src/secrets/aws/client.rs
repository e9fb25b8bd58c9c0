//! The calls, by AWS's own SDK.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_sdk_secretsmanager::{
    Client as Sdk, Config,
    config::{
        BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::BoxError,
};
use jiff::{Timestamp, fmt::rfc2822};
use secrecy::{ExposeSecret, SecretString};
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use super::{
    OPEN, SecretError, SecretErrorKind,
    refusal::{Refusal, is},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(40);
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const MOST_PAUSE: Duration = Duration::from_secs(5);

const CURRENT: &str = "AWSCURRENT";
/// Of a version that shall become the current one. Without a label it would become that at once.
const NEXT: &str = "BRIDGENEXT";

/// How the bridge shows who it is.
pub struct AwsAuth(Auth);

enum Auth {
    Ambient,
    Keys {
        id: String,
        secret: SecretString,
        session_token: Option<SecretString>,
    },
}

impl AwsAuth {
    /// As AWS's own tools find it: from `AWS_ACCESS_KEY_ID` and its companions, the shared
    /// configuration files, a web identity (IAM roles of EKS), the container's endpoint (ECS, EKS
    /// Pod Identity) or the instance's metadata, whichever is there first. Temporary credentials
    /// are fetched anew before they end.
    ///
    /// Vendor: <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
    pub fn ambient() -> Self {
        Self(Auth::Ambient)
    }

    /// An access key. Neither the environment nor a file is read.
    pub fn keys(id: impl Into<String>, secret: SecretString) -> Self {
        Self(Auth::Keys {
            id: id.into(),
            secret,
            session_token: None,
        })
    }

    /// The token that goes with temporary keys. It has no meaning for others.
    #[must_use]
    pub fn session_token(mut self, token: SecretString) -> Self {
        if let Auth::Keys { session_token, .. } = &mut self.0 {
            *session_token = Some(token);
        }
        self
    }
}

impl fmt::Debug for AwsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Auth::Ambient => "Ambient",
            Auth::Keys { .. } => "Keys",
        })
    }
}

/// What may be set about the place where secrets are.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AwsOptions {
    /// The region. [`AwsAuth::ambient`] finds it unless it is set; keys need it.
    pub region: Option<String>,
    /// Where Secrets Manager is asked, such as a VPC endpoint, unless at the region's own address.
    pub endpoint: Option<String>,
    /// What the names of the secrets start with: `bridge` unless set.
    pub folder: String,
    /// The id, ARN or alias of the KMS key that secrets are made with: `aws/secretsmanager` unless
    /// set. Secrets that are there keep theirs.
    pub kms_key: Option<String>,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            folder: "bridge".to_owned(),
            kms_key: None,
        }
    }
}

#[derive(Clone)]
pub(super) struct Client {
    sdk: Sdk,
    region: String,
    kms_key: Option<String>,
}

/// The version that has the label `AWSCURRENT`.
pub(super) struct Current {
    pub(super) id: String,
    pub(super) text: SecretString,
    /// By AWS's clock.
    pub(super) age: Duration,
}

impl Client {
    pub(super) async fn new(auth: AwsAuth, options: &AwsOptions) -> Result<Self, SecretError> {
        let region = options.region.clone().map(Region::new);
        let mut config = match auth.0 {
            Auth::Ambient => {
                let mut found = aws_config::defaults(behaviour());
                if let Some(region) = region {
                    found = found.region(region);
                }
                Config::from(&quietly(found.load()).await).to_builder()
            }
            Auth::Keys {
                id,
                secret,
                session_token,
            } => {
                let token = session_token.map(|it| it.expose_secret().to_owned());
                let secret = secret.expose_secret();
                let keys = Credentials::new(id, secret, token, None, "bridge");
                Config::builder()
                    .behavior_version(behaviour())
                    .credentials_provider(keys)
                    .region(region)
            }
        };
        config.set_retry_config(Some(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(PAUSE)
                .with_max_backoff(MOST_PAUSE),
        ));
        config.set_timeout_config(Some(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(TIMEOUT)
                .build(),
        ));
        if let Some(endpoint) = &options.endpoint {
            config.set_endpoint_url(Some(checked(endpoint)?));
        }
        let config = config.build();
        let Some(region) = config.region().map(ToString::to_string) else {
            return Err(refused("no region is known: set it, or AWS_REGION"));
        };
        Ok(Self {
            sdk: Sdk::from_conf(config),
            region,
            kms_key: options.kms_key.clone(),
        })
    }

    pub(super) async fn current(
        &self,
        doing: &'static str,
        at: &str,
    ) -> Result<Option<Current>, SecretError> {
        let date = Date::default();
        let request = self
            .sdk
            .get_secret_value()
            .secret_id(at)
            .version_stage(CURRENT);
        let request = request.customize().interceptor(date.clone());
        let answer = match quietly(request.send()).await {
            Ok(answer) => answer,
            // The secret, or a value in it.
            Err(error) if is(&error, "ResourceNotFoundException") => return Ok(None),
            Err(error) => return Err(self.refusal(doing, at).of(&error)),
        };
        let (Some(id), Some(made)) = (answer.version_id, answer.created_date) else {
            return Err(self.refusal(doing, at).no_answer());
        };
        let Some(text) = answer.secret_string else {
            return Err(super::foreign(doing, at));
        };
        let nanos = i32::try_from(made.subsec_nanos()).unwrap_or(0);
        let made = Timestamp::new(made.secs(), nanos);
        let now = date.now();
        Ok(Some(Current {
            id,
            text: text.into(),
            age: made.map_or(Duration::MAX, |made| {
                now.duration_since(made).unsigned_abs()
            }),
        }))
    }

    /// Puts a version beside the current one, unless there is no such secret. Put again under the
    /// same id it stays what it is.
    pub(super) async fn put(
        &self,
        doing: &'static str,
        at: &str,
        id: &str,
        text: &str,
    ) -> Result<bool, SecretError> {
        let request = self.sdk.put_secret_value().secret_id(at);
        let request = request.client_request_token(id).version_stages(NEXT);
        match quietly(request.secret_string(text).send()).await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, "ResourceNotFoundException") => Ok(false),
            Err(error) => Err(self.refusal(doing, at).of(&error)),
        }
    }

    /// Makes the secret, unless there is one.
    pub(super) async fn create(
        &self,
        doing: &'static str,
        at: &str,
        id: &str,
        text: &str,
    ) -> Result<bool, SecretError> {
        let request = self.sdk.create_secret().name(at).client_request_token(id);
        let request = request.set_kms_key_id(self.kms_key.clone());
        match quietly(request.secret_string(text).send()).await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, "ResourceExistsException") => Ok(false),
            Err(error) => Err(self.refusal(doing, at).of(&error)),
        }
    }

    /// Moves the label, unless it is not, or no longer, at `from`. A repeat after a lost answer is
    /// refused too: the next look tells.
    pub(super) async fn make_current(
        &self,
        doing: &'static str,
        at: &str,
        from: &str,
        to: &str,
    ) -> Result<bool, SecretError> {
        let request = self.sdk.update_secret_version_stage().secret_id(at);
        let request = request.version_stage(CURRENT).move_to_version_id(to);
        match quietly(request.remove_from_version_id(from).send()).await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, "InvalidParameterException") => Ok(false),
            Err(error) => Err(self.refusal(doing, at).of(&error)),
        }
    }

    fn refusal(&self, doing: &'static str, at: &str) -> Refusal {
        Refusal {
            doing,
            place: format!("{at} in {}", self.region),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The `Date` of the last answer, in seconds since 1970.
#[derive(Clone, Debug, Default)]
struct Date(Arc<AtomicI64>);

impl Date {
    fn now(&self) -> Timestamp {
        match self.0.load(Ordering::Relaxed) {
            0 => Timestamp::now(),
            second => Timestamp::from_second(second).unwrap_or_else(|_| Timestamp::now()),
        }
    }
}

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(date) = date.and_then(|date| rfc2822::parse(date).ok()) {
            let second = date.timestamp().as_second();
            self.0.store(second, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn behaviour() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// At its finest level the SDK logs whole requests and answers. Whether secrets show depends on
/// what it has wrapped them in, so it does not get to log.
async fn quietly<T>(call: impl Future<Output = T>) -> T {
    call.with_subscriber(NoSubscriber::default()).await
}

fn checked(endpoint: &str) -> Result<String, SecretError> {
    let plain = "the endpoint has to be such as https://vpce-1.secretsmanager.eu-central-1.vpce.amazonaws.com";
    let uri: http::Uri = endpoint.parse().map_err(|_| refused(plain))?;
    let is_plain =
        uri.authority().is_some_and(|it| !it.as_str().contains('@')) && uri.query().is_none();
    match uri.scheme_str() {
        Some("https" | "http") if is_plain => Ok(endpoint.to_owned()),
        _ => Err(refused(plain)),
    }
}

fn refused(why: &'static str) -> SecretError {
    SecretError::new(SecretErrorKind::Refused, OPEN).with_cause(why)
}
