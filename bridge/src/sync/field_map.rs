//! Which field goes with which key, and what happens when both have changed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{metadata::ValueKind, resolve::MappingKeys};

pub(super) const OPPORTUNITY: &str = "Opportunity";
pub(super) const ACCOUNT: &str = "Account";
/// The field of an Opportunity that says how far the deal is.
pub(super) const STAGE: &str = "StageName";

/// The pairs of one kind of record, and who wins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldMap {
    object: String,
    pairs: Vec<FieldPair>,
    policy: ConflictPolicy,
}

/// A record's field and the metadata key that it goes with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FieldPair {
    /// The field, named as the CRM's API names it. `Account.Name` is a field of the Account that
    /// the record belongs to; such a field goes to the folder only.
    pub field: String,
    /// The key in the metadata template.
    pub key: String,
    /// What the template's field holds.
    #[serde(rename = "type", default = "text")]
    pub kind: ValueKind,
    /// Which way changes go.
    #[serde(default)]
    pub direction: Direction,
}

/// Which way changes go.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// From the record to the folder.
    ToBox,
    /// From the folder to the record.
    ToSalesforce,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The folder's metadata.
    Box,
    /// The record.
    Salesforce,
}

/// Who wins where both sides have changed and differ. Whoever loses is kept as a
/// [`Conflict`](super::Conflict).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictPolicy {
    /// Whoever changed last, as far as that can be told: a record says when it was last changed, in
    /// whatever field, so its value counts as changed when the record was last changed by the time
    /// that the value was first seen. A folder's metadata does not say it, so its time is that of
    /// the metadata event that started the round. Within one second the record wins. A round that
    /// nothing of the kind has started cannot tell, and leaves the conflict open for one that can,
    /// or for a person.
    #[default]
    Newest,
    /// The folder's metadata.
    BoxWins,
    /// The record.
    SalesforceWins,
    /// Nobody, until a person decides.
    Ask,
}

/// A map cannot be as written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// There is nothing in it.
    #[error("no fields are named")]
    Empty,
    /// No folder's metadata names such records.
    #[error(
        "`{0}` records have no folders that could be kept the same; Opportunity and Account have"
    )]
    Object(String),
    /// Two pairs would fight over it.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// It is no name.
    #[error("`{0}` is no name of letters, digits and _")]
    Name(String),
    /// The record does not own it.
    #[error("`{0}` belongs to another record, so it can only go to_box")]
    Foreign(String),
}

impl FieldMap {
    /// A map for records of this kind: `Opportunity` or `Account`.
    pub fn new(
        object: impl Into<String>,
        pairs: impl IntoIterator<Item = FieldPair>,
    ) -> Result<Self, MapError> {
        let map = Self {
            object: object.into(),
            pairs: pairs.into_iter().collect(),
            policy: ConflictPolicy::default(),
        };
        if map.pairs.is_empty() {
            return Err(MapError::Empty);
        }
        check_name(&map.object, false)?;
        if ![OPPORTUNITY, ACCOUNT].contains(&map.object.as_str()) {
            return Err(MapError::Object(map.object));
        }
        for (position, pair) in map.pairs.iter().enumerate() {
            check_name(&pair.field, true)?;
            if pair.key.is_empty() || pair.key.starts_with('$') || pair.key.len() > 256 {
                return Err(MapError::Name(pair.key.clone()));
            }
            if pair.is_foreign() && pair.direction != Direction::ToBox {
                return Err(MapError::Foreign(pair.field.clone()));
            }
            for other in &map.pairs[..position] {
                if other.key == pair.key {
                    return Err(MapError::Twice(pair.key.clone()));
                }
                let same = other.field.eq_ignore_ascii_case(&pair.field);
                let only_read = [other, pair].map(|it| it.direction) == [Direction::ToBox; 2];
                if same && !only_read {
                    return Err(MapError::Twice(pair.field.clone()));
                }
            }
        }
        Ok(map)
    }

    /// With another policy than [`Newest`](ConflictPolicy::Newest).
    #[must_use]
    pub fn on_conflict(mut self, policy: ConflictPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// The kind of record.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The metadata key that says which record of this kind a folder belongs to.
    pub(super) fn mapping_key<'k>(&self, keys: &'k MappingKeys) -> &'k str {
        match self.object == ACCOUNT {
            true => &keys.account,
            false => &keys.opportunity,
        }
    }

    /// The pairs.
    pub fn pairs(&self) -> &[FieldPair] {
        &self.pairs
    }

    /// Who wins.
    pub fn policy(&self) -> ConflictPolicy {
        self.policy
    }
}

impl FieldPair {
    /// A pair that goes both ways.
    pub fn new(field: impl Into<String>, key: impl Into<String>, kind: ValueKind) -> Self {
        Self {
            field: field.into(),
            key: key.into(),
            kind,
            direction: Direction::default(),
        }
    }

    /// With this direction.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Whether the field is another record's, which this one belongs to.
    pub(super) fn is_foreign(&self) -> bool {
        self.field.contains('.')
    }

    /// Names the pair among those of a record.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.field, self.key)
    }
}

impl Direction {
    pub(super) fn goes_to(self, side: Side) -> bool {
        match self {
            Self::Both => true,
            Self::ToBox => side == Side::Box,
            Self::ToSalesforce => side == Side::Salesforce,
        }
    }
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Box => Self::Salesforce,
            Self::Salesforce => Self::Box,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Box => "Box",
            Self::Salesforce => "Salesforce",
        })
    }
}

fn text() -> ValueKind {
    ValueKind::String
}

fn check_name(name: &str, may_be_path: bool) -> Result<(), MapError> {
    let is_word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let fits = match may_be_path {
        true => name.split('.').all(is_word),
        false => is_word(name),
    };
    fits.then_some(())
        .ok_or_else(|| MapError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_in_which_two_pairs_would_fight_is_refused() {
        let pair = |field: &str, key: &str| FieldPair::new(field, key, ValueKind::String);
        let map = |pairs: &[FieldPair]| FieldMap::new("Opportunity", pairs.to_vec()).map(drop);
        assert_eq!(map(&[]), Err(MapError::Empty));
        assert_eq!(
            map(&[pair("A", "a"), pair("B", "a")]),
            Err(MapError::Twice("a".into()))
        );
        assert_eq!(
            map(&[pair("A", "a"), pair("a", "b")]),
            Err(MapError::Twice("a".into()))
        );
        let foreign = pair("Account.Name", "client");
        assert_eq!(
            map(std::slice::from_ref(&foreign)),
            Err(MapError::Foreign("Account.Name".into()))
        );
        let one_way = |it: FieldPair| it.direction(Direction::ToBox);
        assert_eq!(map(&[one_way(foreign)]), Ok(()));
        assert_eq!(
            map(&[one_way(pair("A", "a")), one_way(pair("A", "b"))]),
            Ok(())
        );
        let lead = FieldMap::new("Lead", [pair("A", "a")]);
        assert_eq!(lead.map(drop), Err(MapError::Object("Lead".into())));
        for bad in ["", "A b", "A'", "A..B", "1A"] {
            assert_eq!(map(&[pair(bad, "a")]), Err(MapError::Name(bad.into())));
        }
    }
}
