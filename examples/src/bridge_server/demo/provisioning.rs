//! Records are created in Salesforce, and get their folders in Box.

use box_client::testing::{Fault, FaultEffect};

use super::{
    Story,
    count::Count,
    ground::{LINK_FIELD, account, opportunity},
};
use crate::Failure;

/// The records and folders that the rest of the story is about.
pub(super) struct Deal {
    pub(super) account: String,
    pub(super) opportunity: String,
    pub(super) folder: String,
    pub(super) contracts: String,
}

pub(super) async fn tell(story: &mut Story) -> Result<Deal, Failure> {
    story.chapter("Provisioning: an Account and its Opportunity are created in Salesforce")?;
    let ground = &story.ground;
    let lost = Fault::on("/2.0/folders", FaultEffect::LostAnswer).method("POST");
    ground.content.inject(lost);
    let address = story.service.outbound_address();
    let (account, first) = ground.record("Account", account(), &address).await?;
    let deal = opportunity(&account);
    let (opportunity, second) = ground.record("Opportunity", deal, &address).await?;
    story.tell(format!("Account {account}, Opportunity {opportunity}"))?;
    for message in [&first, &second] {
        ground.tell_of(message, &address).await?;
    }
    story.tell("a flow of the org tells of each, twice; Box's answer to a folder is lost")?;

    let editors = || {
        ground
            .all("collaborations", |it| it["role"] == "editor")
            .len()
    };
    let is_linked = || !ground.field(&opportunity, LINK_FIELD).is_empty();
    story
        .until("the folders", || {
            is_linked() && !ground.field(&account, LINK_FIELD).is_empty() && editors() == 2
        })
        .await?;
    let deal = Deal::of(story, account, opportunity)?;
    let ground = &story.ground;
    story.tell("/Clients/Acme/Acme Platform/Contracts and …/Proposals are there, once")?;
    story.tell(format!(
        "folder {} says whose it is: opportunity_id {}",
        deal.folder,
        ground.key(&deal.folder, "opportunity_id")
    ))?;
    story.tell("the owner of the records is let in as editor")?;
    let link = ground.field(&deal.opportunity, LINK_FIELD);
    story.tell(format!("the Opportunity shows it: {link}"))?;
    Ok(deal)
}

impl Deal {
    fn of(story: &Story, account: String, opportunity: String) -> Result<Self, Failure> {
        let missing = |what: &str| Failure::Run(format!("there is no folder for {what}"));
        let ground = &story.ground;
        let id = |folder: &serde_json::Value| folder["id"].as_str().map(str::to_owned);
        let folder = ground.folders_of(&opportunity, "opportunity_id");
        let folder = folder.first().and_then(id);
        let folder = folder.ok_or_else(|| missing("the Opportunity"))?;
        let contracts =
            ground.folders(|it| it["parent"]["id"] == *folder && it["name"] == "Contracts");
        let contracts = contracts.first().and_then(id);
        Ok(Self {
            contracts: contracts.ok_or_else(|| missing("contracts"))?,
            account,
            opportunity,
            folder,
        })
    }

    pub(super) fn counts(&self, story: &Story) -> Vec<Count> {
        let ground = &story.ground;
        let of = |record, key| ground.folders_of(record, key).len();
        let below = |parent: &str| ground.folders(|it| it["parent"]["id"] == *parent).len();
        let let_in = ground.all("collaborations", |it| {
            it["item"]["id"] == *self.folder && it["role"] == "editor"
        });
        let link = ground.field(&self.opportunity, LINK_FIELD);
        vec![
            Count::new("folders of the Account", 1, of(&self.account, "account_id")),
            Count::new(
                "folders of the Opportunity",
                1,
                of(&self.opportunity, "opportunity_id"),
            ),
            Count::new("folders in it", 2, below(&self.folder)),
            Count::new("editors in it, its owner", 1, let_in.len()),
            Count::new(
                "the Opportunity links to",
                format!("folder {}", self.folder),
                format!("folder {}", link.rsplit('/').next().unwrap_or_default()),
            ),
        ]
    }
}
