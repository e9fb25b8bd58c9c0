//! Parts of a call that found a record locked, and are sent again without the others.

use std::collections::BTreeSet;

use tracing::debug;

use super::{
    PartAnswer,
    answers::judged,
    part::{About, Part},
};
use crate::{
    error::{Error, ErrorKind, Result},
    retry::Attempts,
};

/// What has to be known of a part to send it again.
pub(super) struct Standing {
    about: About,
    /// Whether it refers to no other part, and no other part to it.
    is_alone: bool,
}

impl Standing {
    /// Of parts whose names begin with `prefix`.
    pub(super) fn of_all(parts: &[Part], prefix: &str) -> Vec<Self> {
        let uses: Vec<BTreeSet<usize>> = parts.iter().map(|part| part.uses(prefix)).collect();
        let used: BTreeSet<usize> = uses.iter().flatten().copied().collect();
        let all = parts.iter().zip(uses).enumerate();
        all.map(|(place, (part, uses))| Self {
            is_alone: uses.is_empty() && !used.contains(&place),
            ..Self::alone(part)
        })
        .collect()
    }

    /// Of a part that cannot refer to any other.
    pub(super) fn alone(part: &Part) -> Self {
        Self {
            about: part.about.clone(),
            is_alone: true,
        }
    }
}

/// Sends locked parts again, within what is left to these attempts; `ask` sends the parts at these
/// places. Should a call fail without an effect, what was answered before stands; of its parts
/// nobody knows what became otherwise.
pub(super) async fn send_again<F>(
    operation: &'static str,
    attempts: &mut Attempts<'_>,
    parts: &[Standing],
    answers: &mut [Result<PartAnswer>],
    ask: impl Fn(Vec<usize>) -> F,
) where
    F: Future<Output = Result<Vec<PartAnswer>>>,
{
    loop {
        let locks: Vec<Option<Error>> = answers.iter().map(lock).collect();
        let is_locked: Vec<bool> = locks.iter().map(Option::is_some).collect();
        let open = free(parts, &is_locked);
        let error = open.first().and_then(|place| locks[*place].as_ref());
        let Some(wait) = error.and_then(|error| attempts.next_wait(error)) else {
            return;
        };
        debug!(operation, parts = open.len(), ?wait, "locked: trying again");
        tokio::time::sleep(wait).await;
        attempts.begin();
        match ask(open.clone()).await {
            Ok(again) => {
                for (place, answer) in open.into_iter().zip(again) {
                    answers[place] = Ok(answer);
                }
            }
            Err(error) if error.may_have_happened() => {
                for place in open {
                    answers[place] = Err(error.again());
                }
                return;
            }
            Err(error) => {
                debug!(operation, %error, "locked parts could not be sent again");
                return;
            }
        }
    }
}

/// The failure of a part that found a record locked, so that nothing was changed by it.
fn lock(answer: &Result<PartAnswer>) -> Option<Error> {
    let failure = judged(answer).err();
    failure.filter(|error| error.kind() == ErrorKind::RowLocked)
}

