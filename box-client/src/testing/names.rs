//! What an item may be called.

use super::answer::Refused;

const LONGEST: usize = 255;

pub(super) fn check(name: &str) -> Result<(), Refused> {
    if name.chars().count() > LONGEST {
        return Err(Refused::new(
            400,
            "item_name_too_long",
            "Item name too long",
        ));
    }
    let forbidden = |c: char| matches!(c, '/' | '\\') || c.is_ascii_control();
    let reserved = name.is_empty() || matches!(name, "." | "..");
    if reserved || name.contains(forbidden) || name.ends_with(' ') {
        return Err(Refused::new(400, "item_name_invalid", "Item name invalid"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_folders_and_files() {
        for good in [
            "a",
            "Größe: 1-2.pdf",
            " leading",
            "...",
            "a.b",
            &"x".repeat(255),
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "trailing ", "tab\t", "\u{7f}"] {
            let code = check(bad).map_err(|refused| refused.code().to_owned());
            assert_eq!(code, Err("item_name_invalid".to_owned()), "{bad:?}");
        }
        let code = check(&"x".repeat(256)).map_err(|refused| refused.code().to_owned());
        assert_eq!(code, Err("item_name_too_long".to_owned()));
    }
}
