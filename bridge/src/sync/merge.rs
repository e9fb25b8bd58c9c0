//! What one round does with one pair. Pure.

use super::{
    datum::Datum,
    field_map::{Direction, Side},
};

/// What a side shows; `None` is an empty value.
pub(super) type Shown = Option<Datum>;

/// A pair as the round finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    /// What both sides last agreed on, or were about to; `None` before the first time.
    pub(super) agreed: Option<&'a Shown>,
    /// A write that nobody has seen arrive: to this side, which may still show any of these
    /// values for no other reason than that.
    pub(super) pending: Option<(Side, &'a [Shown])>,
    pub(super) content: &'a Shown,
    pub(super) crm: &'a Shown,
    pub(super) direction: Direction,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Merged {
    /// Both sides show the same.
    Same,
    /// The other side's value goes to this one, whose own value is lost where `is_conflict`.
    Carry { to: Side, is_conflict: bool },
    /// What was agreed on goes to this side once more: the first write has not arrived.
    Again { to: Side },
    /// They differ, and somebody has to say who wins.
    Open,
    /// They differ, and the pair does not go the way that would end it.
    Stay,
}

impl Pair<'_> {
    /// What a person has decided, whoever has changed what.
    pub(super) fn decided(self, keep: Side) -> Merged {
        let to = keep.other();
        match self.direction.goes_to(to) {
            _ if is_alike(self.content, self.crm) => Merged::Same,
            true => Merged::Carry {
                to,
                is_conflict: true,
            },
            false => Merged::Stay,
        }
    }
}

/// `wins` is who wins where both sides have changed, if anybody can say.
pub(super) fn merge(pair: Pair<'_>, wins: Option<Side>) -> Merged {
    let shown = |side: Side| match side {
        Side::Box => pair.content,
        Side::Salesforce => pair.crm,
    };
    if is_alike(pair.content, pair.crm) {
        return Merged::Same;
    }
    let Some(agreed) = pair.agreed else {
        return first(pair, wins);
    };
    let has_changed = |side: Side| {
        let waited_for = match pair.pending {
            Some((to, may_show)) => to == side && may_show.contains(shown(side)),
            None => false,
        };
        !is_alike(shown(side), agreed) && !waited_for
    };
    let mut changed = (has_changed(Side::Box), has_changed(Side::Salesforce));
    // The value that was on its way has met a stranger: it has come from the other side, and
    // would be lost without a trace.
    match pair.pending {
        Some((Side::Salesforce, _)) if changed.1 => changed.0 = true,
        Some((Side::Box, _)) if changed.0 => changed.1 = true,
        _ => {}
    }
    let carry = |to: Side, is_conflict| match pair.direction.goes_to(to) {
        true => Merged::Carry { to, is_conflict },
        false => Merged::Stay,
    };
    match changed {
        (true, false) => carry(Side::Salesforce, false),
        (false, true) => carry(Side::Box, false),
        (true, true) => conflict(pair.direction, wins),
        (false, false) => match pair.pending {
            Some((to, _)) if pair.direction.goes_to(to) => Merged::Again { to },
            _ => Merged::Stay,
        },
    }
}

/// Nothing was ever agreed on: a value wins over none, and so does a ticked checkbox.
fn first(pair: Pair<'_>, wins: Option<Side>) -> Merged {
    let only = match (pair.content, pair.crm) {
        (Some(_), None) => Some(Side::Salesforce),
        (None, Some(_)) => Some(Side::Box),
        _ => None,
    };
    match only {
        None => conflict(pair.direction, wins),
        Some(to) if pair.direction.goes_to(to) => Merged::Carry {
            to,
            is_conflict: false,
        },
        Some(_) => Merged::Stay,
    }
}

/// A checkbox without a value is not ticked.
fn is_alike(one: &Shown, other: &Shown) -> bool {
    let is_off = |it: &Shown| matches!(it, None | Some(Datum::Flag(false)));
    one == other || (is_off(one) && is_off(other))
}

