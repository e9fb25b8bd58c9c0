use jiff::SignedDuration;
use serde_json::{Value, json};

use super::checks::required;
use super::convert::{cannot_reference_converted_lead, is_converted};
use super::refusal::Refusal;
use super::store::{Actor, Org, Values};
use super::tooling;
use super::values::{stamp, time_of};

/// Sets what the server works out from the other values of a record.
pub(super) fn derive(
    org: &Org,
    object: &str,
    values: &mut Values,
    before: Option<&Values>,
    actor: &Actor,
) -> Result<(), Refusal> {
    match object {
        "Contact" | "Lead" | "User" => full_name(values),
        "Opportunity" => stage(org, values, before),
        "PermissionSet" | "FieldPermissions" | "PermissionSetAssignment" if before.is_none() => {
            tooling::check(org, object, values)?;
        }
        "Task" => {
            check_who_and_what(org, values)?;
            task_status(org, values, before, actor);
            activity_account(org, values);
        }
        "Event" => {
            check_who_and_what(org, values)?;
            check_event_time(values)?;
            activity_account(org, values);
        }
        "Case" => {
            let closed = text(values, "Status") == Some("Closed");
            values.insert("IsClosed".to_owned(), json!(closed));
        }
        _ => {}
    }
    Ok(())
}

/// The number or name that the org gives to a new record.
pub(super) fn number_record(object: &str, number: u64, id: &str, values: &mut Values) {
    // A record of a custom object that nobody named is named by its id.
    if object.ends_with("__c") && text(values, "Name").is_none() {
        values.insert("Name".to_owned(), json!(id));
    }
    if object == "Case" {
        values.insert(
            "CaseNumber".to_owned(),
            json!(format!("{:08}", number + 1000)),
        );
    }
}

/// A contact given with a new opportunity becomes its primary contact role.
pub(super) fn after_create(
    org: &mut Org,
    object: &str,
    id: &str,
    actor: &Actor,
) -> Result<(), Refusal> {
    if matches!(object, "FieldPermissions" | "PermissionSetAssignment") {
        tooling::show_granted(org, actor);
    }
    let contact = org
        .get_living(id)
        .and_then(|record| record.text("ContactId"));
    let (Some(contact), "Opportunity") = (contact, object) else {
        return Ok(());
    };
    let mut role = Values::new();
    role.insert("OpportunityId".to_owned(), json!(id));
    role.insert("ContactId".to_owned(), json!(contact));
    role.insert("IsPrimary".to_owned(), json!(true));
    org.insert("OpportunityContactRole", role, actor).map(drop)
}

/// Living records that go to the bin together with this one.
pub(super) fn children(org: &Org, object: &str, id: &str) -> Vec<String> {
    let own: &[(&str, &str)] = match object {
        "Account" => &[("Contact", "AccountId"), ("Opportunity", "AccountId")],
        "Opportunity" => &[("OpportunityContactRole", "OpportunityId")],
        "Contact" => &[("OpportunityContactRole", "ContactId")],
        "ContentDocument" => &[
            ("ContentVersion", "ContentDocumentId"),
            ("ContentDocumentLink", "ContentDocumentId"),
        ],
        _ => &[],
    };
    let links = ("ContentDocumentLink", "LinkedEntityId");
    let mut found = Vec::new();
    for (child, field) in own.iter().chain([&links]) {
        let records = org
            .living(child)
            .filter(|record| record.text(field) == Some(id));
        found.extend(records.map(|record| record.id.clone()));
    }
    found
}

fn full_name(values: &mut Values) {
    let parts = [text(values, "FirstName"), text(values, "LastName")];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    values.insert("Name".to_owned(), json!(name));
}

