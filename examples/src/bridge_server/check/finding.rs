//! What a check has found, in a line.

use serde::Serialize;

use crate::{Failure, say};

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    /// It works, or may work, and not all that is configured.
    Warning,
    /// It cannot work so.
    Problem,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) about: String,
    pub(super) state: State,
    pub(super) says: String,
    /// What to do about it.
    pub(super) todo: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: &str, says: impl Into<String>) -> Self {
        Self::new(about, State::Ok, says.into(), None)
    }

    pub(super) fn warning(about: &str, says: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(about, State::Warning, says.into(), Some(todo.into()))
    }

    pub(super) fn problem(about: &str, says: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(about, State::Problem, says.into(), Some(todo.into()))
    }

    /// For what a check of its own has found already.
    pub(super) fn not_checked(about: &str, see: &str) -> Self {
        Self::warning(about, "not checked", format!("see {see}"))
    }

    fn new(about: &str, state: State, says: String, todo: Option<String>) -> Self {
        Self {
            about: about.to_owned(),
            state,
            says,
            todo,
        }
    }

    pub(super) fn show(&self, json: bool) -> Result<(), Failure> {
        if json {
            return say(serde_json::to_string(self).map_err(Failure::run)?);
        }
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        };
        let todo = match &self.todo {
            Some(todo) => format!("; {todo}"),
            None => String::new(),
        };
        say(format_args!(
            "{state:<8} {:<30} {}{todo}",
            self.about, self.says
        ))
    }
}
