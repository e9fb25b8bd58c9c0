//! `demo`: the whole story on fakes of both vendors, on this machine, told line by line.

mod deal;
mod service;
mod summary;

use std::{fmt::Display, time::Duration};

use box_client::testing::UploadedFile;
use salesforce_client::testing::{Fault, FaultEffect};
use tokio::time::{Instant, sleep};

use self::{
    deal::{Deal, forge},
    service::Service,
    summary::{Expected, summary},
};
use crate::{Failure, say, serve::told_to_stop};

const AGREEMENT: &[u8] = include_bytes!("../../../assets/agreement.pdf");
const SIGNED: &[u8] = include_bytes!("../../../assets/agreement-signed.pdf");
const ORDER_FORM: &[u8] = include_bytes!("../../../assets/order-form.pdf");

const PATIENCE: Duration = Duration::from_secs(60);
const UPLOAD: &str = "*/sobjects/ContentVersion";

/// Told to stop, it tidies up behind itself.
pub(crate) async fn run(hold: bool) -> Result<(), Failure> {
    tokio::select! {
        told = demonstrate(hold) => told,
        () = told_to_stop(), if !hold => {
            Err(Failure::Run("stopped before the end".to_owned()))
        }
    }
}

async fn demonstrate(hold: bool) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::run)?;
    let deal = Deal::provision().await?;
    chapter(1, "Both vendors, as strict fakes on this machine")?;
    tell(format!("Box         {}", deal.content.url()))?;
    tell(format!("Salesforce  {}", deal.crm.url()))?;
    tell(format!(
        "the deal: Account {}, Opportunity {} in Prospecting",
        deal.account, deal.opportunity
    ))?;
    tell("its folder: /Clients/Acme/Acme Platform/Contracts, with both ids in its metadata")?;

    let mut service = Service::start(folder.path(), &deal).await?;
    let webhook = deal.watch(&service.webhook_address()).await?;
    chapter(2, "The service, as a process of its own")?;
    tell(format!(
        "process {}, {}",
        service.id(),
        service.webhook_address()
    ))?;
    tell(format!("Box webhook {webhook} on the deal's folder"))?;

    let story = tell_story(&deal, &mut service).await;
    let expected = story.map_err(|failure| match failure {
        Failure::Run(line) => Failure::Run(format!("{line}\n{}", service.last_words())),
        other => other,
    })?;

    chapter(10, "What both sides hold now")?;
    let (table, wrong) = summary(&deal, &expected);
    say(table)?;
    if !wrong.is_empty() {
        return Err(Failure::Run(format!(
            "not as promised: {}",
            wrong.join("; ")
        )));
    }
    say("Every version once, every link once, a Task for each event.")?;
    if hold {
        let (content, token) = (deal.content.url(), deal.content.issue_token());
        say(format_args!(
            "\nEverything stays up until Ctrl-C. Upload to folder {} of {content}\n\
             with token {token}; what Salesforce holds is at {}/_fake/state",
            deal.contracts,
            deal.crm.url()
        ))?;
        told_to_stop().await;
    }
    Ok(())
}

