//! What an item may be called.

/// As many characters as a name may have.
const LONGEST: usize = 255;
/// An ending of more than this is no extension worth keeping.
const LONGEST_EXTENSION: usize = 16;
/// Stands for what cannot stand in a name: it is on none of Box's lists.
const SUBSTITUTE: char = '_';

/// Box takes no item of this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no character.
    #[error("a name has at least one character")]
    Empty,
    /// It has more than 255 characters.
    #[error("a name has at most 255 characters")]
    TooLong,
    /// It has a `/` or `\`.
    #[error("a name has no slash and no backslash")]
    Slash,
    /// It has a character of ASCII that does not print.
    #[error("a name has no control characters")]
    Control,
    /// Its last character is a space.
    #[error("a name does not end with a space")]
    TrailingSpace,
    /// It is `.` or `..`.
    #[error("a name is neither . nor ..")]
    Reserved,
}

/// What [`sanitize_name`] has made of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sanitized {
    /// A name that Box takes.
    pub name: String,
    /// What had to be done, in this order; nothing if the text was a name.
    pub changes: Vec<NameChange>,
}

/// What [`sanitize_name`] has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameChange {
    /// `/` and `\` became `_`.
    Slashes,
    /// Control characters were left out.
    Controls,
    /// Spaces at the beginning and the end were left out.
    Spaces,
    /// It was cut to 255 characters, before its extension.
    Cut,
    /// It was nothing, `.` or `..`, and became `_`, `_.` or `_..`.
    Reserved,
}

/// Whether Box takes a file or folder of this name. The calls of this crate ask before they send.
///
/// Vendor: <https://developer.box.com/reference/post-folders/>. The list of errors in Box's guides
/// names more characters (`< > : | ? * -` and a leading space), which Box's own examples use.
///
/// # Errors
///
/// The first rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Reserved),
        _ => {}
    }
    if name.contains(['/', '\\']) {
        Err(NameError::Slash)
    } else if name.contains(|c: char| c.is_ascii_control()) {
        Err(NameError::Control)
    } else if name.ends_with(' ') {
        Err(NameError::TrailingSpace)
    } else if name.chars().count() > LONGEST {
        Err(NameError::TooLong)
    } else {
        Ok(())
    }
}

/// Makes any text, such as a customer's name, one that Box takes, and tells what it changed.
///
/// The result passes [`check_name`] and is what this makes of itself. Two texts can become the
/// same name.
///
/// ```
/// use box_client::{NameChange, sanitize_name};
///
/// let made = sanitize_name("Smith / Wesson ");
/// assert_eq!(made.name, "Smith _ Wesson");
/// assert_eq!(made.changes, [NameChange::Slashes, NameChange::Spaces]);
/// ```
pub fn sanitize_name(text: &str) -> Sanitized {
    let mut name = text.to_owned();
    let mut changes = Vec::new();
    let mut change = |made: String, what, name: &mut String| {
        if made != *name {
            *name = made;
            changes.push(what);
        }
    };
    let made = name.replace(['/', '\\'], &SUBSTITUTE.to_string());
    change(made, NameChange::Slashes, &mut name);
    let made = name.replace(|c: char| c.is_control(), "");
    change(made, NameChange::Controls, &mut name);
    let made = name.trim().to_owned();
    change(made, NameChange::Spaces, &mut name);
    let made = cut(&name);
    change(made, NameChange::Cut, &mut name);
    if matches!(&*name, "" | "." | "..") {
        let made = format!("{SUBSTITUTE}{name}");
        change(made, NameChange::Reserved, &mut name);
    }
    Sanitized { name, changes }
}

/// Box does not say what it counts: UTF-16 units are the most that a character can be.
fn cut(name: &str) -> String {
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    if units(name) <= LONGEST {
        return name.to_owned();
    }
    let (stem, extension) = name
        .rfind('.')
        .map(|dot| name.split_at(dot))
        .filter(|(stem, extension)| !stem.is_empty() && is_extension(extension))
        .unwrap_or((name, ""));
    let mut left = LONGEST - units(extension);
    let kept: String = stem
        .chars()
        .take_while(|c| {
            let fits = c.len_utf16() <= left;
            left = left.saturating_sub(c.len_utf16());
            fits
        })
        .collect();
    format!("{}{extension}", kept.trim_end())
}

fn is_extension(text: &str) -> bool {
    let text = text.strip_prefix('.').unwrap_or_default();
    (1..=LONGEST_EXTENSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_made_passes_and_is_made_of_itself(
            text in prop_oneof![
                any::<String>(),
                "[ ./\\\\a\u{1F600}\t]{0,300}",
                "(\u{1F600}|x| ){250,260}\\.[a-z]{1,20}",
            ],
        ) {
            let made = sanitize_name(&text);
            prop_assert_eq!(check_name(&made.name), Ok(()));
            let again = sanitize_name(&made.name);
            prop_assert_eq!(again.changes, []);
            prop_assert_eq!(again.name, &*made.name);
            prop_assert_eq!(made.changes.is_empty(), made.name == text);
        }
    }

    #[test]
    fn every_rule_has_its_own_error() {
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Reserved),
            ("..", NameError::Reserved),
            ("a/b", NameError::Slash),
            ("a\\b", NameError::Slash),
            ("a\tb", NameError::Control),
            ("a\u{7f}", NameError::Control),
            ("a ", NameError::TrailingSpace),
            (&"x".repeat(256), NameError::TooLong),
        ] {
            assert_eq!(check_name(name), Err(error), "{name:?}");
        }
        for name in ["a", " a", "...", "Größe: 1-2?.pdf", &"ü".repeat(255)] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn what_was_changed_is_told() {
        for (text, name, changes) in [
            ("Acme GmbH", "Acme GmbH", &[][..]),
            ("A/B\\C", "A_B_C", &[NameChange::Slashes]),
            (
                "\tAcme\u{0} ",
                "Acme",
                &[NameChange::Controls, NameChange::Spaces],
            ),
            (" ", "_", &[NameChange::Spaces, NameChange::Reserved]),
            ("..", "_..", &[NameChange::Reserved]),
        ] {
            let made = sanitize_name(text);
            assert_eq!((&*made.name, &*made.changes), (name, changes), "{text:?}");
        }
        let made = sanitize_name(&format!("{}.pdf", "x".repeat(300)));
        assert_eq!(made.name, format!("{}.pdf", "x".repeat(251)));
        assert_eq!(made.changes, [NameChange::Cut]);
    }
}
