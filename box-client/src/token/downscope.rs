use std::{fmt, sync::Arc};

use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::{AccessToken, TokenEndpoint, TokenReply, TokenSource, oauth::joined};
use crate::{
    FileId, FolderId,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// How Box's token endpoint names items, wherever the client reaches it.
const RESOURCES: &str = "https://api.box.com/2.0";

/// A token that can do less than the client's own, for a browser or another program. From
/// [`BoxClient::downscope`](crate::BoxClient::downscope).
///
/// ```no_run
/// # use box_client::{BoxClient, FileId};
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let id = FileId::new("777")?;
/// let request = client.downscope(["item_preview", "item_download"]).file(&id);
/// let preview = request.send().await?;
/// # let _ = preview.token.secret();
/// # Ok(())
/// # }
/// ```
///
/// Without a file, folder or shared link it is good for everything that the client can reach. It
/// ends with the client's own token at the latest.
///
/// Vendor: <https://developer.box.com/guides/authentication/tokens/downscope/>
#[derive(Clone)]
#[must_use = "nothing is sent before send()"]
pub struct Downscope {
    transport: Arc<Transport>,
    scope: String,
    place: Option<Place>,
}

#[derive(Clone, Debug)]
enum Place {
    Resource(String),
    SharedLink(String),
}

impl Downscope {
    pub(crate) fn new(
        transport: &Arc<Transport>,
        scopes: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Self {
        Self {
            transport: Arc::clone(transport),
            scope: joined(scopes),
            place: None,
        }
    }

    /// For this file only.
    pub fn file(self, file: &FileId) -> Self {
        self.at(Place::Resource(format!("{RESOURCES}/files/{file}")))
    }

    /// For this folder and what is in it.
    pub fn folder(self, folder: &FolderId) -> Self {
        self.at(Place::Resource(format!("{RESOURCES}/folders/{folder}")))
    }

    /// For what a shared link leads to. Of file, folder and shared link the last one given counts.
    pub fn shared_link(self, url: impl Into<String>) -> Self {
        self.at(Place::SharedLink(url.into()))
    }

    /// One such token, for which the program that gets it is told to ask again when it ends.
    pub async fn send(self) -> Result<DownscopedToken> {
        let reply = self.exchange().await?;
        Ok(DownscopedToken {
            token: reply.access(),
            restricted_to: reply.restricted_to.unwrap_or_default(),
        })
    }

    /// A source of such tokens, for a client of this crate that renews them.
    pub fn into_source(self) -> DownscopedTokens {
        DownscopedTokens(self)
    }

    fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// With a new token of the client's own if the one at hand is refused. That is documented
    /// neither as 400 nor as 401, so both are read.
    async fn exchange(&self) -> Result<TokenReply> {
        if self.scope.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "token")
                .detail("a downscoped token needs a scope at least"));
        }
        let tokens = self.transport.tokens();
        let own = tokens.token().await?;
        match self.exchange_for(&own).await {
            Err(error) if is_about_the_token(&error) => {
                tokens.reject(&own);
                let own = tokens.token().await?;
                self.exchange_for(&own).await
            }
            outcome => outcome,
        }
    }

    async fn exchange_for(&self, own: &AccessToken) -> Result<TokenReply> {
        let mut form = vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token", own.secret().expose_secret()),
            (
                "subject_token_type",
                "urn:ietf:params:oauth:token-type:access_token",
            ),
            ("scope", &self.scope),
        ];
        match &self.place {
            Some(Place::Resource(url)) => form.push(("resource", url)),
            Some(Place::SharedLink(url)) => form.push(("box_shared_link", url)),
            None => {}
        }
        self.transport.token_endpoint().post(&form).await
    }
}

impl fmt::Debug for Downscope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A shared link opens its item to whoever reads it here.
        f.debug_struct("Downscope")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What [`Downscope::send`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DownscopedToken {
    /// The token, with its life.
    pub token: AccessToken,
    /// What Box says it is good for.
    pub restricted_to: Vec<Restriction>,
}

/// One thing that a downscoped token can do.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct Restriction {
    /// The scope, such as `item_download`.
    pub scope: Option<String>,
    /// The item, if it is for one.
    pub object: Option<RestrictedItem>,
}

/// The item that a token is restricted to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestrictedItem {
    /// The item's id.
    pub id: String,
    /// `file` or `folder`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The item's name.
    pub name: Option<String>,
}

/// Downscoped tokens for as long as the client behind them has tokens. From
/// [`Downscope::into_source`].
#[derive(Clone, Debug)]
pub struct DownscopedTokens(Downscope);

#[async_trait]
impl TokenSource for DownscopedTokens {
    async fn fetch(
        &self,
        _: &TokenEndpoint<'_>,
        refused: Option<&AccessToken>,
    ) -> Result<AccessToken> {
        let token = self.0.exchange().await?.access();
        if refused.is_some_and(|refused| refused.is(&token)) {
            return Err(Error::new(ErrorKind::Auth, "token")
                .detail("Box gave the downscoped token that it refuses"));
        }
        Ok(token)
    }
}

fn is_about_the_token(error: &Error) -> bool {
    error.status() == Some(401)
        || matches!(
            error.api().and_then(|api| api.code()),
            Some("invalid_grant" | "invalid_token")
        )
}
