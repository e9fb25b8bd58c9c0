use serde_json::{Value, json};

use super::refusal::Refusal;
use super::store::{Actor, Org, Values};

/// Name, probability, closed, won, forecast category of the stages of a fresh org.
const STAGES: [(&str, u32, bool, bool, &str); 10] = [
    ("Prospecting", 10, false, false, "Pipeline"),
    ("Qualification", 10, false, false, "Pipeline"),
    ("Needs Analysis", 20, false, false, "Pipeline"),
    ("Value Proposition", 50, false, false, "Pipeline"),
    ("Id. Decision Makers", 60, false, false, "Pipeline"),
    ("Perception Analysis", 70, false, false, "Pipeline"),
    ("Proposal/Price Quote", 75, false, false, "Pipeline"),
    ("Negotiation/Review", 90, false, false, "Pipeline"),
    ("Closed Won", 100, true, true, "Closed"),
    ("Closed Lost", 0, true, false, "Omitted"),
];

const TASK_STATUSES: [(&str, bool); 5] = [
    ("Not Started", false),
    ("In Progress", false),
    ("Completed", true),
    ("Waiting on someone else", false),
    ("Deferred", false),
];

/// Fills the set-up objects of a fresh org.
pub(super) fn set_up(org: &mut Org, actor: &Actor) -> Result<(), Refusal> {
    for (place, (name, probability, is_closed, is_won, forecast)) in STAGES.iter().enumerate() {
        let stage = json!({
            "ApiName": name,
            "MasterLabel": name,
            "IsActive": true,
            "IsClosed": is_closed,
            "IsWon": is_won,
            "SortOrder": place + 1,
            "DefaultProbability": probability,
            "ForecastCategory": forecast,
            "ForecastCategoryName": forecast,
        });
        add(org, "OpportunityStage", stage, actor)?;
    }
    for (place, (name, is_closed)) in TASK_STATUSES.iter().enumerate() {
        let status = json!({
            "ApiName": name,
            "MasterLabel": name,
            "IsClosed": is_closed,
            "IsDefault": place == 0,
            "SortOrder": place + 1,
        });
        add(org, "TaskStatus", status, actor)?;
    }
    Ok(())
}

/// Adds a user and gives back its id.
pub(super) fn add_user(
    org: &mut Org,
    username: &str,
    last_name: &str,
    actor: &Actor,
) -> Result<String, Refusal> {
    let email = if username.contains('@') {
        username
    } else {
        "user@example.com"
    };
    let user = json!({ "Username": username, "LastName": last_name, "Email": email });
    add(org, "User", user, actor)
}

fn add(org: &mut Org, object: &str, values: Value, actor: &Actor) -> Result<String, Refusal> {
    let values = match values {
        Value::Object(values) => values,
        _ => Values::new(),
    };
    org.create(object, &values, None, actor)
}
