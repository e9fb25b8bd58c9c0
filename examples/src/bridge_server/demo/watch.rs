//! The watch: a webhook is deleted behind the service's back, and what it missed is found.

use box_client::{FolderId, WebhookTarget, testing::UploadedFile};
use futures_util::TryStreamExt;
use serde_json::Value;

use super::{ORDER_FORM, Story, contract::CAME, count::Count, provisioning::Deal};
use crate::Failure;

const MISSED: usize = 25;
/// Where the webhook of another application calls.
const ELSEWHERE: &str = "http://127.0.0.1:9/another/app";

pub(super) struct Missed {
    uploads: Vec<UploadedFile>,
    tasks_before: usize,
}

pub(super) async fn tell(story: &mut Story, deal: &Deal) -> Result<Missed, Failure> {
    story.chapter("The watch: somebody deletes the webhook behind the service's back")?;
    let another = story.ground.client(true)?;
    let id = FolderId::new(&story.ground.clients).map_err(Failure::run)?;
    let target = WebhookTarget::Folder { id };
    let theirs = another.webhooks();
    let theirs = theirs.create(&target, ELSEWHERE, &["FILE.TRASHED"]).await;
    theirs.map_err(Failure::run)?;
    let ours = story.ground.client(false)?;
    let webhooks: Vec<_> = ours
        .webhooks()
        .list()
        .try_collect()
        .await
        .map_err(Failure::run)?;
    for webhook in &webhooks {
        let deleted = ours.webhooks().delete(&webhook.id).await;
        deleted.map_err(Failure::run)?;
    }
    let mut missed = Missed {
        uploads: Vec::new(),
        tasks_before: story.ground.tasks(CAME).len(),
    };
    for number in 1..=MISSED {
        let name = format!("Statement of work {number}.pdf");
        let content = &story.ground.content;
        let upload = content.upload(&deal.contracts, &name, ORDER_FORM);
        missed.uploads.push(upload.map_err(Failure::run)?);
    }
    let untold = missed.uploads.iter().filter(|it| it.event_ids.is_empty());
    story.tell(format!(
        "{MISSED} contracts are uploaded, and of {} of them Box tells nobody",
        untold.count()
    ))?;
    story
        .until("the first of them", || missed.there(story) > 0)
        .await?;
    let killed = story.service.id();
    story.service.kill().await?;
    story.tell(format!(
        "kill -9 {killed}, with {} of them in Salesforce",
        missed.there(story)
    ))?;
    story.service.start_again().await?;
    story
        .until("all of them", || {
            missed.there(story) == MISSED && ours_of(story).len() == 1
        })
        .await?;
    story
        .until("their Tasks", || {
            story.ground.tasks(CAME).len() == missed.tasks_before + MISSED
        })
        .await?;
    story.tell("the webhook is made anew, and what it missed was found in Box's events")?;
    story.tell("another application's webhook on the same folder was left alone")?;
    Ok(missed)
}

/// The webhooks that call the service.
fn ours_of(story: &Story) -> Vec<Value> {
    let address = story.service.webhook_address();
    (story.ground).all("webhooks", |it| it["address"] == *address)
}

impl Missed {
    fn there(&self, story: &Story) -> usize {
        let ground = &story.ground;
        let uploads = self.uploads.iter();
        uploads.filter(|it| ground.files_of(it).len() == 1).count()
    }

    pub(super) fn counts(&self, story: &Story) -> Vec<Count> {
        let tasks = story.ground.tasks(CAME).len() - self.tasks_before;
        let theirs = (story.ground).all("webhooks", |it| it["address"] == ELSEWHERE);
        vec![
            Count::new("missed contracts, each one file", MISSED, self.there(story)),
            Count::new("their Tasks", MISSED, tasks),
            Count::new("our webhooks", 1, ours_of(story).len()),
            Count::new("the other application's", 1, theirs.len()),
        ]
    }
}
