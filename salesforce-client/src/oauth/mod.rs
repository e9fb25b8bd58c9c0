//! Logging in, and looking after tokens: the endpoints of OAuth besides the one for calls.

mod app;
mod authorize;
mod introspect;
#[cfg(feature = "login")]
mod loopback;
mod sfdx;

pub(crate) use self::app::endpoint_url;
#[cfg(feature = "login")]
pub use self::loopback::LoopbackRedirect;
pub use self::{
    app::{OAuthApp, OAuthAppBuilder},
    authorize::{AuthorizationCode, Authorize, LoginError, PendingLogin},
    introspect::{Introspected, Introspection},
    sfdx::{SfdxAuthUrl, SfdxAuthUrlError},
};
