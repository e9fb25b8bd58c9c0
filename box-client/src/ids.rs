//! Box's ids: opaque text, told apart by what they name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The text is not an id of Box: empty, longer than 64 characters, or with characters other than
/// letters, digits, `_` and `-`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a Box id: expected 1 to 64 letters, digits, underscores or hyphens")]
pub struct IdError;

fn check(text: &str) -> Result<(), IdError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
        Ok(())
    } else {
        Err(IdError)
    }
}

/// Some guides print ids as numbers, so both are read.
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(u64),
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes an id.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The id as Box writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(text(deserializer)?).map_err(de::Error::custom)
            }
        }
    )+};
}

/// Text that guides print as a number here and there.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => text,
        TextOrNumber::Number(number) => number.to_string(),
    })
}

ids! {
    /// Names a collaboration.
    CollaborationId
    /// Names a comment.
    CommentId
    /// Names a file.
    FileId
    /// Names one version of a file.
    FileVersionId
    /// Names a folder; `0` is the root.
    FolderId
    /// Names a group.
    GroupId
    /// Names a user's membership in a group.
    GroupMembershipId
    /// Names a metadata cascade policy.
    MetadataCascadePolicyId
    /// Names a metadata template.
    MetadataTemplateId
    /// Names a sign request.
    SignRequestId
    /// Names one user's part of a task.
    TaskAssignmentId
    /// Names a task.
    TaskId
    /// Names an upload in parts.
    UploadSessionId
    /// Names a user.
    UserId
    /// Names a webhook.
    WebhookId
}

impl FolderId {
    /// The root of what the token's user sees.
    pub fn root() -> Self {
        Self("0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_cannot_change_a_path() {
        for text in [
            "",
            ".",
            "..",
            "1/2",
            "1?x",
            "1#x",
            "%2e",
            "ü",
            "1\n",
            &"9".repeat(65),
        ] {
            assert_eq!(FileId::new(text), Err(IdError), "{text:?}");
        }
        assert_eq!(FileId::new("777000111").unwrap().as_str(), "777000111");
    }

    #[test]
    fn an_id_is_read_from_text_or_number() {
        let ids: Vec<FolderId> = serde_json::from_str(r#"["100",101]"#).unwrap();
        assert_eq!(
            ids.iter().map(FolderId::as_str).collect::<Vec<_>>(),
            ["100", "101"]
        );
    }
}