async fn tell_story(deal: &Deal, service: &mut Service) -> Result<Vec<Expected>, Failure> {
    chapter(3, "A contract is uploaded to Box")?;
    deal.content.clear_requests();
    let agreement = upload(deal, "Agreement.pdf", AGREEMENT).await?;
    arrived(deal, &agreement, 1, 1).await?;
    for call in calls(deal) {
        tell(call)?;
    }
    tell("its bytes in Salesforce are those in Box, to the last one")?;

    chapter(4, "Box delivers the same event again")?;
    for event in &agreement.event_ids {
        deal.content.redeliver(event);
    }
    deal.content
        .wait_all_delivered(PATIENCE)
        .await
        .map_err(Failure::run)?;
    tell("it is taken with 200, and nothing is done twice")?;

    chapter(5, "Somebody forges a delivery")?;
    let event = deal.content.events().pop().map(|event| event.body);
    let forged = forge(&event.unwrap_or_default(), &service.webhook_address()).await?;
    tell(format!("{}: {}", forged.0, forged.1))?;
    if forged.0 != 401 {
        return Err(Failure::Run("the forged delivery was taken".to_owned()));
    }

    chapter(6, "A new version of the contract")?;
    let signed = deal
        .content
        .upload_version(&agreement.file_id, SIGNED)
        .map_err(Failure::run)?;
    deal.delivered(&signed).await?;
    arrived(deal, &signed, 2, 2).await?;
    tell("it is version 2 of the same Salesforce file")?;

    chapter(7, "The contract is locked")?;
    deal.content
        .lock(&agreement.file_id)
        .map_err(Failure::run)?;
    until("the stage", || {
        deal.stage() == "Negotiation/Review" && deal.tasks().len() == 3
    })
    .await?;
    tell("the Opportunity goes from Prospecting to Negotiation/Review")?;

    chapter(8, "Salesforce stores a file, and its answer is lost")?;
    let lost = Fault::on(UPLOAD, FaultEffect::LostAnswer).method("POST");
    deal.crm.inject(lost);
    let order = upload(deal, "Order form.pdf", ORDER_FORM).await?;
    arrived(deal, &order, 1, 4).await?;
    tell("the bridge looks before it repeats, and finds it: one file")?;

    chapter(9, "The service is killed in the middle of an upload")?;
    let slow = Fault::on(UPLOAD, FaultEffect::DelayBefore { millis: 500 }).method("POST");
    deal.crm.inject(slow);
    deal.crm.clear_requests();
    let annex = upload(deal, "Annex.pdf", ORDER_FORM).await?;
    until("an upload", || {
        let mut requests = deal.crm.requests().into_iter();
        requests.any(|request| request.path.ends_with("/ContentVersion"))
    })
    .await?;
    let killed = service.id();
    service.kill().await?;
    tell(format!(
        "kill -9 {killed}; Salesforce completes what it has in hand"
    ))?;
    service.start_again().await?;
    tell(format!(
        "process {} takes over what the dead one held",
        service.id()
    ))?;
    arrived(deal, &annex, 1, 5).await?;
    tell("the file is there, once")?;

    Ok(vec![
        Expected::new("Agreement.pdf", agreement, &[AGREEMENT, SIGNED]),
        Expected::new("Order form.pdf", order, &[ORDER_FORM]),
        Expected::new("Annex.pdf", annex, &[ORDER_FORM]),
    ])
}

async fn upload(deal: &Deal, name: &str, bytes: &'static [u8]) -> Result<UploadedFile, Failure> {
    let upload = deal
        .content
        .upload(&deal.contracts, name, bytes)
        .map_err(Failure::run)?;
    deal.delivered(&upload).await?;
    tell(format!("{name}: delivered, signed, and answered with 200"))?;
    Ok(upload)
}

/// Waits until so many versions and Tasks are there, and the file is on both records.
async fn arrived(
    deal: &Deal,
    upload: &UploadedFile,
    versions: usize,
    tasks: usize,
) -> Result<(), Failure> {
    until("the file in Salesforce", || {
        let files = deal.files_of(upload);
        deal.tasks().len() == tasks
            && files.iter().any(|file| {
                file.versions.len() == versions
                    && file.is_on(&deal.opportunity)
                    && file.is_on(&deal.account)
            })
    })
    .await
}

async fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(Failure::Run(format!("{what} did not come within a minute")));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What the service asked of both vendors.
fn calls(deal: &Deal) -> Vec<String> {
    let line = |side: &str, method: &str, path: &str, status: Option<u16>| {
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        // A download's path is long and secret.
        let path = path.chars().take(64).collect::<String>();
        format!("{side:<11} {method:<5} {path}  {status}")
    };
    let content = deal.content.requests();
    let content = content
        .iter()
        .map(|it| line("Box", &it.method, &it.path, it.status));
    let crm = deal.crm.requests();
    let crm = crm
        .iter()
        .map(|it| line("Salesforce", &it.method, &it.path, it.status));
    content.chain(crm).collect()
}

fn chapter(number: usize, line: &str) -> Result<(), Failure> {
    say(format_args!("\n{number:>2}  {line}"))
}

fn tell(line: impl Display) -> Result<(), Failure> {
    say(format_args!("      {line}"))
}
