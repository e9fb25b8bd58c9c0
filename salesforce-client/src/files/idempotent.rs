use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::upload::OPERATION;
use crate::{
    Record, RecordId, SObjects,
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// What makes an upload happen once: for 30 days Salesforce answers the same key with its first
/// answer and writes nothing more.
///
/// Make it of what the upload is about, so that a program that has forgotten everything asks with
/// the same key again; or make one at random and keep it before the first attempt. After an upload
/// that was refused and whose cause was mended, use another, as [`attempt`](Self::attempt) gives it: an
/// error may have been kept as well.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IdempotencyKey([u8; 16]);

impl IdempotencyKey {
    /// The key of this: the same parts always give the same key.
    ///
    /// ```
    /// # use salesforce_client::IdempotencyKey;
    /// let key = IdempotencyKey::of(&["box file version 123", "0065500000KQ12XAAT"]);
    /// assert_eq!(key, IdempotencyKey::of(&["box file version 123", "0065500000KQ12XAAT"]));
    /// ```
    pub fn of(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts run into the same text.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        Self::marked(bytes)
    }

    /// A key that nobody else has.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|cause| {
            Error::new(ErrorKind::Config, OPERATION)
                .detail("the system gives no random bytes")
                .cause(cause)
        })?;
        Ok(Self::marked(bytes))
    }

    /// Another key for another try of the same upload, after one that was refused and whose cause
    /// was mended: the same number always gives the same key. 0 gives this key itself.
    ///
    /// ```
    /// # use salesforce_client::IdempotencyKey;
    /// let key = IdempotencyKey::of(&["box file version 123"]);
    /// assert_eq!(key.attempt(0), key);
    /// assert_ne!(key.attempt(1), key.attempt(2));
    /// ```
    #[must_use]
    pub fn attempt(self, number: u32) -> Self {
        match number {
            0 => self,
            _ => Self::of(&[&self.to_string(), &number.to_string()]),
        }
    }

    /// In the form of a UUID of version 4, which Salesforce asks for.
    fn marked(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The version in the answer of the User Interface API, whose shape has changed with time. Where
/// it tells only the file, the file tells its newest version.
pub(super) async fn version_in(
    transport: &std::sync::Arc<Transport>,
    answer: &Value,
) -> Result<RecordId> {
    let id = |pointer: &str| {
        let text = answer.pointer(pointer)?.as_str()?;
        RecordId::new(text).ok()
    };
    let version = [
        "/contentVersion/id",
        "/contentDocument/latestPublishedVersionId",
        "/contentDocument/fields/LatestPublishedVersionId/value",
    ];
    if let Some(version) = version.into_iter().find_map(id) {
        return Ok(version);
    }
    let document = id("/contentDocument/id").ok_or_else(|| {
        Error::new(ErrorKind::Decode, OPERATION)
            .sent()
            .detail("the answer tells neither a version nor a file")
    })?;
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Document {
        latest_published_version_id: RecordId,
    }
    let documents = SObjects::<Record>::new(transport, "ContentDocument");
    let newest = documents
        .get(&document)
        .fields(["LatestPublishedVersionId"]);
    let newest: Document = newest.read_as().send().await?;
    Ok(newest.latest_published_version_id)
}

/// The two members that the User Interface API takes, and the file of a new version.
pub(super) fn fields(fields: &Record) -> Result<(Value, Option<String>)> {
    let invalid = |detail| Error::new(ErrorKind::Invalid, OPERATION).detail(detail);
    let mut json = Record::new();
    let mut document = None;
    for (name, value) in fields {
        match name.as_str() {
            "Title" => json.insert("title".to_owned(), value.clone()),
            "Description" => json.insert("description".to_owned(), value.clone()),
            "ContentDocumentId" => {
                document = value.as_str().map(str::to_owned);
                None
            }
            // The type comes from the name of the part.
            "PathOnClient" => None,
            _ => {
                return Err(invalid(
                    "an idempotent upload takes a title and a description only: link the file after",
                ));
            }
        };
    }
    Ok((Value::Object(json), document))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_has_the_form_of_a_uuid_and_differs_with_its_parts(one: [String; 2], other: [String; 2]) {
            let key = |parts: &[String; 2]| IdempotencyKey::of(&[&parts[0], &parts[1]]);
            let text = key(&one).to_string();
            prop_assert_eq!(text.len(), 36);
            prop_assert_eq!(&text[14..15], "4");
            prop_assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"));
            prop_assert_eq!(key(&one) == key(&other), one == other);
            let joined = format!("{}{}", one[0], one[1]);
            prop_assert_ne!(key(&one), IdempotencyKey::of(&[&joined]));
        }
    }
}
