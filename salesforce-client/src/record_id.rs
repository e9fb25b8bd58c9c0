//! Salesforce's record ids.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

const CHECKSUM: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

/// A record's id. It is read in its 15 or its 18 characters and kept in 18, so two ids of one
/// record are equal however they were written.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct RecordId(String);

/// The text is not a record's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordIdError {
    /// Neither 15 nor 18 characters.
    #[error("a Salesforce id has 15 or 18 characters")]
    Length,
    /// Something other than ASCII letters and digits.
    #[error("a Salesforce id has only letters and digits")]
    Characters,
    /// The last three characters do not fit the others: a typing error.
    #[error("the id's checksum does not fit it")]
    Checksum,
}

impl RecordId {
    /// Checks and takes an id.
    pub fn new(text: &str) -> Result<Self, RecordIdError> {
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(RecordIdError::Characters);
        }
        match text.len() {
            15 => Ok(Self(format!("{text}{}", checksum(text)))),
            18 => {
                let (id, end) = text.split_at(15);
                if checksum(id).eq_ignore_ascii_case(end) {
                    return Ok(Self(format!("{id}{}", end.to_ascii_uppercase())));
                }
                restored(id, end).ok_or(RecordIdError::Checksum)
            }
            _ => Err(RecordIdError::Length),
        }
    }

    /// The id in 18 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first three characters, which tell the object.
    pub fn prefix(&self) -> &str {
        &self.0[..3]
    }

    /// The object, where every org has the same prefix for it.
    pub fn object(&self) -> Option<&'static str> {
        Some(match self.prefix() {
            "001" => "Account",
            "003" => "Contact",
            "005" => "User",
            "006" => "Opportunity",
            "00D" => "Organization",
            "00G" => "Group",
            "00Q" => "Lead",
            "00T" => "Task",
            "00U" => "Event",
            "068" => "ContentVersion",
            "069" => "ContentDocument",
            "06A" => "ContentDocumentLink",
            "500" => "Case",
            "701" => "Campaign",
            "800" => "Contract",
            _ => return None,
        })
    }
}

/// Three characters, each of which tells which of five are capitals.
fn checksum(id: &str) -> String {
    id.as_bytes()
        .chunks(5)
        .map(|five| {
            let bits = five.iter().enumerate().fold(0, |bits, (position, byte)| {
                bits | usize::from(byte.is_ascii_uppercase()) << position
            });
            char::from(CHECKSUM[bits])
        })
        .collect()
}

/// A program that folds case to small letters damages an id, and the checksum mends it. Capitals
/// alone do not tell of folding: many true ids have no small letter, and mending one with a typing
/// error would make it another record's.
fn restored(id: &str, end: &str) -> Option<RecordId> {
    if id
        .bytes()
        .chain(end.bytes())
        .any(|byte| byte.is_ascii_uppercase())
    {
        return None;
    }
    let mut mended = String::with_capacity(18);
    for (position, byte) in id.bytes().enumerate() {
        let letter = end.as_bytes()[position / 5].to_ascii_uppercase();
        let bits = CHECKSUM.iter().position(|known| *known == letter)?;
        let capital = bits >> (position % 5) & 1 == 1;
        if capital && !byte.is_ascii_alphabetic() {
            return None;
        }
        let byte = if capital {
            byte.to_ascii_uppercase()
        } else {
            byte.to_ascii_lowercase()
        };
        mended.push(char::from(byte));
    }
    mended.push_str(&end.to_ascii_uppercase());
    Some(RecordId(mended))
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<Self, RecordIdError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_ids_have_the_recorded_checksum() {
        for id in [
            "0015500001QdQWaAAN",
            "0065500000KQ12XAAT",
            "003P000001avB5GIAU",
            "005P000000AyPpYIAV",
            "005M0000007whduIAA",
            "001M000001FgVKlIAN",
        ] {
            assert_eq!(RecordId::new(&id[..15]).unwrap().as_str(), id);
            assert_eq!(RecordId::new(id).unwrap().as_str(), id);
        }
        assert_eq!(
            RecordId::new("0065500000KQ12X").unwrap().object(),
            Some("Opportunity")
        );
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(RecordId::new(""), Err(RecordIdError::Length));
        assert_eq!(
            RecordId::new("0065500000KQ12XAA"),
            Err(RecordIdError::Length)
        );
        assert_eq!(
            RecordId::new("0065500000KQ12'"),
            Err(RecordIdError::Characters)
        );
        assert_eq!(
            RecordId::new("0065500000KQ12XAAA"),
            Err(RecordIdError::Checksum)
        );
    }

    proptest! {
        #[test]
        fn both_lengths_name_the_same_record_and_folded_case_is_mended(id in "[0-9A-Za-z]{15}") {
            let short = RecordId::new(&id).unwrap();
            prop_assert_eq!(&RecordId::new(short.as_str()).unwrap(), &short);
            prop_assert_eq!(&RecordId::new(&short.as_str().to_lowercase()).unwrap(), &short);
        }
    }
}