fn stage(org: &Org, values: &mut Values, before: Option<&Values>) {
    let name = text(values, "StageName").unwrap_or_default();
    // Any text is taken as a stage; one that the org does not know is open.
    let known = org.living("OpportunityStage").find(|stage| {
        stage
            .text("ApiName")
            .is_some_and(|known| known.eq_ignore_ascii_case(name))
    });
    let is = |flag: &str| json!(known.is_some_and(|stage| stage.flag(flag)));
    values.insert("IsClosed".to_owned(), is("IsClosed"));
    values.insert("IsWon".to_owned(), is("IsWon"));
    let old = |field: &str| before.and_then(|before| before.get(field));
    if let (Some(stage), true) = (known, old("StageName") != values.get("StageName")) {
        for forecast in ["ForecastCategory", "ForecastCategoryName"] {
            values.insert(forecast.to_owned(), stage.value(forecast).clone());
        }
        let given = values.get("Probability").filter(|value| !value.is_null());
        if given.is_none() || given == old("Probability") {
            let default = stage.value("DefaultProbability").clone();
            values.insert("Probability".to_owned(), default);
        }
    }
    let amount = values.get("Amount").and_then(Value::as_f64);
    let probability = values
        .get("Probability")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    let expected = amount.map(|amount| amount * probability / 100.0);
    values.insert("ExpectedRevenue".to_owned(), json!(expected));
}

fn check_who_and_what(org: &Org, values: &Values) -> Result<(), Refusal> {
    if text(values, "WhoId").is_some_and(|id| is_converted(org, id)) {
        return Err(cannot_reference_converted_lead(&["WhoId"]));
    }
    let who_is_lead = text(values, "WhoId").is_some_and(|id| id.starts_with("00Q"));
    if who_is_lead && text(values, "WhatId").is_some() {
        let message = "WhatId must be empty when WhoId is a lead";
        return Err(Refusal::data(
            "FIELD_INTEGRITY_EXCEPTION",
            message,
            &["WhatId"],
        ));
    }
    Ok(())
}

fn task_status(org: &Org, values: &mut Values, before: Option<&Values>, actor: &Actor) {
    let status = text(values, "Status").unwrap_or_default();
    let known = org.living("TaskStatus").find(|known| {
        known
            .text("ApiName")
            .is_some_and(|name| name.eq_ignore_ascii_case(status))
    });
    let is_closed = known.is_some_and(|known| known.flag("IsClosed"));
    let was_closed = before
        .and_then(|before| before.get("IsClosed"))
        .and_then(Value::as_bool);
    values.insert("IsClosed".to_owned(), json!(is_closed));
    if is_closed != was_closed.unwrap_or_default() {
        let completed = is_closed.then(|| stamp(actor.now));
        values.insert("CompletedDateTime".to_owned(), json!(completed));
    }
    let is_high = text(values, "Priority") == Some("High");
    values.insert("IsHighPriority".to_owned(), json!(is_high));
}

fn check_event_time(values: &Values) -> Result<(), Refusal> {
    let has = |field: &str| values.get(field).is_some_and(|value| !value.is_null());
    let is_all_day = values.get("IsAllDayEvent").and_then(Value::as_bool) == Some(true);
    if is_all_day && !has("ActivityDate") {
        return Err(required(&["ActivityDate"]));
    }
    if !is_all_day && !has("StartDateTime") {
        return Err(required(&["StartDateTime"]));
    }
    if !is_all_day && !has("EndDateTime") && !has("DurationInMinutes") {
        return Err(required(&["DurationInMinutes"]));
    }
    let at = |field: &str| values.get(field).and_then(time_of);
    let length = match (at("StartDateTime"), at("EndDateTime")) {
        (Some(start), Some(end)) => end.duration_since(start),
        _ => {
            let minutes = values.get("DurationInMinutes").and_then(Value::as_i64);
            SignedDuration::from_secs(minutes.unwrap_or_default().saturating_mul(60))
        }
    };
    if length.is_negative() || length > LONGEST_EVENT {
        let text = "An event lasts between no time and 14 days";
        let field = &["DurationInMinutes"];
        return Err(Refusal::data("FIELD_INTEGRITY_EXCEPTION", text, field));
    }
    Ok(())
}

const LONGEST_EVENT: SignedDuration = SignedDuration::from_hours(14 * 24);

fn activity_account(org: &Org, values: &mut Values) {
    let account_of = |field: &str| {
        let id = text(values, field)?;
        if id.starts_with("001") {
            return Some(id.to_owned());
        }
        org.get_living(id)?.text("AccountId").map(str::to_owned)
    };
    let account = account_of("WhatId").or_else(|| account_of("WhoId"));
    values.insert("AccountId".to_owned(), json!(account));
}

fn text<'a>(values: &'a Values, field: &str) -> Option<&'a str> {
    values.get(field).and_then(Value::as_str)
}
