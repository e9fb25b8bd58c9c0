//! The secret store that the configuration names, and `secrets`: what people do with it.

use std::{
    io::{ErrorKind, Read},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bridge::{
    secrets::{
        AwsAuth, AwsOptions, AwsSecrets, FileSecrets, GrantStore, MemorySecrets, PostgresSecrets,
        SecretError, SecretKey, SecretName, SecretStore, VaultAuth, VaultSecrets,
    },
    store::postgres::{PostgresOptions, PostgresStore},
};
use clap::{Args, Subcommand, ValueEnum};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use crate::{
    Failure,
    config::{Config, Secret, Secrets, StoreUrl},
    in_one_line, say,
};

/// Longer than any refresh token.
const MOST_READ: u64 = 64 * 1024;
/// Shorter than any.
const SHORTEST: usize = 20;
/// How often the service may refresh the grant while it is replaced.
const ROUNDS: u32 = 10;
/// How long to wait for a service that refreshes a grant at this moment. Where it has died of it, its
/// lease is over then.
const ROTATE_WITHIN: Duration = Duration::from_secs(90);
/// The service has a pool of its own for the inbox.
const CONNECTIONS: usize = 2;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Reads a refresh token from standard input and stores it, in place of the one that is there.
    Import {
        /// Whose.
        side: Side,
    },
    /// Encrypts everything with another key. Before that write it into the configuration, with the
    /// old one as `previous_key`, and start the services anew: they read both.
    RotateKey(NewKey),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Side {
    Box,
    Salesforce,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewKey {
    /// A variable that holds the new key: 32 bytes in base64 or hexadecimal.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// A file that holds the new key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A variable that holds the new passphrase.
    #[arg(long, value_name = "NAME")]
    passphrase_env: Option<String>,
    /// A file that holds the new passphrase.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(crate) async fn run(config: &std::path::Path, command: Command) -> Result<(), Failure> {
    let config = Config::read(config)?;
    match command {
        Command::Import { side } => import(&config, side).await,
        Command::RotateKey(new) => {
            let new = new.read()?;
            is_configured(&config, &new)?;
            let rotated = match Opened::of(&config).await? {
                Opened::File(store) => store.rotate_key(new, ROTATE_WITHIN).await,
                Opened::Postgres(store) => store.rotate_key(new, ROTATE_WITHIN).await,
                Opened::Vault(_) => {
                    let problem = "secrets: Vault has its own key, see `vault operator rotate`";
                    return Err(Failure::Setup(vec![problem.to_owned()]));
                }
                Opened::Aws(_) => {
                    let problem = "secrets: KMS has the key, see `aws kms enable-key-rotation`";
                    return Err(Failure::Setup(vec![problem.to_owned()]));
                }
            };
            rotated.map_err(refused)?;
            say(
                "encrypted with the new key; services that know the old one only have to be started \
                 anew with it",
            )
        }
    }
}

/// The services could not read what is encrypted with a key that they have not been given.
fn is_configured(config: &Config, new: &SecretKey) -> Result<(), Failure> {
    let setup = |problem: String| Failure::Setup(vec![format!("secrets: {problem}")]);
    let (key, passphrase) = match &config.secrets {
        Some(secrets @ (Secrets::File { .. } | Secrets::Postgres { .. })) => secrets.key(),
        _ => return Ok(()),
    };
    match read_key(key, passphrase).map_err(setup)?.is_same(new) {
        true => Ok(()),
        false => Err(setup(
            "the configuration has not got the new key yet: write it as key (or passphrase), the old \
             one as previous_key (or previous_passphrase), start the services anew, and then rotate"
                .to_owned(),
        )),
    }
}

/// The same for a look: no file is made where there is none, for nobody has logged in yet.
pub(crate) async fn open_if_there(
    config: &Config,
) -> Result<Option<Arc<dyn SecretStore>>, Failure> {
    if let Some(secrets @ Secrets::File { path, .. }) = &config.secrets
        && !path.exists()
    {
        let (key, passphrase) = secrets.key();
        let key = read_key(key, passphrase);
        key.map_err(|problem| Failure::Setup(vec![format!("secrets: {problem}")]))?;
        return Ok(Some(Arc::new(MemorySecrets::new())));
    }
    open(config).await
}

/// The store, if somebody's grant is kept there.
pub(crate) async fn open(config: &Config) -> Result<Option<Arc<dyn SecretStore>>, Failure> {
    match config.box_grant().is_some() || config.salesforce_grant().is_some() {
        true => Ok(Some(Opened::of(config).await?.shared())),
        false => Ok(None),
    }
}

/// The grant of this name.
pub(crate) fn grant(
    secrets: Option<&Arc<dyn SecretStore>>,
    name: &str,
) -> Result<GrantStore, String> {
    let secrets = secrets.ok_or("auth: a refresh token needs [secrets] to be kept in")?;
    let name = SecretName::new(name).map_err(|error| in_one_line(&error))?;
    Ok(GrantStore::new(Arc::clone(secrets), name))
}

async fn import(config: &Config, side: Side) -> Result<(), Failure> {
    let secrets = Opened::of(config).await?.shared();
    let name = match side {
        Side::Box => config.box_grant().unwrap_or("box"),
        Side::Salesforce => config.salesforce_grant().unwrap_or("salesforce"),
    };
    let setup = |problem: String| Failure::Setup(vec![problem]);
    let store = grant(Some(&secrets), name).map_err(setup)?;
    let token = from_stdin()?;
    if let Some(problem) = is_none(side, token.expose_secret()) {
        return Err(setup(format!("standard input: {problem}")));
    }
    match side {
        Side::Box => {
            let stored = box_client::Grant::new(token).store_in(&store).await;
            stored.map_err(Failure::run)?;
        }
        Side::Salesforce => {
            store_salesforce(&store, salesforce_client::Grant::new(token)).await?;
        }
    }
    say(format!("stored as `{name}`; `check` tries it"))
}

/// In place of the one that is there.
pub(crate) async fn store_salesforce(
    store: &dyn salesforce_client::TokenStore,
    grant: salesforce_client::Grant,
) -> Result<(), Failure> {
    let failed = |error: salesforce_client::TokenStoreError| Failure::Run(in_one_line(&*error));
    for _ in 0..ROUNDS {
        let expected = store
            .load()
            .await
            .map_err(failed)?
            .map_or(0, |it| it.version);
        let swap = store.compare_and_swap(expected, grant.clone()).await;
        if swap.map_err(failed)? == salesforce_client::Swap::Stored {
            return Ok(());
        }
    }
    Err(Failure::Run(
        "the grant changed at every try to replace it".to_owned(),
    ))
}

/// What says of a text that it is no refresh token. Neither vendor says what one looks like, so this is
/// what people take for one: only the vendor itself knows whether it is good.
fn is_none(side: Side, text: &str) -> Option<&'static str> {
    let is_of_token = |c: char| c.is_ascii_graphic() && !"\"'`{}<>,".contains(c);
    if text.starts_with("http") && text.contains("://") {
        return Some("that is an address; a refresh token is what the vendor gives for its code");
    }
    if !text.chars().all(is_of_token) {
        return Some("there are characters in it that no refresh token has; give the token alone");
    }
    if text.len() < SHORTEST {
        return Some("it is too short for a refresh token");
    }
    let is_jwt = text.starts_with("eyJ") && text.matches('.').count() == 2;
    match side {
        // A session's id has the org's id before the mark.
        Side::Salesforce if text.starts_with("00D") && text.contains('!') => {
            Some("that is an access token, which ends by itself; the refresh token came beside it")
        }
        Side::Box
            if !text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)) =>
        {
            Some("there are characters in it that no refresh token of Box has")
        }
        _ if is_jwt => Some("that is a signed token, and no refresh token"),
        _ => None,
    }
}

