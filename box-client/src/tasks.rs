//! Tasks: what people are asked to do with a file.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    FileId, FileMini, TaskAssignmentId, TaskId, UserId, UserMini, call::Call, error::Result,
    open_enum::open_enum, transport::Transport,
};

/// Calls on tasks and their assignments. From [`BoxClient::tasks`](crate::BoxClient::tasks).
///
/// Vendor: <https://developer.box.com/reference/resources/task/>
///
/// ```no_run
/// use box_client::{Assignee, BoxClient, FileId, TaskAction};
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let file = FileId::new("777000111")?;
/// let tasks = client.tasks();
/// let task = tasks.create(&file).action(TaskAction::Review).message("Please review").send().await?;
/// tasks.assign(&task.id, &Assignee::Login("legal@example.com".to_owned())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tasks<'a> {
    transport: &'a Transport,
}

impl<'a> Tasks<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Makes a task about a file. Nobody is asked before it is [assigned](Self::assign).
    ///
    /// Vendor: <https://developer.box.com/reference/post-tasks/>
    pub fn create(&self, file: &FileId) -> WriteTask<'a> {
        let mut body = Map::new();
        body.insert("item".to_owned(), json!({ "type": "file", "id": file }));
        WriteTask {
            transport: self.transport,
            id: None,
            body,
        }
    }

    /// The tasks about a file, all at once.
    ///
    /// Vendor: <https://developer.box.com/reference/get-files-id-tasks/>
    pub async fn list(&self, file: &FileId) -> Result<Vec<Task>> {
        let path = ["files", file.as_str(), "tasks"];
        let call = Call::new("tasks.list", Method::GET, path);
        let all: All<Task> = self.transport.json(&call).await?;
        Ok(all.entries.unwrap_or_default())
    }

    /// A task.
    ///
    /// Vendor: <https://developer.box.com/reference/get-tasks-id/>
    pub async fn get(&self, id: &TaskId) -> Result<Task> {
        let call = Call::new("tasks.get", Method::GET, ["tasks", id.as_str()]);
        self.transport.json(&call).await
    }

    /// Changes a task.
    ///
    /// Vendor: <https://developer.box.com/reference/put-tasks-id/>
    pub fn update(&self, id: &TaskId) -> WriteTask<'a> {
        WriteTask {
            transport: self.transport,
            id: Some(id.clone()),
            body: Map::new(),
        }
    }

    /// Deletes a task.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-tasks-id/>
    pub async fn delete(&self, id: &TaskId) -> Result<()> {
        let call = Call::new("tasks.delete", Method::DELETE, ["tasks", id.as_str()]);
        self.transport.gone(&call).await
    }

    /// Asks somebody to do a task, once per user.
    ///
    /// Vendor: <https://developer.box.com/reference/post-task-assignments/>
    pub async fn assign(&self, task: &TaskId, to: &Assignee) -> Result<TaskAssignment> {
        let to = match to {
            Assignee::User(id) => json!({ "id": id }),
            Assignee::Login(login) => json!({ "login": login }),
        };
        let body = json!({ "task": { "type": "task", "id": task }, "assign_to": to });
        let call = Call::new("tasks.assign", Method::POST, ["task_assignments"]).json(&body)?;
        self.transport.json(&call).await
    }

    /// Who is asked to do a task, all at once.
    ///
    /// Vendor: <https://developer.box.com/reference/get-tasks-id-assignments/>
    pub async fn assignments(&self, task: &TaskId) -> Result<Vec<TaskAssignment>> {
        let path = ["tasks", task.as_str(), "assignments"];
        let call = Call::new("tasks.assignments", Method::GET, path);
        let all: All<TaskAssignment> = self.transport.json(&call).await?;
        Ok(all.entries.unwrap_or_default())
    }

    /// One user's part of a task.
    ///
    /// Vendor: <https://developer.box.com/reference/get-task-assignments-id/>
    pub async fn assignment(&self, id: &TaskAssignmentId) -> Result<TaskAssignment> {
        let path = ["task_assignments", id.as_str()];
        let call = Call::new("tasks.assignment", Method::GET, path);
        self.transport.json(&call).await
    }

    /// Tells how one user's part went: [`Completed`](Resolution::Completed) and
    /// [`Incomplete`](Resolution::Incomplete) of tasks to complete,
    /// [`Approved`](Resolution::Approved) and [`Rejected`](Resolution::Rejected) of reviews.
    ///
    /// Vendor: <https://developer.box.com/reference/put-task-assignments-id/>
    pub async fn resolve(
        &self,
        id: &TaskAssignmentId,
        resolution: &Resolution,
        message: Option<&str>,
    ) -> Result<TaskAssignment> {
        let mut body = json!({ "resolution_state": resolution });
        if let Some(message) = message {
            body["message"] = message.into();
        }
        let path = ["task_assignments", id.as_str()];
        let call = Call::new("tasks.resolve", Method::PUT, path).json(&body)?;
        self.transport.json(&call).await
    }

    /// Asks a user no longer.
    ///
    /// Vendor: <https://developer.box.com/reference/delete-task-assignments-id/>
    pub async fn unassign(&self, id: &TaskAssignmentId) -> Result<()> {
        let path = ["task_assignments", id.as_str()];
        let call = Call::new("tasks.unassign", Method::DELETE, path);
        self.transport.gone(&call).await
    }
}

