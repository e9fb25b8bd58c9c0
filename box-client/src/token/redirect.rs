//! What Box's authorize page sends the browser back with.

use std::io;

use secrecy::SecretString;
use url::form_urlencoded;

/// Beyond this a query is not one that Box made.
const QUERY_LIMIT: usize = 8 * 1024;

/// Why a login did not give a code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The person did not agree, or Box would not let them. `error` is Box's code, such as
    /// `access_denied`.
    #[error("Box did not authorize the application: {error}")]
    Denied {
        /// Box's code.
        error: String,
        /// Box's sentence about it.
        description: Option<String>,
    },
    /// The redirect belongs to another login, or somebody made it up: do not use its code.
    #[error("the redirect has not the state of this login")]
    WrongState,
    /// The redirect has neither a code nor an error.
    #[error("the redirect has no code")]
    NoCode,
    /// Nobody came back in time.
    #[error("nobody came back from Box's page in time")]
    TimedOut,
    /// The port for the redirect could not be had.
    #[error("the port for the redirect could not be opened")]
    Listen(#[source] io::Error),
}

/// The code in a redirect's query.
pub(super) fn code(query: &str, state: &str) -> Result<SecretString, RedirectError> {
    let query = query.strip_prefix('?').unwrap_or(query);
    if query.len() > QUERY_LIMIT {
        return Err(RedirectError::NoCode);
    }
    let value = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(name, value)| name == wanted && !value.is_empty())
            .map(|(_, value)| value.into_owned())
    };
    // The state comes first: what a stranger sends is not even looked at.
    if value("state").is_none_or(|given| given != state) {
        return Err(RedirectError::WrongState);
    }
    if let Some(error) = value("error") {
        return Err(RedirectError::Denied {
            error,
            description: value("error_description"),
        });
    }
    value("code")
        .map(SecretString::from)
        .ok_or(RedirectError::NoCode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_code_of_this_login_is_taken() {
        for query in ["code=a%2Bb&state=s", "?state=s&x=1&code=a%2Bb"] {
            assert_eq!(code(query, "s").unwrap().expose_secret(), "a+b");
        }
    }

    #[test]
    fn what_another_login_brings_is_not_looked_at() {
        for query in [
            "code=c&state=t",
            "code=c&state=",
            "code=c",
            "",
            "error=access_denied&state=t",
            "error=access_denied",
        ] {
            let refused = code(query, "s").unwrap_err();
            assert!(matches!(refused, RedirectError::WrongState), "{query}");
        }
        assert!(matches!(
            code("code=c&state=", ""),
            Err(RedirectError::WrongState)
        ));
    }

    #[test]
    fn a_denial_says_what_box_says() {
        let query = "error=access_denied&error_description=The+user+denied&state=s&code=c";
        let Err(RedirectError::Denied { error, description }) = code(query, "s") else {
            panic!("a denial");
        };
        assert_eq!(error, "access_denied");
        assert_eq!(description.as_deref(), Some("The user denied"));
        assert!(matches!(
            code("state=s&code=", "s"),
            Err(RedirectError::NoCode)
        ));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(query in ".{0,300}") {
            let _ = code(&query, "s");
        }
    }
}
