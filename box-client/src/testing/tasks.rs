//! Tasks about files and who is asked to do them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    clock::stamp,
    items::Tree,
    people::User,
    state::{Visit, text},
    view,
};

#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: BTreeMap<String, Task>,
    assignments: BTreeMap<String, Assignment>,
}

#[derive(Debug)]
struct Task {
    id: String,
    file: String,
    action: String,
    message: String,
    due_at: Option<String>,
    rule: String,
    created_by: User,
    created_at: Timestamp,
}

#[derive(Debug)]
struct Assignment {
    id: String,
    task: String,
    to: User,
    by: User,
    at: Timestamp,
    message: String,
    resolution: String,
    completed_at: Option<Timestamp>,
}

impl Tasks {
    pub(super) fn json(&self, tree: &Tree) -> Value {
        let tasks = self.tasks.values();
        tasks.map(|task| self.task_json(tree, task)).collect()
    }

    fn of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Assignment> {
        self.assignments.values().filter(move |it| it.task == task)
    }

    fn get(&self, id: &str) -> Result<&Task, Refused> {
        let task = self.tasks.get(id);
        task.ok_or_else(|| Refused::not_found("task", id))
    }

    fn assignment(&self, id: &str) -> Result<&Assignment, Refused> {
        let assignment = self.assignments.get(id);
        assignment.ok_or_else(|| Refused::not_found("task_assignment", id))
    }

    fn is_completed(&self, task: &Task) -> bool {
        let mut done = self.of(&task.id).map(|it| it.resolution != "incomplete");
        match task.rule.as_str() {
            "any_assignee" => done.any(|done| done),
            _ => self.of(&task.id).next().is_some() && done.all(|done| done),
        }
    }

    fn task_json(&self, tree: &Tree, task: &Task) -> Value {
        json!({
            "type": "task",
            "id": task.id,
            "item": tree.get(&task.file).map(|item| view::mini(tree, item)),
            "due_at": task.due_at,
            "action": task.action,
            "message": task.message,
            "task_assignment_collection": self.collection(tree, task),
            "is_completed": self.is_completed(task),
            "created_by": task.created_by.mini(),
            "created_at": stamp(task.created_at),
            "completion_rule": task.rule,
        })
    }

    fn collection(&self, tree: &Tree, task: &Task) -> Value {
        let entries: Vec<Value> = self
            .of(&task.id)
            .map(|it| self.assignment_json(tree, it))
            .collect();
        json!({ "total_count": entries.len(), "entries": entries })
    }

    fn assignment_json(&self, tree: &Tree, of: &Assignment) -> Value {
        let file = self
            .tasks
            .get(&of.task)
            .and_then(|task| tree.get(&task.file));
        json!({
            "type": "task_assignment",
            "id": of.id,
            "item": file.map(|item| view::mini(tree, item)),
            "assigned_to": of.to.mini(),
            "assigned_by": of.by.mini(),
            "assigned_at": stamp(of.at),
            "message": of.message,
            "reminded_at": null,
            "completed_at": of.completed_at.map(stamp),
            "resolution_state": of.resolution,
        })
    }
}

/// `POST /tasks`
pub(super) fn create(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    if text(&body, "/item/type") != Some("file") {
        return Err(Refused::parameter("item.type", "file"));
    }
    let file = text(&body, "/item/id").ok_or_else(|| Refused::missing("item.id"))?;
    visit.state.tree.file(file)?;
    let mut task = Task {
        id: visit.state.ids.record(),
        file: file.to_owned(),
        action: "review".to_owned(),
        message: String::new(),
        due_at: None,
        rule: "all_assignees".to_owned(),
        created_by: visit.actor.clone(),
        created_at: Timestamp::now(),
    };
    change(&mut task, &body)?;
    let shown = visit.state.tasks.task_json(&visit.state.tree, &task);
    visit.state.tasks.tasks.insert(task.id.clone(), task);
    Ok(Answer::json(201, &shown))
}

/// `GET /files/{id}/tasks`: all at once.
pub(super) fn list(visit: &mut Visit<'_>, file: &str) -> Outcome {
    let state = &*visit.state;
    state.tree.file(file)?;
    let tasks = state.tasks.tasks.values().filter(|task| task.file == file);
    let entries: Vec<Value> = tasks
        .map(|task| state.tasks.task_json(&state.tree, task))
        .collect();
    let body = json!({ "total_count": entries.len(), "entries": entries });
    Ok(Answer::json(200, &body))
}

/// `GET /tasks/{id}`
pub(super) fn get(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let (tasks, tree) = (&visit.state.tasks, &visit.state.tree);
    Ok(Answer::json(200, &tasks.task_json(tree, tasks.get(id)?)))
}

