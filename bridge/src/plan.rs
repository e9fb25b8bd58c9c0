//! What will be done, as data: to be printed, tested, shown, and then carried out.

use std::fmt;

use serde::Serialize;

use crate::{rules::Rule, situation::Situation};

/// The steps that an event leads to, in the order in which they are carried out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step: one action of one rule.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// The rule that asks for it.
    pub rule: String,
    /// Which of the rules that is, from 0.
    pub rule_position: usize,
    /// Which of the rule's actions it is, from 0.
    pub position: usize,
    /// Which of the rule's actions of this name it is, from 0.
    pub occurrence: usize,
    /// The action's name.
    pub action: String,
    /// What it will do, in a line for people.
    pub does: String,
}

impl Plan {
    /// The plan for a situation. Pure: nothing is asked and nothing is done.
    pub fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>, situation: &Situation) -> Self {
        let mut steps = Vec::new();
        for (rule_position, rule) in rules.into_iter().enumerate() {
            let fits = rule.wants(&situation.trigger) && rule.fits(&situation.subject);
            if !fits || !rule.is_for_version(situation) || rule.waits_for_the_end(situation) {
                continue;
            }
            let actions = rule.actions();
            for (position, action) in actions.iter().enumerate() {
                let Some(does) = action.plan(situation) else {
                    continue;
                };
                let before = &actions[..position];
                let same = before.iter().filter(|it| it.name() == action.name());
                steps.push(Step {
                    rule: rule.name().to_owned(),
                    rule_position,
                    position,
                    occurrence: same.count(),
                    action: action.name().to_owned(),
                    does,
                });
            }
        }
        Self { steps }
    }

    /// Leaves only the steps of actions of this name.
    pub(crate) fn only(&mut self, action: &str) {
        self.steps.retain(|step| step.action == action);
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("nothing to do");
        }
        for (number, step) in self.steps.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(
                f,
                "{}. {}  (rule {}, {})",
                number + 1,
                step.does,
                step.rule,
                step.action
            )?;
        }
        Ok(())
    }
}
