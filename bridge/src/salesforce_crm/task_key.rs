//! What a Task's key field holds: the activity's key, or what stands for it where it is too long.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::crm::Activity;

/// What a field has to take. The key of a digest names a rule, a record, an address and a time, and
/// would fit into no field that somebody has made for ids.
const LONGEST: usize = 64;

pub(super) fn task_key(activity: &Activity) -> Cow<'_, str> {
    let key = &activity.key;
    if key.len() <= LONGEST {
        return Cow::Borrowed(key);
    }
    let hash = Sha256::digest(key.as_bytes());
    Cow::Owned(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::Record;

    fn key(text: &str) -> String {
        let activity = Activity {
            key: text.to_owned(),
            record: Record {
                id: "006xx0000000001AAA".to_owned(),
                object: None,
            },
            who: None,
            subject: "x".to_owned(),
            description: String::new(),
            date: jiff::civil::date(2030, 1, 1),
        };
        task_key(&activity).into_owned()
    }

    #[test]
    fn a_key_is_itself_as_long_as_it_fits_and_else_one_that_nobody_else_has() {
        assert_eq!(key("event/rule"), "event/rule");
        let long = "r".repeat(65);
        let other = format!("{}s", "r".repeat(64));
        assert_eq!(key(&long).len(), LONGEST);
        assert_eq!(key(&long), key(&long));
        assert_ne!(key(&long), key(&other));
        assert_eq!(key(&"r".repeat(64)), "r".repeat(64));
    }
}
