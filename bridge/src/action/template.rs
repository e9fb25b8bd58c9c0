use std::str::FromStr;

use crate::situation::{Person, Situation, Subject};

/// A text with places to fill in, such as `{file.name} uploaded by {actor}`.
///
/// Places: `event.id`, `event.trigger`, `event.date`, `actor`, `person`, `item.name`, `item.id`,
/// `file.name`, `file.id`, `file.version`, `folder`, `opportunity`, `account`. A doubled brace is a
/// brace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// A text that is no template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// There is no such place.
    #[error("there is no place {{{name}}}; there are {}", Place::all())]
    UnknownPlace {
        /// As written.
        name: String,
    },
    /// A brace without its other half.
    #[error("a brace without its other half; write {{{{ or }}}} for a brace itself")]
    Brace,
}

macro_rules! places {
    ($($place:ident $name:literal $value:expr;)+) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        enum Place { $($place),+ }

        impl Place {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$place),)+ _ => None }
            }

            fn all() -> String {
                [$($name),+].join(", ")
            }

            fn value(self, situation: &Situation) -> String {
                match self { $(Self::$place => { let of: fn(&Situation) -> String = $value; of(situation) })+ }
            }
        }
    };
}

places! {
    EventId "event.id" |s| s.event.clone();
    Trigger "event.trigger" |s| s.trigger.clone();
    Date "event.date" |s| s.at.strftime("%Y-%m-%d").to_string();
    Actor "actor" |s| shown(s.actor.as_ref());
    Person "person" |s| shown(s.person.as_ref());
    ItemName "item.name" |s| s.subject.name().to_owned();
    ItemId "item.id" |s| s.subject.id().to_owned();
    FileName "file.name" |s| s.subject.name().to_owned();
    FileId "file.id" |s| s.subject.id().to_owned();
    FileVersion "file.version" |s| s.file().map(|file| file.version.id.clone()).unwrap_or_default();
    Folder "folder" |s| folder(s).unwrap_or_default();
    Opportunity "opportunity" |s| s.opportunity.as_ref().map(|r| r.id.clone()).unwrap_or_default();
    Account "account" |s| s.account.as_ref().map(|r| r.id.clone()).unwrap_or_default();
}

fn shown(person: Option<&Person>) -> String {
    let shown = person.and_then(Person::shown);
    shown.unwrap_or("somebody").to_owned()
}

/// The folder that a file lies in, or the folder itself.
fn folder(situation: &Situation) -> Option<String> {
    match &situation.subject {
        Subject::File(file) => Some(file.folders.last()?.name.clone()),
        subject => Some(subject.name().to_owned()),
    }
}

impl Template {
    /// This text as it is, without any places.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// The text for a situation.
    pub fn fill(&self, situation: &Situation) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Place(place) => text.push_str(&place.value(situation)),
            }
            text
        })
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
            if doubled {
                plain.push_str(&rest[at..=at]);
                rest = &rest[at + 2..];
                continue;
            }
            let inner = rest[at..].strip_prefix('{').ok_or(TemplateError::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(TemplateError::Brace)?;
            let place = Place::named(name.trim()).ok_or_else(|| TemplateError::UnknownPlace {
                name: name.to_owned(),
            })?;
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Place(place));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }
}