fn from_stdin() -> Result<SecretString, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(8 * 1024));
    let problem = "standard input: give one refresh token, and nothing else";
    let refused = || Failure::Setup(vec![problem.to_owned()]);
    let read = std::io::stdin().take(MOST_READ).read_to_string(&mut text);
    read.map_err(|error| match error.kind() {
        // It is no text at all.
        ErrorKind::InvalidData => refused(),
        _ => Failure::run(error),
    })?;
    let token = text.trim_start_matches('\u{feff}').trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(refused());
    }
    Ok(SecretString::from(token))
}

pub(crate) enum Opened {
    File(FileSecrets),
    Postgres(PostgresSecrets),
    Vault(VaultSecrets),
    Aws(AwsSecrets),
}

impl Opened {
    pub(crate) async fn of(config: &Config) -> Result<Self, Failure> {
        let setup = |problem: String| Failure::Setup(vec![format!("secrets: {problem}")]);
        let Some(secrets) = &config.secrets else {
            return Err(setup(
                "there is no [secrets] in the configuration".to_owned(),
            ));
        };
        let key = || {
            let (key, passphrase) = secrets.key();
            let key = read_key(key, passphrase).map_err(setup)?;
            Ok::<_, Failure>(match secrets.previous() {
                (None, None) => key,
                (old, passphrase) => key.or_previous(read_key(old, passphrase).map_err(setup)?),
            })
        };
        let told = |error: SecretError| setup(in_one_line(&error));
        Ok(match secrets {
            Secrets::File { path, .. } => {
                Self::File(FileSecrets::open(path, key()?).await.map_err(told)?)
            }
            Secrets::Vault { .. } => Self::Vault(vault(secrets).map_err(setup)?),
            Secrets::Aws { .. } => Self::Aws(aws(secrets).await.map_err(setup)?),
            Secrets::Postgres { .. } => {
                let store = database(config).await.map_err(setup)?;
                Self::Postgres(PostgresSecrets::open(store, key()?).await.map_err(told)?)
            }
        })
    }