fn conflict(direction: Direction, wins: Option<Side>) -> Merged {
    let wins = match direction {
        Direction::Both => wins,
        Direction::ToBox => Some(Side::Salesforce),
        Direction::ToSalesforce => Some(Side::Box),
    };
    match wins {
        None => Merged::Open,
        Some(side) => Merged::Carry {
            to: side.other(),
            is_conflict: true,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn shown() -> impl Strategy<Value = Shown> {
        prop_oneof![Just(None), "[abc]".prop_map(|text| Some(Datum::Text(text)))]
    }

    fn ticked() -> impl Strategy<Value = Shown> {
        proptest::option::of(any::<bool>().prop_map(Datum::Flag))
    }

    fn side() -> impl Strategy<Value = Side> {
        prop_oneof![Just(Side::Box), Just(Side::Salesforce)]
    }

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![
            Just(Direction::Both),
            Just(Direction::ToBox),
            Just(Direction::ToSalesforce)
        ]
    }

    proptest! {
        #[test]
        fn no_changed_value_is_ever_overwritten_but_as_a_conflict(
            agreed in proptest::option::of(shown()), content in shown(), crm in shown(),
            direction in direction(), wins in proptest::option::of(side()),
            pending in proptest::option::of((side(), proptest::collection::vec(shown(), 0..3))),
        ) {
            let pair = Pair {
                agreed: agreed.as_ref(),
                pending: pending.as_ref().map(|(side, all)| (*side, all.as_slice())),
                content: &content,
                crm: &crm,
                direction,
            };
            let merged = merge(pair, wins);
            let target = |to| if to == Side::Box { &content } else { &crm };
            match &merged {
                Merged::Same => prop_assert_eq!(&content, &crm),
                Merged::Carry { to, is_conflict } => {
                    prop_assert!(direction.goes_to(*to), "against the direction");
                    let is_ours = pending.as_ref().is_some_and(|(side, all)| {
                        side == to && all.contains(target(*to))
                    });
                    let is_old = agreed.as_ref() == Some(target(*to)) || is_ours;
                    let is_nothing = agreed.is_none() && target(*to).is_none();
                    prop_assert!(*is_conflict || is_old || is_nothing, "{merged:?}");
                }
                Merged::Again { to } => {
                    prop_assert!(direction.goes_to(*to));
                    let Some((side, all)) = pending.as_ref() else {
                        return Err(TestCaseError::fail("nothing is pending"));
                    };
                    prop_assert!(side == to && all.contains(target(*to)));
                }
                Merged::Open => prop_assert!(direction == Direction::Both && wins.is_none()),
                Merged::Stay => prop_assert!(content != crm),
            }
        }

        /// Nobody has unticked what was never there.
        #[test]
        fn a_first_meeting_unticks_nothing_and_empties_nothing(
            content in prop_oneof![shown(), ticked()], crm in prop_oneof![shown(), ticked()],
            direction in direction(), wins in proptest::option::of(side()),
        ) {
            let pair = Pair {
                agreed: None, pending: None, content: &content, crm: &crm, direction,
            };
            if let Merged::Carry { to, is_conflict } = merge(pair, wins) {
                let (from, over) = match to {
                    Side::Box => (&crm, &content),
                    Side::Salesforce => (&content, &crm),
                };
                prop_assert!(from.is_some(), "{over:?} is emptied");
                prop_assert!(is_conflict || over.is_none(), "{over:?} is lost");
            }
        }

        #[test]
        fn carried_once_both_sides_agree_for_good(
            agreed in proptest::option::of(shown()), content in shown(), crm in shown(),
            wins in side(),
        ) {
            let pair = Pair {
                agreed: agreed.as_ref(), pending: None, content: &content, crm: &crm,
                direction: Direction::Both,
            };
            let (content, crm) = match merge(pair, Some(wins)) {
                Merged::Carry { to: Side::Box, .. } => (crm.clone(), crm),
                Merged::Carry { to: Side::Salesforce, .. } => (content.clone(), content),
                other => { prop_assert_eq!(other, Merged::Same); (content, crm) }
            };
            let again = Pair {
                agreed: Some(&content), pending: None, content: &content, crm: &crm,
                direction: Direction::Both,
            };
            prop_assert_eq!(merge(again, Some(wins)), Merged::Same);
        }

        /// Whoever continues after a crash does not know whether the write has arrived.
        #[test]
        fn an_own_write_is_never_taken_for_somebody_elses(
            before in shown(), value in shown(), direction in direction(), to in side(),
            has_arrived: bool, wins in proptest::option::of(side()),
        ) {
            prop_assume!(before != value && direction.goes_to(to));
            let target = if has_arrived { &value } else { &before };
            let (content, crm) = match to {
                Side::Box => (target, &value),
                Side::Salesforce => (&value, target),
            };
            let may_show = [before.clone()];
            let pair = Pair {
                agreed: Some(&value), pending: Some((to, &may_show)), content, crm, direction,
            };
            let expected = if has_arrived { Merged::Same } else { Merged::Again { to } };
            prop_assert_eq!(merge(pair, wins), expected);
        }
    }
}
