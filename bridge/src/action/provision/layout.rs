//! Which folders there are to be: paths with places for the fields of records.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Paths of folders, such as `/Clients/{Account.Name}/{Opportunity.Name}/Contracts`.
///
/// A place names a kind of record and one of its fields. The deepest level with places of a kind is
/// the folder of a record of that kind; levels of that kind above it, such as
/// `{Account.Region__c}`, and levels without places are folders that many share. All paths agree
/// on where the folder of a kind of record is. A doubled brace is a brace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    paths: Vec<String>,
    kinds: BTreeMap<String, Kind>,
}

/// Where the folders of one kind of record are, and what is in each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kind {
    /// From the root down to the record's own folder.
    pub(super) levels: Vec<Level>,
    /// Paths below it whose names are fixed.
    pub(super) below: Vec<Vec<String>>,
    /// Names beside it that are other folders' by the layout, in small letters.
    pub(super) reserved: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Level {
    pieces: Vec<Piece>,
    /// The kind of record whose name it has.
    pub(super) of: Option<String>,
    /// Whether it is the folder of one such record.
    pub(super) is_record: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Field { object: String, field: String },
}

/// Paths that are no layout.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A brace without its other half.
    #[error("`{0}` has a brace without its other half; write {{{{ or }}}} for a brace itself")]
    Brace(String),
    /// What stands in braces is no `Object.Field`.
    #[error("{{{0}}} is no place; write the kind of record and its field, as {{Account.Name}}")]
    Place(String),
    /// No level of a path belongs to a record.
    #[error("no folder of `{0}` belongs to a record; it needs a place such as {{Account.Name}}")]
    NoRecord(String),
    /// The paths do not agree on where the folder of such a record is.
    #[error("a record of kind {0} would have two folders")]
    TwoFolders(String),
    /// The folder would be in itself.
    #[error("the folder of a record of kind {0} would be inside of one that is inside of it")]
    Order(String),
}

impl Layout {
    /// The layout that these paths make.
    pub fn new<S: AsRef<str>>(paths: impl IntoIterator<Item = S>) -> Result<Self, LayoutError> {
        let mut layout = Self {
            paths: Vec::new(),
            kinds: BTreeMap::new(),
        };
        let mut parsed = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let levels = levels(path)?;
            layout.add(path, &levels)?;
            layout.paths.push(path.to_owned());
            parsed.push(levels);
        }
        for kind in layout.kinds.values_mut() {
            kind.reserved = reserved(&kind.levels, &parsed);
        }
        Ok(layout)
    }

    /// The kinds of records that have folders in it.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    pub(super) fn kind(&self, object: &str) -> Option<&Kind> {
        self.kinds.get(object)
    }

    /// The kinds of records whose folders are somewhere inside of those of this kind.
    pub(super) fn inside(&self, object: &str) -> impl Iterator<Item = &str> {
        self.kinds.iter().filter_map(move |(other, kind)| {
            let is_inside = other != object && kind.above().any(|it| it == object);
            is_inside.then_some(other.as_str())
        })
    }

    /// The paths that a record of this kind takes part in, as far as they are its own.
    pub(super) fn shown(&self, object: &str) -> String {
        let place = format!("{{{object}.");
        let paths = self.paths.iter().filter(|path| path.contains(&place));
        paths.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn add(&mut self, path: &str, levels: &[Level]) -> Result<(), LayoutError> {
        let mut any = false;
        for (at, level) in levels.iter().enumerate() {
            let Some(object) = level.of.as_ref().filter(|_| level.is_record) else {
                continue;
            };
            any = true;
            let own = &levels[..=at];
            let kind = self.kinds.entry(object.clone()).or_insert_with(|| Kind {
                levels: own.to_vec(),
                below: Vec::new(),
                reserved: Vec::new(),
            });
            if kind.levels != own {
                return Err(LayoutError::TwoFolders(object.clone()));
            }
            let below: Option<Vec<_>> = levels[at + 1..].iter().map(Level::fixed).collect();
            kind.below.extend(below.filter(|below| !below.is_empty()));
        }
        if any {
            Ok(())
        } else {
            Err(LayoutError::NoRecord(path.to_owned()))
        }
    }
}

impl Kind {
    /// The kinds of records whose folders it is inside of, from the root down.
    pub(super) fn above(&self) -> impl Iterator<Item = &str> {
        let above = &self.levels[..self.levels.len() - 1];
        let of = above.iter().filter(|level| level.is_record);
        of.filter_map(|level| level.of.as_deref())
    }

    /// The fields that its levels are named by, as a record of this kind names them.
    pub(super) fn fields(&self, object: &str) -> Vec<String> {
        let mut fields = Vec::new();
        for level in &self.levels {
            for piece in &level.pieces {
                if let Piece::Field { object: of, field } = piece {
                    fields.push(related(object, of, field));
                }
            }
            if let Some(of) = level.of.as_deref().filter(|of| *of != object) {
                fields.push(reference(of));
            }
        }
        fields
    }
}

impl Level {
    /// Its name where there are no places in it.
    pub(super) fn fixed(&self) -> Option<String> {
        match &self.pieces[..] {
            [Piece::Text(text)] => Some(text.clone()),
            _ => None,
        }
    }

    /// Its text for a record of kind `object`, by what `value` says of the record's fields.
    pub(super) fn text(&self, object: &str, value: impl Fn(&str) -> String) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field { object: of, field } => value(&related(object, of, field)),
        };
        self.pieces.iter().map(text).collect()
    }
}

/// The field of a record that holds the id of the other one that it belongs to.
pub(super) fn reference(object: &str) -> String {
    match object.strip_suffix("__c") {
        Some(_) => object.to_owned(),
        None => format!("{object}Id"),
    }
}