    pub(crate) fn shared(self) -> Arc<dyn SecretStore> {
        match self {
            Self::File(store) => Arc::new(store),
            Self::Postgres(store) => Arc::new(store),
            Self::Vault(store) => Arc::new(store),
            Self::Aws(store) => Arc::new(store),
        }
    }
}

fn vault(secrets: &Secrets) -> Result<VaultSecrets, String> {
    let Secrets::Vault {
        address,
        mount,
        folder,
        namespace,
        token,
        role_id,
        secret_id,
    } = secrets
    else {
        return Err("it is not Vault".to_owned());
    };
    let auth = match (token, role_id, secret_id) {
        (Some(token @ Secret::File(_)), _, _) => {
            let token = token.clone();
            token.read()?;
            VaultAuth::renewed(move || token.read())
        }
        (Some(token), _, _) => VaultAuth::token(token.read()?),
        (None, Some(role_id), Some(secret_id)) => VaultAuth::app_role(role_id, secret_id.read()?),
        _ => return Err("set either token, or role_id and secret_id".to_owned()),
    };
    let said = |error: SecretError| in_one_line(&error);
    let store = VaultSecrets::new(address, mount, auth).map_err(said)?;
    let store = store.folder(folder).map_err(said)?;
    match namespace {
        Some(namespace) => store.namespace(namespace).map_err(said),
        None => Ok(store),
    }
}

async fn aws(secrets: &Secrets) -> Result<AwsSecrets, String> {
    let Secrets::Aws {
        region,
        endpoint,
        folder,
        kms_key,
        access_key_id,
        secret_access_key,
        session_token,
    } = secrets
    else {
        return Err("it is not AWS".to_owned());
    };
    let auth = match (access_key_id, secret_access_key, session_token) {
        (Some(id), Some(secret), None) => AwsAuth::keys(id, secret.read()?),
        (Some(id), Some(secret), Some(token)) => {
            AwsAuth::keys(id, secret.read()?).session_token(token.read()?)
        }
        _ => AwsAuth::ambient(),
    };
    let mut options = AwsOptions::default();
    options.region.clone_from(region);
    options.endpoint.clone_from(endpoint);
    options.folder.clone_from(folder);
    options.kms_key.clone_from(kms_key);
    let store = AwsSecrets::open_with(auth, &options).await;
    store.map_err(|error| in_one_line(&error))
}

async fn database(config: &Config) -> Result<PostgresStore, String> {
    let url: SecretString = match &config.store.url {
        StoreUrl::Open(url) => url.as_str().into(),
        StoreUrl::Secret(secret) => secret.read()?,
    };
    let mut options = PostgresOptions::default();
    options.connections = CONNECTIONS;
    let store = PostgresStore::open_with(url.expose_secret(), &options).await;
    store.map_err(|error| in_one_line(&error))
}

impl NewKey {
    fn read(self) -> Result<SecretKey, Failure> {
        let place = |env: Option<String>, file: Option<PathBuf>| {
            env.map(Secret::Env).or(file.map(Secret::File))
        };
        let key = place(self.key_env, self.key_file);
        let passphrase = place(self.passphrase_env, self.passphrase_file);
        read_key(key.as_ref(), passphrase.as_ref())
            .map_err(|problem| Failure::Setup(vec![format!("the new key: {problem}")]))
    }
}

fn read_key(key: Option<&Secret>, passphrase: Option<&Secret>) -> Result<SecretKey, String> {
    let key = match (key, passphrase) {
        (Some(key), _) => SecretKey::from_text(&key.read()?),
        (None, Some(passphrase)) => SecretKey::passphrase(passphrase.read()?),
        (None, None) => return Err("set key or passphrase".to_owned()),
    };
    key.map_err(|error| in_one_line(&error))
}

fn refused(error: SecretError) -> Failure {
    Failure::Run(in_one_line(&error))
}
