//! `demo`: the whole story on fakes of both vendors, on this machine, told line by line.

mod contract;
mod count;
mod engagement;
mod ground;
mod metadata;
mod provisioning;
mod service;
mod watch;

use std::{cell::Cell, fmt::Display, time::Duration};

use tokio::time::{Instant, sleep};

use self::{contract::Contract, ground::Ground, service::Service};
use crate::{Failure, say, serve::told_to_stop};

const AGREEMENT: &[u8] = include_bytes!("../../../assets/agreement.pdf");
const SIGNED: &[u8] = include_bytes!("../../../assets/agreement-signed.pdf");
const ORDER_FORM: &[u8] = include_bytes!("../../../assets/order-form.pdf");

const PATIENCE: Duration = Duration::from_secs(60);

/// Told to stop, it tidies up behind itself.
pub(crate) async fn run(hold: bool) -> Result<(), Failure> {
    tokio::select! {
        told = demonstrate(hold) => told,
        () = told_to_stop(), if !hold => {
            Err(Failure::Run("stopped before the end".to_owned()))
        }
    }
}

/// Both far sides, the service between them, and how far the story is.
struct Story {
    ground: Ground,
    service: Service,
    chapter: Cell<usize>,
}

async fn demonstrate(hold: bool) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::run)?;
    let ground = Ground::lay().await?;
    let service = Service::start(folder.path(), &ground).await?;
    let mut story = Story {
        ground,
        service,
        chapter: Cell::new(0),
    };
    let told = tell(&mut story).await;
    let contracts = told.map_err(|failure| match failure {
        Failure::Run(line) => Failure::Run(format!("{line}\n{}", story.service.last_words())),
        other => other,
    })?;
    say("All four jobs, and what keeps them true: everything is there, and nothing twice.")?;
    if hold {
        let ground = &story.ground;
        let (content, token) = (ground.content.url(), ground.content.issue_token());
        say(format_args!(
            "\nEverything stays up until Ctrl-C. Upload to folder {contracts} of {content}\n\
             with token {token}; what Salesforce holds is at {}/_fake/state",
            ground.crm.url()
        ))?;
        told_to_stop().await;
    }
    Ok(())
}

/// All chapters, and the count at the end; gives the folder for contracts.
async fn tell(story: &mut Story) -> Result<String, Failure> {
    story.chapter("Both vendors, as strict fakes on this machine")?;
    story.tell(format!("Box         {}", story.ground.content.url()))?;
    story.tell(format!("Salesforce  {}", story.ground.crm.url()))?;
    story.chapter("The service, as a process of its own")?;
    let (id, address) = (story.service.id(), story.service.webhook_address());
    story.tell(format!("process {id}, {address}"))?;
    let is_watched = || !story.ground.all("webhooks", |_| true).is_empty();
    story.until("the service's webhook", is_watched).await?;
    story.tell("it has made its webhook on /Clients, and looks after it")?;

    let deal = provisioning::tell(story).await?;
    let contracts = contract::tell(story, &deal).await?;
    let engagement = engagement::tell(story, &deal, &contracts).await?;
    metadata::tell(story, &deal).await?;
    let missed = watch::tell(story, &deal).await?;

    story.chapter("What both sides hold now")?;
    let (table, wrong) = count::table(&[
        ("provisioning", deal.counts(story)),
        (
            "contract to close",
            Contract::counts(&contracts, story, &deal),
        ),
        ("engagement", engagement.counts(story, &deal)),
        ("metadata", metadata::counts(story, &deal).await?),
        ("watch", missed.counts(story)),
        ("all", story.service.counts().await?),
    ]);
    say(table)?;
    match wrong.is_empty() {
        true => Ok(deal.contracts),
        false => Err(Failure::Run(format!(
            "not as promised: {}",
            wrong.join("; ")
        ))),
    }
}

impl Story {
    fn chapter(&self, line: &str) -> Result<(), Failure> {
        let number = self.chapter.get() + 1;
        self.chapter.set(number);
        say(format_args!("\n{number:>2}  {line}"))
    }

    fn tell(&self, line: impl Display) -> Result<(), Failure> {
        say(format_args!("      {line}"))
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
        self.until_asked(what, async || Ok(done())).await
    }

    async fn until_asked(
        &self,
        what: &str,
        mut done: impl AsyncFnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        while !done().await? {
            if Instant::now() > end {
                return Err(Failure::Run(format!("{what} did not come within a minute")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
