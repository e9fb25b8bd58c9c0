//! Engagement: what people do on a deal folder becomes Tasks on the deal and their Contact.

use salesforce_client::testing::{Fault, FaultEffect, RecordedRequest};
use serde_json::{Value, json};

use super::{PATIENCE, Story, contract::Contract, count::Count, provisioning::Deal};
use crate::Failure;

const BUYER: &str = "bea@customer.example";
const INVITED: &str = "was invited";
const LOOKED_AT: &str = "was looked at";
const PREVIEWS: usize = 10;

pub(super) struct Engagement {
    contact: String,
}

pub(super) async fn tell(
    story: &mut Story,
    deal: &Deal,
    contracts: &[Contract],
) -> Result<Engagement, Failure> {
    story.chapter("Engagement: the customer is invited to the deal folder")?;
    let (content, crm) = (&story.ground.content, &story.ground.crm);
    let contact = json!({ "LastName": "Buyer", "Email": BUYER, "AccountId": deal.account });
    let contact = crm.create("Contact", contact).map_err(Failure::run)?;
    let lost = Fault::on("*/sobjects/Task", FaultEffect::LostAnswer).method("POST");
    crm.inject(lost);
    crm.clear_requests();
    content.create_user("Bea Buyer", BUYER);
    let before = content.events().len();
    content
        .collaborate(&deal.folder, BUYER, "viewer")
        .map_err(Failure::run)?;
    for event in content.events().into_iter().skip(before) {
        content.redeliver(&event.id);
    }
    story.tell("delivered twice, and Salesforce's answer to the Task is lost")?;
    let engagement = Engagement { contact };
    let told = || engagement.invitations(story, deal) >= 1;
    story.until("the Task about the invitation", told).await?;
    let is_lost = |it: &RecordedRequest| it.path.ends_with("/Task") && it.status.is_none();
    if !crm.requests().iter().any(is_lost) {
        return Err(Failure::Run("no answer was lost".to_owned()));
    }
    story.tell(format!(
        "one Task, on the Opportunity and on Contact {}, who has that address",
        engagement.contact
    ))?;

    story.chapter("Somebody looks at the contract again and again")?;
    if let Some(contract) = contracts.first() {
        for _ in 0..PREVIEWS {
            let preview = content.preview(&contract.upload.file_id);
            preview.map_err(Failure::run)?;
        }
    }
    let delivered = content.wait_all_delivered(PATIENCE).await;
    delivered.map_err(Failure::run)?;
    story
        .until("the digest", || previews(story).0 >= PREVIEWS)
        .await?;
    story.tell(format!(
        "{PREVIEWS} previews, told in {} of a digest every two seconds",
        match previews(story).1 {
            1 => "one Task".to_owned(),
            tasks => format!("{tasks} Tasks"),
        }
    ))?;
    Ok(engagement)
}

/// How many previews are told of, and in how many Tasks.
fn previews(story: &Story) -> (usize, usize) {
    let tasks = story.ground.tasks(LOOKED_AT);
    let lines = |task: &Value| {
        let text = task["Description"].as_str().unwrap_or_default();
        text.lines().filter(|line| line.contains(LOOKED_AT)).count()
    };
    (tasks.iter().map(lines).sum(), tasks.len())
}

impl Engagement {
    fn invitations(&self, story: &Story, deal: &Deal) -> usize {
        let mut tasks = story.ground.tasks(INVITED);
        tasks.retain(|task| task["WhatId"] == *deal.opportunity && task["WhoId"] == *self.contact);
        tasks.len()
    }

    pub(super) fn counts(&self, story: &Story, deal: &Deal) -> Vec<Count> {
        vec![
            Count::new(
                "Tasks about the invitation, on Opportunity and Contact",
                1,
                self.invitations(story, deal),
            ),
            Count::new("previews told of", PREVIEWS, previews(story).0),
        ]
    }
}
