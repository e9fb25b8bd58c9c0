use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::schema::CONVERTED;
use super::state::Shared;
use super::store::{Actor, Org, Record, Values};
use super::{FakeSalesforce, ids};

/// How a lead is converted; without more, to a new account, contact and opportunity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct LeadConversion {
    account: Option<String>,
    contact: Option<String>,
    opportunity: Option<String>,
    without_opportunity: bool,
}

impl LeadConversion {
    /// To a new account, contact and opportunity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the contact into this account in place of a new one.
    pub fn account(mut self, id: impl Into<String>) -> Self {
        self.account = Some(id.into());
        self
    }

    /// Takes this contact of the account in place of a new one.
    pub fn contact(mut self, id: impl Into<String>) -> Self {
        self.contact = Some(id.into());
        self
    }

    /// Names the opportunity; it is named as the company by default.
    pub fn opportunity(mut self, name: impl Into<String>) -> Self {
        self.opportunity = Some(name.into());
        self
    }

    /// Makes no opportunity.
    pub fn without_opportunity(mut self) -> Self {
        self.without_opportunity = true;
        self
    }
}

/// The records that a lead became.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Converted {
    /// Id of the account.
    pub account: String,
    /// Id of the contact.
    pub contact: String,
    /// Id of the opportunity, if one was made.
    pub opportunity: Option<String>,
}

impl FakeSalesforce {
    /// Converts a lead as a person would; the vendor's REST API cannot.
    ///
    /// Activities of the lead become those of the contact. Files stay where they are.
    pub fn convert_lead(&self, id: &str, how: LeadConversion) -> Result<Converted, Refusal> {
        convert(&self.shared, id, &how)
    }
}

/// An opportunity that nobody gave a day is to be closed by the end of the quarter.
const CLOSING_MONTHS: [i8; 4] = [3, 6, 9, 12];

pub(super) fn convert(
    shared: &Shared,
    id: &str,
    how: &LeadConversion,
) -> Result<Converted, Refusal> {
    let now = Timestamp::now();
    let actor = shared.config.person(now);
    let mut state = shared.lock();
    let before = state.org.clone();
    let converted = Conversion {
        org: &mut state.org,
        actor,
    }
    .run(id, how);
    if converted.is_err() {
        state.org = before;
    }
    converted
}

struct Conversion<'a> {
    org: &'a mut Org,
    actor: Actor,
}

impl Conversion<'_> {
    fn run(&mut self, id: &str, how: &LeadConversion) -> Result<Converted, Refusal> {
        let lead = self.org.find(self.org.object("Lead")?, id)?.clone();
        if lead.flag("IsConverted") {
            return Err(cannot_reference_converted_lead(&[]));
        }
        let account = match &how.account {
            Some(account) => self.existing("Account", account)?.id,
            None => self.create("Account", account_of(&lead))?,
        };
        let contact = match &how.contact {
            Some(contact) => {
                let contact = self.existing("Contact", contact)?;
                if contact.text("AccountId") != Some(&account) {
                    let text = "the contact is not one of the account";
                    let named = &["ConvertedContactId"];
                    return Err(Refusal::data("INVALID_CROSS_REFERENCE_KEY", text, named));
                }
                contact.id
            }
            None => self.create("Contact", contact_of(&lead, &account))?,
        };
        let name = how.opportunity.as_deref().or(lead.text("Company"));
        let opportunity = match name.filter(|_| !how.without_opportunity) {
            Some(name) => {
                let deal = self.deal_of(&lead, name, &account, &contact);
                Some(self.create("Opportunity", deal)?)
            }
            None => None,
        };
        self.hand_activities_on(&lead.id, &contact, opportunity.as_ref().unwrap_or(&account))?;
        let result = json!({
            "IsConverted": true,
            "Status": CONVERTED,
            "ConvertedDate": self.today().to_string(),
            "ConvertedAccountId": account,
            "ConvertedContactId": contact,
            "ConvertedOpportunityId": opportunity,
        });
        self.update("Lead", &lead.id, result)?;
        Ok(Converted {
            account,
            contact,
            opportunity,
        })
    }

    fn existing(&self, object: &str, id: &str) -> Result<Record, Refusal> {
        self.org.find(self.org.object(object)?, id).cloned()
    }

    fn deal_of(&self, lead: &Record, name: &str, account: &str, contact: &str) -> Value {
        let mut stages: Vec<&Record> = self.org.living("OpportunityStage").collect();
        stages.sort_by_key(|stage| stage.value("SortOrder").as_i64());
        json!({
            "Name": name,
            "AccountId": account,
            "ContactId": contact,
            "StageName": stages.first().and_then(|stage| stage.text("ApiName")),
            "CloseDate": end_of_quarter(self.today()).to_string(),
            "LeadSource": lead.value("LeadSource"),
            "OwnerId": lead.value("OwnerId"),
        })
    }

    fn hand_activities_on(&mut self, lead: &str, who: &str, what: &str) -> Result<(), Refusal> {
        for object in ["Task", "Event"] {
            let own = self.org.living(object);
            let own = own.filter(|it| it.text("WhoId") == Some(lead));
            let own: Vec<String> = own.map(|it| it.id.clone()).collect();
            for id in own {
                self.update(object, &id, json!({ "WhoId": who, "WhatId": what }))?;
            }
        }
        Ok(())
    }

    fn create(&mut self, object: &str, values: Value) -> Result<String, Refusal> {
        self.org.create(object, &members(values), None, &self.actor)
    }

    fn update(&mut self, object: &str, id: &str, values: Value) -> Result<(), Refusal> {
        self.org.update(object, id, &members(values), &self.actor)
    }

    fn today(&self) -> Date {
        jiff::tz::TimeZone::UTC.to_datetime(self.actor.now).date()
    }
}

/// What refuses to change a lead that was converted, or to name it.
pub(super) fn cannot_reference_converted_lead(fields: &[&str]) -> Refusal {
    let text = "cannot reference converted lead";
    Refusal::data("CANNOT_UPDATE_CONVERTED_LEAD", text, fields)
}

/// Whether this is the id of a lead that was converted.
pub(super) fn is_converted(org: &Org, id: &str) -> bool {
    let lead = ids::normalise(id).and_then(|id| org.get_living(&id).cloned());
    lead.is_some_and(|lead| lead.id.starts_with("00Q") && lead.flag("IsConverted"))
}

fn account_of(lead: &Record) -> Value {
    json!({
        "Name": lead.value("Company"),
        "Phone": lead.value("Phone"),
        "AccountSource": lead.value("LeadSource"),
        "OwnerId": lead.value("OwnerId"),
    })
}

fn contact_of(lead: &Record, account: &str) -> Value {
    let mut contact = json!({ "AccountId": account });
    for field in [
        "FirstName",
        "LastName",
        "Salutation",
        "Title",
        "Email",
        "Phone",
        "LeadSource",
        "Description",
        "OwnerId",
    ] {
        contact[field] = lead.value(field).clone();
    }
    contact
}

fn end_of_quarter(day: Date) -> Date {
    let ends = CLOSING_MONTHS.into_iter().find(|end| *end >= day.month());
    let month = day.with().day(1).month(ends.unwrap_or(12)).build();
    month.unwrap_or(day).last_of_month()
}

fn members(values: Value) -> Values {
    match values {
        Value::Object(members) => members,
        _ => Values::new(),
    }
}