/// A field of `of` as a record of kind `object` reaches it.
fn related(object: &str, of: &str, field: &str) -> String {
    if object == of {
        return field.to_owned();
    }
    match of.strip_suffix("__c") {
        Some(custom) => format!("{custom}__r.{field}"),
        None => format!("{of}.{field}"),
    }
}

/// The fixed names that the layout has beside the folder of a kind of record.
fn reserved(own: &[Level], paths: &[Vec<Level>]) -> Vec<String> {
    let Some((_, above)) = own.split_last() else {
        return Vec::new();
    };
    let beside = paths.iter().filter(|path| path.starts_with(above));
    let beside = beside.filter_map(|path| path.get(above.len())?.fixed());
    beside.map(|name| name.to_lowercase()).collect()
}

fn levels(path: &str) -> Result<Vec<Level>, LayoutError> {
    let mut levels: Vec<Level> = Vec::new();
    let mut met: Vec<String> = Vec::new();
    for name in path.split('/').filter(|name| !name.trim().is_empty()) {
        let pieces = pieces(name)?;
        let objects: Vec<_> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(_) => None,
                Piece::Field { object, .. } => Some(object),
            })
            .collect();
        let new = objects.iter().rfind(|object| !met.contains(object));
        let of = new.or(objects.last()).map(|object| (*object).clone());
        if let Some(of) = &of {
            if met.last() != Some(of) && met.contains(of) {
                return Err(LayoutError::Order(of.clone()));
            }
            met.retain(|it| it != of);
            met.push(of.clone());
        }
        levels.push(Level {
            pieces,
            of,
            is_record: false,
        });
    }
    for object in met {
        let of = |level: &Level| level.of.as_ref() == Some(&object);
        if let Some(deepest) = levels.iter().rposition(of) {
            levels[deepest].is_record = true;
        }
    }
    Ok(levels)
}

fn pieces(name: &str) -> Result<Vec<Piece>, LayoutError> {
    let brace = || LayoutError::Brace(name.to_owned());
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = name;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        if rest[at..].starts_with("{{") || rest[at..].starts_with("}}") {
            plain.push_str(&rest[at..=at]);
            rest = &rest[at + 2..];
            continue;
        }
        let inner = rest[at..].strip_prefix('{').ok_or_else(brace)?;
        let (place, after) = inner.split_once('}').ok_or_else(brace)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(field(place.trim())?);
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn field(place: &str) -> Result<Piece, LayoutError> {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match place.split_once('.') {
        Some((object, field)) if is_name(object) && field.split('.').all(is_name) => {
            Ok(Piece::Field {
                object: object.to_owned(),
                field: field.to_owned(),
            })
        }
        _ => Err(LayoutError::Place(place.to_owned())),
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    /// A layout of one path.
    fn from_str(path: &str) -> Result<Self, LayoutError> {
        Self::new([path])
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.paths.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_record_has_one_folder_and_what_is_fixed_below_it() {
        let layout = Layout::new([
            "/Clients/{Account.Region__c}/{Account.Name}/{Opportunity.Name}/Contracts/Signed",
            "/Clients/{Account.Region__c}/{Account.Name}/{Opportunity.Name}/Proposals",
            "/Clients/{Account.Region__c}/{Account.Name}/General",
        ])
        .unwrap();
        let account = layout.kind("Account").unwrap();
        assert_eq!(account.levels.len(), 3);
        assert_eq!(account.below, [["General"]]);
        let deal = layout.kind("Opportunity").unwrap();
        assert_eq!(deal.levels.len(), 4);
        assert_eq!(deal.below, [vec!["Contracts", "Signed"], vec!["Proposals"]]);
        assert_eq!(deal.reserved, ["general"]);
        assert_eq!(deal.above().collect::<Vec<_>>(), ["Account"]);
        assert_eq!(
            layout.inside("Account").collect::<Vec<_>>(),
            ["Opportunity"]
        );
        let fields = deal.fields("Opportunity");
        assert_eq!(
            fields,
            [
                "Account.Region__c",
                "AccountId",
                "Account.Name",
                "AccountId",
                "Name"
            ]
        );
    }

    #[test]
    fn what_is_no_layout_is_refused_with_the_reason() {
        let refused = |paths: &[&str]| Layout::new(paths).unwrap_err();
        assert_eq!(
            refused(&["/a/{Account"]),
            LayoutError::Brace("{Account".into())
        );
        assert_eq!(refused(&["/{Name}"]), LayoutError::Place("Name".into()));
        assert_eq!(refused(&["/{A.B-C}"]), LayoutError::Place("A.B-C".into()));
        assert_eq!(
            refused(&["/Clients"]),
            LayoutError::NoRecord("/Clients".into())
        );
        assert_eq!(
            refused(&["/Clients/{Account.Name}", "/Archive/{Account.Name}"]),
            LayoutError::TwoFolders("Account".into())
        );
        assert_eq!(
            refused(&["/{Account.Name}/{Opportunity.Name}/{Account.Site}"]),
            LayoutError::Order("Account".into())
        );
    }

    #[test]
    fn a_level_of_two_kinds_belongs_to_the_one_that_is_new() {
        let layout: Layout = "/{Account.Name}/{Account.Name} {{{Opportunity.Name}}}"
            .parse()
            .unwrap();
        let level = layout.kind("Opportunity").unwrap().levels.last().unwrap();
        let text = level.text("Opportunity", |field| format!("<{field}>"));
        assert_eq!(text, "<Account.Name> {<Name>}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(path in "[/{}a-cA.N _]{0,40}") {
            let _ = Layout::new([path]);
        }
    }
}
