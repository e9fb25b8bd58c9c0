use std::{fmt, str::FromStr};

use secrecy::{ExposeSecret, SecretString};

use crate::{Grant, RefreshToken, TokenStore, token::http_url};

/// The app of the Salesforce CLI, which a URL without an app means.
const CLI: &str = "PlatformCLI";

/// A login that the Salesforce CLI has exported: `force://<app>:<secret>:<refresh token>@<host>`,
/// or `force://<refresh token>@<host>` for the CLI's own app.
///
/// ```
/// # use salesforce_client::SfdxAuthUrl;
/// let url: SfdxAuthUrl = "force://PlatformCLI::5Aep861x@acme.my.salesforce.com".parse()?;
/// assert_eq!(url.instance_url(), "https://acme.my.salesforce.com");
/// # Ok::<_, salesforce_client::SfdxAuthUrlError>(())
/// ```
///
/// Vendor: Salesforce CLI Command Reference, "org login sfdx-url".
#[derive(Clone)]
pub struct SfdxAuthUrl {
    client_id: String,
    client_secret: Option<SecretString>,
    refresh_token: SecretString,
    instance_url: String,
}

/// The text is not such a URL. Which part is wrong is told, and nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SfdxAuthUrlError {
    /// It does not begin with `force://`.
    #[error("an sfdxAuthUrl begins with force://")]
    Scheme,
    /// There is no host, or none that can be one.
    #[error("an sfdxAuthUrl ends with @ and the org's host")]
    Host,
    /// Before the host there are neither one nor three parts.
    #[error("an sfdxAuthUrl has a refresh token, or an app, a secret and a refresh token")]
    Parts,
    /// A part is empty, or has characters that it cannot have.
    #[error("a part of the sfdxAuthUrl is empty or has characters that it cannot have")]
    Characters,
}

impl FromStr for SfdxAuthUrl {
    type Err = SfdxAuthUrlError;

    fn from_str(text: &str) -> Result<Self, SfdxAuthUrlError> {
        let rest = text.trim().strip_prefix("force://");
        let rest = rest.ok_or(SfdxAuthUrlError::Scheme)?;
        let (parts, host) = rest.rsplit_once('@').ok_or(SfdxAuthUrlError::Host)?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        // The CLI has written hosts with their scheme, too.
        let host = host.strip_prefix("https://").unwrap_or(host);
        let host = host.trim_end_matches('/');
        if host.is_empty() || !host.chars().all(is_host) {
            return Err(SfdxAuthUrlError::Host);
        }
        let instance_url = format!("https://{host}");
        http_url(&instance_url).ok_or(SfdxAuthUrlError::Host)?;
        let parts: Vec<&str> = parts.split(':').collect();
        let (client_id, client_secret, refresh_token) = match parts[..] {
            [refresh_token] => (CLI, "", refresh_token),
            [client_id, client_secret, refresh_token] => (client_id, client_secret, refresh_token),
            _ => return Err(SfdxAuthUrlError::Parts),
        };
        let is_part = |part: &str| {
            let part = part.trim_end_matches('=');
            let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !part.is_empty() && part.chars().all(legal)
        };
        let has_secret = !client_secret.is_empty();
        if !is_part(client_id) || !is_part(refresh_token) || (has_secret && !is_part(client_secret))
        {
            return Err(SfdxAuthUrlError::Characters);
        }
        Ok(Self {
            client_id: client_id.to_owned(),
            client_secret: has_secret.then(|| client_secret.into()),
            refresh_token: refresh_token.into(),
            instance_url,
        })
    }
}

impl SfdxAuthUrl {
    /// The consumer key of the app.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The org's host, which is the login URL for this grant as well.
    pub fn instance_url(&self) -> &str {
        &self.instance_url
    }

    /// The grant, to be stored.
    pub fn grant(&self) -> Grant {
        Grant::new(self.refresh_token.expose_secret())
    }

    /// Tokens of the app, with its grant in this store, which holds [`grant`](Self::grant) or what
    /// became of it.
    pub fn tokens(&self, store: impl TokenStore) -> RefreshToken {
        RefreshToken::new(self.client_id.clone(), self.client_secret.clone(), store)
    }
}

impl fmt::Debug for SfdxAuthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SfdxAuthUrl")
            .field("client_id", &self.client_id)
            .field("instance_url", &self.instance_url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read_and_neither_shows_its_secrets() {
        let whole =
            "force://3MVG9.key==:s3cret:5Aep861.tok_en==@acme--dev.sandbox.my.salesforce.com";
        let url: SfdxAuthUrl = whole.parse().unwrap();
        assert_eq!(url.client_id(), "3MVG9.key==");
        assert_eq!(
            url.client_secret.as_ref().unwrap().expose_secret(),
            "s3cret"
        );
        assert_eq!(
            url.grant().refresh_token.expose_secret(),
            "5Aep861.tok_en=="
        );
        let shown = format!("{url:?} {:?}", url.grant());
        assert!(
            !shown.contains("s3cret") && !shown.contains("5Aep861"),
            "{shown}"
        );
        let short: SfdxAuthUrl = "force://5Aep@https://acme.my.salesforce.com/\n"
            .parse()
            .unwrap();
        assert_eq!(
            (short.client_id(), short.client_secret.is_none()),
            (CLI, true)
        );
        assert_eq!(short.instance_url(), "https://acme.my.salesforce.com");
    }

    #[test]
    fn what_is_no_such_url_is_told_apart() {
        use SfdxAuthUrlError::*;
        for (text, error) in [
            ("https://a:b:c@host", Scheme),
            ("force://token", Host),
            ("force://token@", Host),
            ("force://token@host/path", Host),
            ("force://a:b@host", Parts),
            ("force://a:b:c:d@host", Parts),
            ("force://@host", Characters),
            ("force://a::@host", Characters),
            ("force://a b@host", Characters),
        ] {
            assert_eq!(text.parse::<SfdxAuthUrl>().unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String) {
            let _ = text.parse::<SfdxAuthUrl>();
            let _ = format!("force://{text}").parse::<SfdxAuthUrl>();
        }
    }
}
