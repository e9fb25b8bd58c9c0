//! Contract to close: files of a deal folder become files on its records, and the stage advances.

use box_client::testing::UploadedFile;
use salesforce_client::testing::{Fault, FaultEffect};

use super::{
    AGREEMENT, ORDER_FORM, PATIENCE, SIGNED, Story, count::Count, ground::forge, provisioning::Deal,
};
use crate::Failure;

const UPLOAD: &str = "*/sobjects/ContentVersion";
pub(super) const CAME: &str = "came from Box";
const LOCKED: &str = "is locked";

/// A Box file, and the bytes of its versions in order.
pub(super) struct Contract {
    name: &'static str,
    pub(super) upload: UploadedFile,
    versions: Vec<&'static [u8]>,
}

pub(super) async fn tell(story: &mut Story, deal: &Deal) -> Result<Vec<Contract>, Failure> {
    story.chapter("Contract to close: a contract is uploaded to Box")?;
    story.ground.content.clear_requests();
    story.ground.crm.clear_requests();
    let agreement = upload(story, deal, "Agreement.pdf", AGREEMENT).await?;
    arrived(story, deal, &agreement, 1, 1).await?;
    for call in calls(story, &agreement) {
        story.tell(call)?;
    }
    story.tell("its bytes in Salesforce are those in Box, to the last one")?;
    again(story, &agreement).await?;

    story.chapter("A new version of the contract, and its lock")?;
    let content = &story.ground.content;
    let signed = content
        .upload_version(&agreement.file_id, SIGNED)
        .map_err(Failure::run)?;
    story.ground.delivered(&signed).await?;
    arrived(story, deal, &signed, 2, 2).await?;
    story.tell("it is version 2 of the same Salesforce file")?;
    content.lock(&agreement.file_id).map_err(Failure::run)?;
    story
        .until("the stage", || {
            story.ground.field(&deal.opportunity, "StageName") == "Negotiation/Review"
                && story.ground.tasks(LOCKED).len() == 1
        })
        .await?;
    story.tell("locked: the Opportunity goes from Prospecting to Negotiation/Review")?;

    story.chapter("Salesforce stores a file, and its answer is lost")?;
    let lost = Fault::on(UPLOAD, FaultEffect::LostAnswer).method("POST");
    story.ground.crm.inject(lost);
    let order = upload(story, deal, "Order form.pdf", ORDER_FORM).await?;
    arrived(story, deal, &order, 1, 3).await?;
    story.tell("the bridge looks before it repeats, and finds it: one file")?;

    story.chapter("The service is killed in the middle of an upload")?;
    let annex = killed(story, deal).await?;
    Ok(vec![
        Contract::new("Agreement.pdf", agreement, &[AGREEMENT, SIGNED]),
        Contract::new("Order form.pdf", order, &[ORDER_FORM]),
        Contract::new("Annex.pdf", annex, &[ORDER_FORM]),
    ])
}

/// Once more by Box, and once by somebody else.
async fn again(story: &mut Story, upload: &UploadedFile) -> Result<(), Failure> {
    story.chapter("Box delivers the same event again, and somebody forges one")?;
    let content = &story.ground.content;
    for event in &upload.event_ids {
        content.redeliver(event);
    }
    let delivered = content.wait_all_delivered(PATIENCE).await;
    delivered.map_err(Failure::run)?;
    story.tell("the same event: taken with 200, and nothing is done twice")?;
    let event = content.events().pop().map(|event| event.body);
    let address = story.service.webhook_address();
    let forged = forge(&event.unwrap_or_default(), &address).await?;
    story.tell(format!("the forged one: {}, {}", forged.0, forged.1))?;
    match forged.0 {
        401 => Ok(()),
        _ => Err(Failure::Run("the forged delivery was taken".to_owned())),
    }
}