/// `PUT /tasks/{id}`
pub(super) fn update(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let task = visit.state.tasks.tasks.get_mut(id);
    change(task.ok_or_else(|| Refused::not_found("task", id))?, &body)?;
    get(visit, id)
}

/// `DELETE /tasks/{id}`
pub(super) fn delete(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let tasks = &mut visit.state.tasks;
    tasks.get(id)?;
    tasks.tasks.remove(id);
    tasks.assignments.retain(|_, it| it.task != id);
    Ok(Answer::empty(204))
}

/// `POST /task_assignments`
pub(super) fn assign(visit: &mut Visit<'_>) -> Outcome {
    let body = visit.json()?;
    let id = text(&body, "/task/id").ok_or_else(|| Refused::missing("task.id"))?;
    let state = &mut *visit.state;
    let task = state.tasks.get(id)?;
    if state.tasks.is_completed(task) {
        return Err(Refused::new(403, "forbidden", "The task is completed"));
    }
    let (by_id, login) = (
        text(&body, "/assign_to/id"),
        text(&body, "/assign_to/login"),
    );
    let known = state.users.iter().find(|user| {
        by_id == Some(&user.id) || login.is_some_and(|it| user.login.eq_ignore_ascii_case(it))
    });
    let to = known.ok_or_else(|| Refused::missing("assign_to"))?.clone();
    if state.tasks.of(id).any(|it| it.to == to) {
        return Err(Refused::bad_request("The user is assigned already"));
    }
    let assignment = Assignment {
        id: state.ids.record(),
        task: id.to_owned(),
        to,
        by: visit.actor.clone(),
        at: Timestamp::now(),
        message: String::new(),
        resolution: "incomplete".to_owned(),
        completed_at: None,
    };
    let shown = state.tasks.assignment_json(&state.tree, &assignment);
    let key = assignment.id.clone();
    state.tasks.assignments.insert(key, assignment);
    Ok(Answer::json(201, &shown))
}

/// `GET /tasks/{id}/assignments`: all at once.
pub(super) fn assignments(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let (tasks, tree) = (&visit.state.tasks, &visit.state.tree);
    Ok(Answer::json(200, &tasks.collection(tree, tasks.get(id)?)))
}

/// `GET /task_assignments/{id}`
pub(super) fn assignment(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let (tasks, tree) = (&visit.state.tasks, &visit.state.tree);
    let shown = tasks.assignment_json(tree, tasks.assignment(id)?);
    Ok(Answer::json(200, &shown))
}

/// `PUT /task_assignments/{id}`
pub(super) fn resolve(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let body = visit.json()?;
    let tasks = &mut visit.state.tasks;
    let task = tasks.get(&tasks.assignment(id)?.task)?;
    let allowed = match task.action.as_str() {
        "review" => ["incomplete", "approved", "rejected"].as_slice(),
        _ => &["incomplete", "completed"],
    };
    let resolution = text(&body, "/resolution_state");
    if resolution.is_some_and(|state| !allowed.contains(&state)) {
        let message = format!("a task to {} takes {}", task.action, allowed.join(", "));
        return Err(Refused::parameter("resolution_state", message));
    }
    if let Some(assignment) = tasks.assignments.get_mut(id) {
        if let Some(resolution) = resolution {
            resolution.clone_into(&mut assignment.resolution);
            assignment.completed_at = (resolution != "incomplete").then(Timestamp::now);
        }
        if let Some(message) = text(&body, "/message") {
            message.clone_into(&mut assignment.message);
        }
    }
    assignment(visit, id)
}

/// `DELETE /task_assignments/{id}`
pub(super) fn unassign(visit: &mut Visit<'_>, id: &str) -> Outcome {
    visit.state.tasks.assignment(id)?;
    visit.state.tasks.assignments.remove(id);
    Ok(Answer::empty(204))
}

fn change(task: &mut Task, body: &Value) -> Result<(), Refused> {
    let one_of = |name: &'static str, words: &[&str]| match text(body, &format!("/{name}")) {
        Some(word) if !words.contains(&word) => Err(Refused::parameter(
            name,
            format!("one of {}", words.join(", ")),
        )),
        word => Ok(word.map(str::to_owned)),
    };
    if let Some(action) = one_of("action", &["review", "complete"])? {
        task.action = action;
    }
    if let Some(rule) = one_of("completion_rule", &["all_assignees", "any_assignee"])? {
        task.rule = rule;
    }
    if let Some(message) = text(body, "/message") {
        message.clone_into(&mut task.message);
    }
    if let Some(due) = text(body, "/due_at") {
        if due.parse::<Timestamp>().is_err() {
            return Err(Refused::parameter("due_at", "a date and time"));
        }
        task.due_at = Some(due.to_owned());
    }
    Ok(())
}
