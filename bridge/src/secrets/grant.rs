//! The clients' grants, kept as secrets.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Serialize};

use super::{SecretError, SecretErrorKind, SecretName, SecretStore, Swap, Versioned};

const LOAD: &str = "load a grant";
const STORE: &str = "store a grant";

/// One grant in a [`SecretStore`]: the `TokenStore` of a client whose refresh token may be used
/// once, and which several processes share.
///
/// ```
/// # #[cfg(feature = "box")]
/// # fn example(
/// #     secrets: std::sync::Arc<dyn bridge::secrets::SecretStore>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use bridge::secrets::{GrantStore, SecretName};
///
/// let store = GrantStore::new(secrets, SecretName::new("box")?);
/// let grant = box_client::RefreshToken::new("client id", "client secret", store);
/// let client = box_client::BoxClient::builder(grant).build()?;
/// # drop(client);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GrantStore {
    secrets: Arc<dyn SecretStore>,
    name: SecretName,
}

impl GrantStore {
    /// The grant of this name.
    pub fn new(secrets: Arc<dyn SecretStore>, name: SecretName) -> Self {
        Self { secrets, name }
    }

    async fn read(&self) -> Result<Option<(Written, u64)>, SecretError> {
        let Some(Versioned { version, secret }) = self.secrets.load(&self.name).await? else {
            return Ok(None);
        };
        // The cause would quote the grant.
        let written = serde_json::from_str(secret.expose_secret()).map_err(|_| {
            SecretError::new(SecretErrorKind::Foreign, LOAD)
                .at(self.name.as_str())
                .with_cause("the secret of this name is no grant")
        })?;
        Ok(Some((written, version)))
    }

    /// Whether it was stored.
    async fn write(&self, expected: u64, written: &Written) -> Result<bool, SecretError> {
        let seen = (expected != 0).then_some(expected);
        let swap = self
            .secrets
            .compare_and_swap(&self.name, seen, written.to_secret()?)
            .await?;
        Ok(matches!(swap, Swap::Swapped(_)))
    }
}

#[cfg(feature = "box")]
#[async_trait]
impl box_client::TokenStore for GrantStore {
    async fn load(&self) -> Result<Option<box_client::Stored>, box_client::TokenStoreError> {
        let stored = self.read().await?.map(|(written, version)| {
            let mut grant = box_client::Grant::new(written.refresh_token);
            grant.access_token = written.access_token;
            grant.expires_at = written.expires_at;
            box_client::Stored { grant, version }
        });
        Ok(stored)
    }

    async fn compare_and_swap(
        &self,
        expected: u64,
        grant: box_client::Grant,
    ) -> Result<box_client::Swap, box_client::TokenStoreError> {
        let written = Written {
            refresh_token: grant.refresh_token,
            access_token: grant.access_token,
            expires_at: grant.expires_at,
            issued_at: None,
            instance_url: None,
        };
        Ok(match self.write(expected, &written).await? {
            true => box_client::Swap::Stored,
            false => box_client::Swap::Conflict,
        })
    }

    async fn lease(
        &self,
        holder: &str,
        hold: Duration,
    ) -> Result<bool, box_client::TokenStoreError> {
        Ok(self.secrets.lease(&self.name, holder, hold).await?)
    }

    async fn release(&self, holder: &str) -> Result<(), box_client::TokenStoreError> {
        Ok(self.secrets.release(&self.name, holder).await?)
    }
}

#[cfg(feature = "salesforce")]
#[async_trait]
impl salesforce_client::TokenStore for GrantStore {
    async fn load(
        &self,
    ) -> Result<Option<salesforce_client::Stored>, salesforce_client::TokenStoreError> {
        let stored = self.read().await?.map(|(written, version)| {
            let mut grant = salesforce_client::Grant::new(written.refresh_token);
            grant.access_token = written.access_token;
            grant.issued_at = written.issued_at;
            grant.instance_url = written.instance_url;
            salesforce_client::Stored { grant, version }
        });
        Ok(stored)
    }

    async fn compare_and_swap(
        &self,
        expected: u64,
        grant: salesforce_client::Grant,
    ) -> Result<salesforce_client::Swap, salesforce_client::TokenStoreError> {
        let written = Written {
            refresh_token: grant.refresh_token,
            access_token: grant.access_token,
            expires_at: None,
            issued_at: grant.issued_at,
            instance_url: grant.instance_url,
        };
        Ok(match self.write(expected, &written).await? {
            true => salesforce_client::Swap::Stored,
            false => salesforce_client::Swap::Conflict,
        })
    }

    async fn lease(
        &self,
        hold: Duration,
    ) -> Result<Option<salesforce_client::Lease>, salesforce_client::TokenStoreError> {
        // Each lease has an owner of its own: nobody takes it for another.
        let owner = format!("{}/{:032x}", std::process::id(), fastrand::u128(..));
        let taken = self.secrets.lease(&self.name, &owner, hold).await?;
        Ok(taken.then(|| salesforce_client::Lease::new(owner)))
    }

    async fn renew(
        &self,
        lease: &salesforce_client::Lease,
        hold: Duration,
    ) -> Result<(), salesforce_client::TokenStoreError> {
        // An owner that asks again has it for longer; where another has it, it stays his.
        let renewed = self.secrets.lease(&self.name, lease.as_str(), hold).await;
        renewed.map(drop).map_err(Into::into)
    }

    async fn release(
        &self,
        lease: salesforce_client::Lease,
    ) -> Result<(), salesforce_client::TokenStoreError> {
        Ok(self.secrets.release(&self.name, lease.as_str()).await?)
    }
}

/// A grant of either vendor as text.
#[derive(Deserialize)]
struct Written {
    refresh_token: SecretString,
    access_token: Option<SecretString>,
    expires_at: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    instance_url: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    refresh_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_url: Option<&'a str>,
}

impl Written {
    fn to_secret(&self) -> Result<SecretString, SecretError> {
        let shown = Shown {
            refresh_token: self.refresh_token.expose_secret(),
            access_token: self.access_token.as_ref().map(ExposeSecret::expose_secret),
            expires_at: self.expires_at,
            issued_at: self.issued_at,
            instance_url: self.instance_url.as_deref(),
        };
        // Room for all of it, so that no part of it is left behind by growing.
        let secrets = shown.refresh_token.len() + shown.access_token.map_or(0, str::len);
        let mut text = Zeroizing::new(Vec::with_capacity(2 * secrets + 1024));
        let failed = || SecretError::new(SecretErrorKind::Refused, STORE);
        serde_json::to_writer(&mut *text, &shown).map_err(|_| failed())?;
        let text = std::str::from_utf8(&text).map_err(|_| failed())?;
        Ok(SecretString::from(text))
    }
}