#[derive(Deserialize)]
struct All<T> {
    entries: Option<Vec<T>>,
}

/// Who is asked to do a task.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Assignee {
    /// A user.
    User(UserId),
    /// Whoever logs in with this e-mail address.
    Login(String),
}

/// Makes or changes a task. From [`Tasks::create`] and [`Tasks::update`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct WriteTask<'a> {
    transport: &'a Transport,
    id: Option<TaskId>,
    body: Map<String, Value>,
}

impl WriteTask<'_> {
    /// What is to be done: a review unless said otherwise.
    pub fn action(self, action: TaskAction) -> Self {
        self.set("action", action.as_str())
    }

    /// What people are told.
    pub fn message(self, message: &str) -> Self {
        self.set("message", message)
    }

    /// When it has to be done.
    pub fn due_at(self, at: Timestamp) -> Self {
        self.set("due_at", at.to_string())
    }

    /// Who has to do it for the task to be done: all unless said otherwise.
    pub fn completion_rule(self, rule: CompletionRule) -> Self {
        self.set("completion_rule", rule.as_str())
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Task> {
        let call = match &self.id {
            None => Call::new("tasks.create", Method::POST, ["tasks"]),
            Some(id) => Call::new("tasks.update", Method::PUT, ["tasks", id.as_str()]),
        };
        self.transport.json(&call.json(&self.body)?).await
    }
}

open_enum! {
    /// What a task asks for.
    TaskAction {
        /// To approve or reject.
        Review = "review",
        /// To do something.
        Complete = "complete",
    }
}

open_enum! {
    /// Whose work makes a task done.
    CompletionRule {
        /// That of all who are asked.
        AllAssignees = "all_assignees",
        /// That of one of them.
        AnyAssignee = "any_assignee",
    }
}

open_enum! {
    /// How one user's part of a task went.
    Resolution {
        /// It is done.
        Completed = "completed",
        /// It is not done yet.
        Incomplete = "incomplete",
        /// The file is approved.
        Approved = "approved",
        /// The file is rejected.
        Rejected = "rejected",
    }
}

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The file it is about.
    pub item: Option<FileMini>,
    /// When it has to be done.
    pub due_at: Option<Timestamp>,
    /// What is to be done.
    pub action: Option<TaskAction>,
    /// What people are told.
    pub message: Option<String>,
    /// Who is asked.
    #[serde(default, deserialize_with = "assignments")]
    pub task_assignment_collection: Vec<TaskAssignment>,
    /// Whether it is done.
    pub is_completed: Option<bool>,
    /// Who has to do it for the task to be done.
    pub completion_rule: Option<CompletionRule>,
    /// Who made it.
    pub created_by: Option<UserMini>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

fn assignments<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<TaskAssignment>, D::Error> {
    let all = Option::<All<TaskAssignment>>::deserialize(deserializer)?;
    Ok(all.and_then(|all| all.entries).unwrap_or_default())
}

/// One user's part of a task.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct TaskAssignment {
    /// Its id.
    pub id: TaskAssignmentId,
    /// The file it is about.
    pub item: Option<FileMini>,
    /// Who is asked.
    pub assigned_to: Option<UserMini>,
    /// Who asked.
    pub assigned_by: Option<UserMini>,
    /// When they were asked.
    pub assigned_at: Option<Timestamp>,
    /// When they were reminded.
    pub reminded_at: Option<Timestamp>,
    /// When they were done.
    pub completed_at: Option<Timestamp>,
    /// What they said.
    pub message: Option<String>,
    /// How it went.
    pub resolution_state: Option<Resolution>,
}