/// The locked parts to send again, where that leaves the org as the call would have: those that
/// stand alone, and after which every part that was not locked too is about another record for
/// sure. One that was done would be done in another order, and one that failed may have failed
/// because this one had not been done.
fn free(parts: &[Standing], is_locked: &[bool]) -> Vec<usize> {
    let keeps_order = |place: usize| {
        let mut later = parts.iter().zip(is_locked).skip(place + 1);
        later.all(|(part, is_locked)| *is_locked || parts[place].about.is_other_than(&part.about))
    };
    (0..parts.len())
        .filter(|place| is_locked[*place] && parts[*place].is_alone && keeps_order(*place))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{cell::Cell, time::Duration};

    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::{RecordId, RetryPolicy, Soql, composite::part::Target};

    const LOCKED: bool = true;
    const NOT: bool = false;

    fn id(last: char) -> Target {
        Target::from(&RecordId::new(&format!("0015500000KQ12{last}")).unwrap())
    }

    fn fields() -> Value {
        json!({ "Name": "a" })
    }

    fn create(object: &str) -> Part {
        Part::create("", object, &fields()).unwrap()
    }

    fn update(last: char) -> Part {
        Part::update("", "Account", &id(last), &fields()).unwrap()
    }

    fn get(last: char) -> Part {
        Part::get("", "Account", &id(last), &["Name"]).unwrap()
    }

    fn delete(object: &str, last: char) -> Part {
        Part::delete("", object, &id(last)).unwrap()
    }

    fn upsert(object: &str, value: &str) -> Part {
        Part::upsert("", object, "Key__c", value, &fields()).unwrap()
    }

    fn query() -> Part {
        Part::query("", &Soql::from("SELECT Id FROM Account")).unwrap()
    }

    fn request() -> Part {
        Part::request("", Method::GET, "/sobjects/Contact/describe", None).unwrap()
    }

    #[test]
    fn a_locked_part_is_sent_again_only_before_what_is_about_other_records() {
        for (what, later, is_free) in [
            ("nothing", vec![], true),
            ("another record changed", vec![update('b')], true),
            ("another record read", vec![get('b')], true),
            ("another object made", vec![create("Contact")], true),
            (
                "another object upserted",
                vec![upsert("Contact", "1")],
                true,
            ),
            ("the same record changed", vec![update('a')], false),
            ("the same record read", vec![get('a')], false),
            (
                "the same record at last",
                vec![update('b'), get('a')],
                false,
            ),
            ("the same object made", vec![create("Account")], false),
            (
                "the same object upserted",
                vec![upsert("account", "1")],
                false,
            ),
            ("a query", vec![query()], false),
            ("a deletion", vec![delete("Account", 'b')], false),
            ("any call", vec![request()], false),
        ] {
            let parts: Vec<Part> = [update('a')].into_iter().chain(later).collect();
            let standings = Standing::of_all(&parts, "r");
            let mut is_locked = vec![NOT; parts.len()];
            is_locked[0] = LOCKED;
            let expected: &[usize] = if is_free { &[0] } else { &[] };
            assert_eq!(free(&standings, &is_locked), expected, "{what}");
        }
    }

    #[test]
    fn what_may_become_any_record_of_an_object_is_about_all_of_them() {
        for (what, first, second, is_free) in [
            ("made twice", create("Account"), create("Account"), false),
            (
                "made, then upserted",
                create("Account"),
                upsert("Account", "7"),
                false,
            ),
            ("made, then changed", create("Account"), update('a'), false),
            ("made, then read", create("Account"), get('a'), false),
            ("made, then looked for", create("Account"), query(), false),
            (
                "made, then one deleted",
                create("Contact"),
                delete("Account", 'a'),
                false,
            ),
            (
                "one deleted, then made",
                delete("Account", 'a'),
                create("Account"),
                false,
            ),
            (
                "one deleted, then another's child",
                delete("Account", 'a'),
                create("Contact"),
                false,
            ),
            (
                "two keys",
                upsert("Account", "1"),
                upsert("Account", "01"),
                false,
            ),
            (
                "a key and an id",
                upsert("Account", "1"),
                update('a'),
                false,
            ),
            ("of two objects", create("Contact"), create("Account"), true),
            (
                "a key of another",
                upsert("Contact", "1"),
                create("Account"),
                true,
            ),
            ("an id of another", create("Contact"), update('a'), true),
        ] {
            let standings = Standing::of_all(&[first, second], "r");
            let expected: &[usize] = if is_free { &[0] } else { &[] };
            assert_eq!(free(&standings, &[LOCKED, NOT]), expected, "{what}");
        }
    }

    #[test]
    fn what_was_locked_too_and_what_came_before_are_in_nobodys_way() {
        let parts = [query(), update('a'), delete("Account", 'b'), update('a')];
        let standings = Standing::of_all(&parts, "r");
        let is_locked = [NOT, LOCKED, LOCKED, LOCKED];
        assert_eq!(free(&standings, &is_locked), [1, 2, 3]);
        assert_eq!(free(&standings, &[NOT, LOCKED, NOT, LOCKED]), [3]);
    }

    #[test]
    fn a_part_that_refers_to_another_or_is_referred_to_stays_locked() {
        let child = json!({ "Name": "@{r_0.Name}", "ParentId": "@{r_0.Id}" });
        let child = Part::create("", "Contact", &child).unwrap();
        let standings = Standing::of_all(&[get('a'), child, create("Task")], "r");
        assert_eq!(free(&standings, &[NOT, LOCKED, LOCKED]), [2]);
        assert_eq!(free(&standings, &[LOCKED, NOT, NOT]), [0; 0]);
    }

    fn locked() -> PartAnswer {
        PartAnswer {
            status: 400,
            body: json!([{ "errorCode": "UNABLE_TO_LOCK_ROW", "message": "" }]),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_rounds_have_one_deadline() {
        let policy = RetryPolicy::default()
            .max_attempts(100)
            .delays(Duration::from_millis(1), Duration::from_millis(1))
            .deadline(Duration::from_secs(100));
        let parts = Standing::of_all(&[update('a')], "r");
        let mut answers = [Ok(locked())];
        let rounds = Cell::new(0);
        let ask = |places: Vec<usize>| {
            rounds.set(rounds.get() + 1);
            async move {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Ok(places.iter().map(|_| locked()).collect())
            }
        };
        let mut attempts = Attempts::new(&policy);
        send_again("t", &mut attempts, &parts, &mut answers, ask).await;
        // The last of them begins before the last 10 s.
        assert_eq!(rounds.get(), 5);
        assert!(lock(&answers[0]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_had_no_effect_leaves_the_lock_as_the_answer() {
        let policy = RetryPolicy::default();
        let parts = Standing::of_all(&[update('a')], "r");
        let mut answers = [Ok(locked())];
        let ask = |_| async { Err(Error::new(ErrorKind::DailyLimit, "t")) };
        let mut attempts = Attempts::new(&policy);
        send_again("t", &mut attempts, &parts, &mut answers, ask).await;
        assert!(lock(&answers[0]).is_some());
    }
}
