//! Connections: where to, by TLS or not, how many, and how long to wait for them.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{OPEN, PostgresOptions};
use crate::store_error::{StoreError, StoreErrorKind};

/// No statement of ours takes long; one that does waits for something that will not come.
const TIMEOUTS: &str = "-c statement_timeout=15s -c lock_timeout=10s";
/// What our promises rest on, whatever the database or the role has for a default: who waited for a
/// lock has to see what was committed meanwhile, and a commit has to be on disk.
const COMMITS: &str = r"-c default_transaction_isolation=read\ committed -c synchronous_commit=on";
const DEAD_PEER_AFTER: Duration = Duration::from_secs(20);

pub(super) fn config(url: &str, options: &PostgresOptions) -> Result<Config, StoreError> {
    // The cause would repeat parts of the URL, and with it perhaps the password.
    let mut config: Config = url.parse().map_err(|_| {
        incompatible("the URL is not of the form postgres://user:password@host:5432/database")
    })?;
    let options_so_far = config.get_options().unwrap_or_default().to_owned();
    config
        .application_name("box-salesforce-bridge")
        .options(format!("{TIMEOUTS} {options_so_far} {COMMITS}"))
        .connect_timeout(options.connect_timeout)
        .keepalives_idle(DEAD_PEER_AFTER)
        .tcp_user_timeout(DEAD_PEER_AFTER);
    Ok(config)
}

/// TLS as the URL asks for it: `sslmode=disable`, `prefer` (the default) or `require`. Where there
/// is TLS, the server's certificate is always verified.
pub(super) fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|cause| StoreError::new(StoreErrorKind::Unavailable, OPEN).with_cause(cause))?
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(tls))
}

pub(super) fn pool(
    config: Config,
    tls: MakeRustlsConnect,
    options: &PostgresOptions,
    connections: usize,
) -> Result<Pool, StoreError> {
    let recycle = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(config, tls, recycle);
    Pool::builder(manager)
        .max_size(connections.max(1))
        .wait_timeout(Some(options.connect_timeout))
        .create_timeout(Some(options.connect_timeout))
        .recycle_timeout(Some(options.connect_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|cause| StoreError::new(StoreErrorKind::Unavailable, OPEN).with_cause(cause))
}

/// Without TLS a password and all events would be open to whoever listens on the way.
pub(super) fn is_open_to_listeners(config: &Config) -> bool {
    use tokio_postgres::config::Host;
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_ssl_mode() != SslMode::Require && !config.get_hosts().iter().all(is_local)
}

fn incompatible(why: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Incompatible, OPEN).with_cause(why)
}
