use std::time::Duration;

use async_trait::async_trait;

use super::{Action, StepError, Work};
use crate::{
    crm::{Deal, Record},
    plan::Step,
    port_error::{PortError, PortErrorKind},
    situation::Situation,
};

const AT_REST_AFTER: Duration = Duration::from_secs(2);
/// However wrong our clock is, nobody waits for longer for a deal to be at rest.
const MOST_BEHIND: Duration = Duration::from_secs(60);
/// A deal that others keep changing is read and tried this often in one attempt.
const TRIES: usize = 3;

/// Moves the mapped Opportunity to a stage: never backward, never out of a closed stage, never to
/// a stage that the org does not have.
#[derive(Clone, Debug)]
pub struct AdvanceStage {
    to: String,
}

impl AdvanceStage {
    /// Moves to this stage, named as the org's API names it.
    pub fn new(to: impl Into<String>) -> Self {
        Self { to: to.into() }
    }
}

/// What a deal's stage allows.
#[derive(Debug, Eq, PartialEq)]
enum Move {
    Write,
    Leave(String),
    Impossible(String),
}

/// The guard. Pure, so that what it promises can be tested for every pair of stages.
fn judge(deal: &Deal, to: &str) -> Move {
    let position = |name: &str| deal.stages.iter().position(|stage| stage.name == name);
    let Some(target) = position(to) else {
        let names: Vec<_> = deal
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        return Move::Impossible(format!(
            "the org has no active stage `{to}`; it has {}",
            names.join(", ")
        ));
    };
    if deal.stage == to {
        return Move::Leave(format!("stage is {to} already"));
    }
    if deal.is_closed {
        return Move::Leave(format!("stage stays {}: the deal is closed", deal.stage));
    }
    match position(&deal.stage) {
        Some(current) if current < target => Move::Write,
        Some(_) => Move::Leave(format!("stage stays {}: it is past {to}", deal.stage)),
        None => Move::Leave(format!(
            "stage stays {}: it is not among the active stages, so it cannot be told whether \
             {to} is ahead",
            deal.stage
        )),
    }
}

#[async_trait]
impl Action for AdvanceStage {
    fn name(&self) -> &str {
        "advance_stage"
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let deal = situation.opportunity.as_ref()?;
        Some(format!("advance {} to {}", deal.id, self.to))
    }

    async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
        let Some(record) = &work.situation.opportunity else {
            return Ok("no Opportunity".to_owned());
        };
        advance(record, &self.to, work).await
    }
}

async fn advance(record: &Record, to: &str, work: &Work<'_>) -> Result<String, StepError> {
    for _ in 0..TRIES {
        let deal = work.crm.deal(record).await?;
        match judge(&deal, to) {
            Move::Leave(why) => return Ok(why),
            Move::Impossible(why) => return Err(StepError::Person(why)),
            Move::Write => {}
        }
        // Salesforce compares whole seconds: a change right after the one that we have seen would
        // go unnoticed.
        let now = work.clock.now();
        // Where our clock is behind, a change lies ahead; one that lies far ahead tells nothing.
        if let Some(changed_at) = deal.changed_at
            && let Ok(until) = changed_at.checked_add(AT_REST_AFTER)
            && now < until
            && until.duration_since(now).unsigned_abs() <= MOST_BEHIND
        {
            return Err(StepError::Wait {
                reason: "the deal was changed just now".to_owned(),
                until,
            });
        }
        if !work.hold.is_good() {
            return Err(StepError::LostHold);
        }
        if work.crm.set_stage(record, to, &deal).await? {
            return Ok(format!("stage {} → {to}", deal.stage));
        }
    }
    Err(PortError::new(PortErrorKind::Busy, "advance the stage")
        .with_cause("the deal was changed by others each time")
        .into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crm::Stage;

    fn deal(stage: &str, is_closed: bool) -> Deal {
        let stage_of = |(name, is_closed): (&str, bool)| Stage {
            name: name.into(),
            is_closed,
        };
        Deal {
            stage: stage.into(),
            is_closed,
            changed_at: None,
            stages: [
                ("New", false),
                ("Proposal", false),
                ("Won", true),
                ("Lost", true),
            ]
            .map(stage_of)
            .into(),
        }
    }

    #[test]
    fn a_stage_moves_forward_only() {
        assert_eq!(judge(&deal("New", false), "Won"), Move::Write);
        assert!(matches!(
            judge(&deal("Proposal", false), "New"),
            Move::Leave(_)
        ));
        assert!(matches!(judge(&deal("Won", true), "Lost"), Move::Leave(_)));
        assert!(matches!(
            judge(&deal("Renamed", false), "Won"),
            Move::Leave(_)
        ));
        assert!(matches!(
            judge(&deal("New", false), "Closed Wno"),
            Move::Impossible(_)
        ));
    }

    proptest! {
        #[test]
        fn never_backward_never_reopened_never_unknown(
            from in "New|Proposal|Won|Lost|Gone", closed: bool, to in "New|Proposal|Won|Lost|Nowhere",
        ) {
            let deal = deal(&from, closed);
            if judge(&deal, &to) == Move::Write {
                let at = |name: &str| deal.stages.iter().position(|stage| stage.name == name);
                prop_assert!(!closed && at(&from) < at(&to) && at(&from).is_some());
            }
        }
    }
}
