//! Parts of a call that found a record locked, and are sent again without the others.

use std::collections::BTreeSet;

use tracing::debug;

use super::{
    PartAnswer,
    answers::judged,
    part::{About, Part},
};
use crate::{
    RetryPolicy,
    error::{Error, ErrorKind, Result},
};

/// What has to be known of a part to send it again.
pub(super) struct Standing {
    about: About,
    only_reads: bool,
    /// The places of the parts that it refers to.
    uses: Vec<usize>,
}

/// What became of a part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Done,
    /// It failed for a lock, so nothing was changed by it.
    Locked,
    Failed,
}

impl Outcome {
    fn of(answer: &Result<PartAnswer>) -> Self {
        match judged(answer) {
            Ok(_) => Self::Done,
            Err(error) if error.kind() == ErrorKind::RowLocked => Self::Locked,
            Err(_) => Self::Failed,
        }
    }
}

impl Standing {
    /// Of a part among others whose names begin with `prefix`.
    pub(super) fn of(part: &Part, prefix: &str) -> Self {
        Self {
            uses: part.uses(prefix),
            ..Self::alone(part)
        }
    }

    /// Of a part that cannot refer to any other.
    pub(super) fn alone(part: &Part) -> Self {
        Self {
            about: part.about.clone(),
            only_reads: part.only_reads(),
            uses: Vec::new(),
        }
    }
}

/// Sends locked parts again, as the policy says; `ask` sends the parts at these places. Should a call
/// fail, nobody knows what became of its parts, and what was answered before stands.
pub(super) async fn send_again<F>(
    operation: &'static str,
    retry: &RetryPolicy,
    parts: &[Standing],
    answers: &mut [Result<PartAnswer>],
    ask: impl Fn(Vec<usize>) -> F,
) where
    F: Future<Output = Result<Vec<PartAnswer>>>,
{
    let mut failed = 0;
    loop {
        let outcomes: Vec<Outcome> = answers.iter().map(Outcome::of).collect();
        let open = free(parts, &outcomes);
        failed += 1;
        let wait = retry.wait_after_failure(failed);
        let Some(wait) = wait.filter(|_| !open.is_empty()) else {
            return;
        };
        debug!(operation, parts = open.len(), ?wait, "locked: trying again");
        tokio::time::sleep(wait).await;
        let places = with_reads(parts, &open);
        match ask(places.clone()).await {
            Ok(again) => {
                for (place, answer) in places.into_iter().zip(again) {
                    if open.contains(&place) {
                        answers[place] = Ok(answer);
                    }
                }
            }
            Err(error) => {
                for place in open {
                    answers[place] = Err(Error::again(&error));
                }
                return;
            }
        }
    }
}

/// The locked parts to send again, where that leaves the org as the call would have: no other part
/// refers to them; what they refer to only reads, so that it can be read again; and what was done
/// after them is about other records for sure, so that nothing is done in another order.
fn free(parts: &[Standing], outcomes: &[Outcome]) -> Vec<usize> {
    let is_used = |place: &usize| parts.iter().any(|part| part.uses.contains(place));
    let keeps_order = |place: usize| {
        let mut later = parts.iter().zip(outcomes).skip(place + 1);
        later.all(|(part, outcome)| {
            *outcome != Outcome::Done || parts[place].about.is_other_than(&part.about)
        })
    };
    (0..parts.len())
        .filter(|place| outcomes[*place] == Outcome::Locked)
        .filter(|place| !is_used(place) && keeps_order(*place))
        .filter(|place| reads_before(parts, *place).is_some())
        .collect()
}

/// These parts with all that they read, in their order.
fn with_reads(parts: &[Standing], places: &[usize]) -> Vec<usize> {
    let reads = places
        .iter()
        .filter_map(|place| reads_before(parts, *place))
        .flatten();
    let all: BTreeSet<usize> = places.iter().copied().chain(reads).collect();
    all.into_iter().collect()
}

/// What a part refers to, and what that refers to; `None` where something of it does not only read.
fn reads_before(parts: &[Standing], place: usize) -> Option<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    for used in &parts[place].uses {
        // What stands later is no reference that Salesforce takes.
        if *used >= place || !parts[*used].only_reads {
            return None;
        }
        found.insert(*used);
        found.extend(reads_before(parts, *used)?);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use Outcome::{Done, Failed, Locked};

    use super::*;

    fn part(about: About, only_reads: bool, uses: &[usize]) -> Standing {
        Standing {
            about,
            only_reads,
            uses: uses.to_vec(),
        }
    }

    fn write(record: &str) -> Standing {
        part(About::Record(record.to_owned()), false, &[])
    }

    fn key(value: &str) -> Standing {
        let about = About::Key {
            object: "Account".to_owned(),
            field: "Key__c".to_owned(),
            value: value.to_owned(),
        };
        part(about, false, &[])
    }

    #[test]
    fn only_parts_that_stand_alone_are_sent_again() {
        let create = || part(About::New, false, &[]);
        let query = || part(About::Unknown, true, &[]);
        for (what, parts, outcomes, expected) in [
            (
                "records of their own",
                vec![write("a"), write("b"), create()],
                vec![Locked, Done, Locked],
                vec![0, 2],
            ),
            (
                "the same record later",
                vec![write("a"), write("a")],
                vec![Locked, Done],
                vec![],
            ),
            (
                "the same record later, which was locked too",
                vec![write("a"), write("a")],
                vec![Locked, Locked],
                vec![0, 1],
            ),
            (
                "the same record before",
                vec![write("a"), write("a")],
                vec![Done, Locked],
                vec![1],
            ),
            (
                "a query that has seen the org without it",
                vec![create(), query()],
                vec![Locked, Done],
                vec![],
            ),
            (
                "a query that has seen nothing",
                vec![create(), query()],
                vec![Locked, Failed],
                vec![0],
            ),
            (
                "keys of their own",
                vec![key("1"), key("2"), key("2")],
                vec![Locked, Locked, Done],
                vec![0],
            ),
            (
                "a key and an id may be one record",
                vec![key("1"), write("a")],
                vec![Locked, Done],
                vec![],
            ),
            (
                "another part needs it",
                vec![create(), part(About::New, false, &[0])],
                vec![Locked, Failed],
                vec![],
            ),
            (
                "it needs one that wrote",
                vec![create(), part(About::New, false, &[0])],
                vec![Done, Locked],
                vec![],
            ),
            (
                "it needs one that only read",
                vec![query(), part(About::New, false, &[0])],
                vec![Done, Locked],
                vec![1],
            ),
            (
                "it needs itself",
                vec![part(About::New, false, &[0])],
                vec![Locked],
                vec![],
            ),
        ] {
            assert_eq!(free(&parts, &outcomes), expected, "{what}");
        }
    }

    #[test]
    fn what_a_part_reads_goes_with_it() {
        let reads = |uses: &[usize]| part(About::Unknown, true, uses);
        let parts = [
            reads(&[]),
            reads(&[]),
            reads(&[0]),
            part(About::New, false, &[2]),
        ];
        assert_eq!(with_reads(&parts, &[3]), [0, 2, 3]);
    }
}
