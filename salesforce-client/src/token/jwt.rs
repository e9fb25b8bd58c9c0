use std::fmt;

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{AccessToken, TokenEndpoint, TokenSource};
use crate::error::{Error, ErrorKind, Result};

/// Salesforce takes assertions for three minutes; this leaves ten seconds for clocks that differ.
const SECONDS: i64 = 170;

/// The JWT bearer flow: the app signs that it acts as a user who has approved it. There is no
/// refresh token; a new assertion is made each time.
pub struct JwtBearer {
    client_id: String,
    username: String,
    audience: Option<String>,
    key: RsaKeyPair,
}

impl fmt::Debug for JwtBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtBearer")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl JwtBearer {
    /// The app's consumer key, the user's name, and the RSA key of the certificate that the app
    /// has, as PEM (PKCS#8 or PKCS#1, not encrypted).
    pub fn new(
        client_id: impl Into<String>,
        username: impl Into<String>,
        private_key: &SecretString,
    ) -> Result<Self> {
        let pem = private_key.expose_secret();
        let bad = |detail| Error::new(ErrorKind::Config, "token").detail(detail);
        if pem.contains("ENCRYPTED") {
            return Err(bad(
                "the private key is encrypted; decrypt it with: openssl pkcs8 -in KEY -out PLAIN",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| bad("the private key is no PEM of PKCS#8 or PKCS#1"))?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(bad("the private key is not an RSA key")),
        };
        let key = key.map_err(|_| bad("the private key is not an RSA key of 2048 bits or more"))?;
        Ok(Self {
            client_id: client_id.into(),
            username: username.into(),
            audience: None,
            key,
        })
    }

    /// Another audience than the login URL.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The public half of the key (PKCS#1 DER), as the app's certificate has it.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    fn assertion(&self, login_url: &str, now: Timestamp) -> Result<SecretString> {
        let claims = json!({
            "iss": self.client_id,
            "sub": self.username,
            "aud": self.audience.as_deref().unwrap_or(login_url),
            "exp": now.as_second() + SECONDS,
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| Error::new(ErrorKind::Config, "token").detail("the key does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

#[async_trait]
impl TokenSource for JwtBearer {
    async fn fetch(
        &self,
        endpoint: &TokenEndpoint<'_>,
        _: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let assertion = self.assertion(endpoint.login_url(), Timestamp::now())?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.expose_secret()),
        ];
        endpoint.post(&form).await?.access(endpoint.lifetime())
    }
}
