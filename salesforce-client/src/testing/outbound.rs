use std::fmt::Write;

use serde_json::Value;

use super::checks::no_such_column;
use super::refusal::Refusal;
use super::state::{Shared, State};
use super::{FakeSalesforce, ids};

/// What became of an outbound message that was delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivered {
    /// Status of the answer.
    pub status: u16,
    /// Whether the answer acknowledged the message; if not, the org would send it again.
    pub acknowledged: bool,
}

const NOTIFICATIONS_AT_MOST: usize = 100;

impl FakeSalesforce {
    /// An outbound message of this action (`04k…`) about these records, with these fields of them.
    /// Notifications have new ids each time; to send one again, send the same text.
    pub fn outbound_message(
        &self,
        action: &str,
        records: &[&str],
        fields: &[&str],
    ) -> Result<String, Refusal> {
        message(&self.shared, action, records, fields)
    }

    /// Sends an outbound message to this URL, once, as the org would.
    pub async fn deliver(&self, url: &str, message: &str) -> std::io::Result<Delivered> {
        let client = reqwest::Client::builder().no_proxy().build();
        let sent = client
            .map_err(std::io::Error::other)?
            .post(url)
            .header("content-type", "text/xml; charset=utf-8")
            .header("soapaction", "\"\"")
            .body(message.to_owned())
            .send()
            .await
            .map_err(std::io::Error::other)?;
        let status = sent.status().as_u16();
        let body = sent.text().await.map_err(std::io::Error::other)?;
        Ok(Delivered {
            status,
            acknowledged: status == 200 && is_acknowledgement(&body),
        })
    }
}

fn is_acknowledgement(body: &str) -> bool {
    let answer = body.split_once("notificationsResponse");
    let is_theirs = body.contains("http://soap.sforce.com/2005/09/outbound");
    let ack = answer
        .filter(|_| is_theirs)
        .and_then(|(_, rest)| rest.split_once("Ack>"));
    ack.is_some_and(|(_, rest)| rest.trim_start().starts_with("true"))
}

fn message(
    shared: &Shared,
    action: &str,
    records: &[&str],
    fields: &[&str],
) -> Result<String, Refusal> {
    let mut state = shared.lock();
    if records.is_empty() || records.len() > NOTIFICATIONS_AT_MOST {
        let text = "an outbound message has between 1 and 100 notifications";
        return Err(Refusal::bad("LIMIT_EXCEEDED", text));
    }
    let org_id = &shared.config.org_id;
    let mut notifications = String::new();
    let mut object = None;
    let State {
        org,
        notifications: numbers,
        ..
    } = &mut *state;
    for id in records {
        *numbers += 1;
        let number = ids::make("04l", *numbers);
        let id = ids::normalise(id).ok_or_else(Refusal::not_found)?;
        let (def, record) = org.get(&id).ok_or_else(Refusal::not_found)?;
        if *object.get_or_insert(&def.name) != &def.name {
            let text = "an outbound message is about records of one object";
            return Err(Refusal::bad("INVALID_TYPE", text));
        }
        if let Some(unknown) = fields.iter().find(|field| def.field(field).is_none()) {
            return Err(no_such_column(unknown, def));
        }
        let _ = write!(
            notifications,
            "<Notification><Id>{number}</Id><sObject xsi:type=\"sf:{}\" \
             xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\"><sf:Id>{id}</sf:Id>",
            def.name
        );
        for field in fields.iter().filter(|field| **field != "Id") {
            let value = match record.value(field) {
                Value::Null => continue,
                Value::String(text) => escaped(text),
                other => other.to_string(),
            };
            let _ = write!(notifications, "<sf:{field}>{value}</sf:{field}>");
        }
        notifications.push_str("</sObject></Notification>");
    }
    let host = &shared.config.instance_url;
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>\
         <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\">\
         <OrganizationId>{org_id}</OrganizationId><ActionId>{action}</ActionId>\
         <SessionId xsi:nil=\"true\"/>\
         <EnterpriseUrl>{host}/services/Soap/c/58.0/{org}</EnterpriseUrl>\
         <PartnerUrl>{host}/services/Soap/u/58.0/{org}</PartnerUrl>{notifications}\
         </notifications></soapenv:Body></soapenv:Envelope>",
        org = &org_id[..15],
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
