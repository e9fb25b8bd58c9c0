//! The end of the story, counted on the far side.

use box_client::testing::UploadedFile;
use comfy_table::Table;

use super::deal::Deal;

/// A Box file, and the bytes of its versions in order.
pub(super) struct Expected {
    name: &'static str,
    upload: UploadedFile,
    versions: Vec<&'static [u8]>,
}

impl Expected {
    pub(super) fn new(
        name: &'static str,
        upload: UploadedFile,
        versions: &[&'static [u8]],
    ) -> Self {
        Self {
            name,
            upload,
            versions: versions.to_vec(),
        }
    }
}

/// The table, and everything in it that is not as it should be.
pub(super) fn summary(deal: &Deal, expected: &[Expected]) -> (Table, Vec<String>) {
    let mut table = Table::new();
    let mut wrong = Vec::new();
    table.set_header([
        "Box file",
        "versions",
        "Salesforce files",
        "versions",
        "on Opportunity",
        "on Account",
        "bytes",
    ]);
    for Expected {
        name,
        upload,
        versions,
    } in expected
    {
        let files = deal.files_of(upload);
        let stored: Vec<_> = files.iter().flat_map(|file| &file.versions).collect();
        let on = |record: &str| files.iter().filter(|file| file.is_on(record)).count();
        let same = stored.len() == versions.len()
            && stored
                .iter()
                .zip(versions)
                .all(|(stored, bytes)| deal.crm.bytes(&stored.id).as_deref() == Some(*bytes));
        let links = (on(&deal.opportunity), on(&deal.account));
        if files.len() != 1 || stored.len() != versions.len() || links != (1, 1) || !same {
            wrong.push((*name).to_owned());
        }
        table.add_row([
            (*name).to_owned(),
            versions.len().to_string(),
            files.len().to_string(),
            stored.len().to_string(),
            links.0.to_string(),
            links.1.to_string(),
            if same { "the same" } else { "different" }.to_owned(),
        ]);
    }
    let events = deal.content.events().len();
    let tasks = deal.tasks().len();
    if tasks != events {
        wrong.push(format!("{tasks} Tasks for {events} events"));
    }
    if deal.crm.files().len() != expected.len() {
        wrong.push(format!("{} files in Salesforce", deal.crm.files().len()));
    }
    table.add_row([
        "events".to_owned(),
        events.to_string(),
        "Tasks".to_owned(),
        tasks.to_string(),
        "stage".to_owned(),
        deal.stage(),
        String::new(),
    ]);
    (table, wrong)
}