async fn killed(story: &mut Story, deal: &Deal) -> Result<UploadedFile, Failure> {
    let crm = &story.ground.crm;
    let slow = Fault::on(UPLOAD, FaultEffect::DelayBefore { millis: 500 }).method("POST");
    crm.inject(slow);
    crm.clear_requests();
    let annex = upload(story, deal, "Annex.pdf", ORDER_FORM).await?;
    story
        .until("an upload", || {
            let mut requests = story.ground.crm.requests().into_iter();
            requests.any(|request| request.path.ends_with("/ContentVersion"))
        })
        .await?;
    let killed = story.service.id();
    story.service.kill().await?;
    story.tell(format!(
        "kill -9 {killed}; Salesforce completes what it has in hand"
    ))?;
    story.service.start_again().await?;
    story.tell(format!(
        "process {} takes over what the dead one held",
        story.service.id()
    ))?;
    arrived(story, deal, &annex, 1, 4).await?;
    story.tell("the file is there, once")?;
    Ok(annex)
}

async fn upload(
    story: &Story,
    deal: &Deal,
    name: &str,
    bytes: &'static [u8],
) -> Result<UploadedFile, Failure> {
    let upload = story.ground.content.upload(&deal.contracts, name, bytes);
    let upload = upload.map_err(Failure::run)?;
    story.ground.delivered(&upload).await?;
    story.tell(format!("{name}: delivered, signed, and answered with 200"))?;
    Ok(upload)
}

/// Waits until so many versions and Tasks are there, and the file is on both records.
async fn arrived(
    story: &Story,
    deal: &Deal,
    upload: &UploadedFile,
    versions: usize,
    tasks: usize,
) -> Result<(), Failure> {
    story
        .until("the file in Salesforce", || {
            let files = story.ground.files_of(upload);
            story.ground.tasks(CAME).len() == tasks
                && files.iter().any(|file| {
                    file.versions.len() == versions
                        && file.is_on(&deal.opportunity)
                        && file.is_on(&deal.account)
                })
        })
        .await
}

/// What the service asked of both vendors for this file.
fn calls(story: &Story, upload: &UploadedFile) -> Vec<String> {
    let line = |side: &str, method: &str, path: &str, status: Option<u16>| {
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        // A download's path is long and secret.
        let path = path.chars().take(64).collect::<String>();
        format!("{side:<11} {method:<5} {path}  {status}")
    };
    // The watch asks for other things meanwhile.
    let content = story.ground.content.requests();
    let is_about = |path: &str| path.contains(&upload.file_id) || path.contains("download");
    let content = content
        .iter()
        .filter(|it| is_about(&it.path))
        .map(|it| line("Box", &it.method, &it.path, it.status));
    let crm = story.ground.crm.requests();
    let crm = crm
        .iter()
        .map(|it| line("Salesforce", &it.method, &it.path, it.status));
    content.chain(crm).collect()
}

impl Contract {
    fn new(name: &'static str, upload: UploadedFile, versions: &[&'static [u8]]) -> Self {
        Self {
            name,
            upload,
            versions: versions.to_vec(),
        }
    }

    /// One Salesforce file, its versions with Box's bytes in Box's order, once on each record, and a
    /// Task for each.
    pub(super) fn counts(all: &[Self], story: &Story, deal: &Deal) -> Vec<Count> {
        let mut counts: Vec<_> = all.iter().map(|it| it.count(story, deal)).collect();
        let locked = story.ground.tasks(LOCKED).len();
        counts.push(Count::new("Tasks for the lock", 1, locked));
        let stage = story.ground.field(&deal.opportunity, "StageName");
        counts.push(Count::new("stage", "Negotiation/Review", stage));
        counts
    }

    fn count(&self, story: &Story, deal: &Deal) -> Count {
        let Self {
            name,
            upload,
            versions,
        } = self;
        let files = story.ground.files_of(upload);
        let stored: Vec<_> = files.iter().flat_map(|file| &file.versions).collect();
        let on = |record: &str| files.iter().filter(|file| file.is_on(record)).count();
        let is_same = stored.len() == versions.len()
            && stored.iter().zip(versions).all(|(stored, bytes)| {
                story.ground.crm.bytes(&stored.id).as_deref() == Some(*bytes)
            });
        let links = on(&deal.opportunity) + on(&deal.account);
        let tasks = story.ground.tasks(&format!("{name} {CAME}")).len();
        let told = |files, stored, links, tasks, is_same| {
            let bytes = if is_same { "Box's" } else { "other" };
            format!("files {files}, versions {stored}, links {links}, Tasks {tasks}, {bytes} bytes")
        };
        let number = versions.len();
        Count::new(
            *name,
            told(1, number, 2, number, true),
            told(files.len(), stored.len(), links, tasks, is_same),
        )
    }
}
