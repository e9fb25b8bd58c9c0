//! What the far side holds, against what people did.

use std::collections::{BTreeMap, BTreeSet};

use salesforce_client::testing::FileState;

use super::deals::{BoxFile, Deals, bytes};

/// Everything that is lost, twice, out of order or where it does not belong.
pub(crate) fn wrong(deals: &Deals) -> Vec<String> {
    let mut wrong = deals.wrong_stages();
    let mut documents: BTreeMap<String, Vec<FileState>> = BTreeMap::new();
    for file in deals.crm.files() {
        let mut origins: BTreeSet<String> = BTreeSet::new();
        for version in &file.versions {
            let description = version.fields["Description"].as_str().unwrap_or_default();
            let origin = description
                .strip_prefix("Box file ")
                .and_then(|rest| rest.split_once(','));
            origins.extend(origin.map(|(id, _)| id.to_owned()));
        }
        match origins.len() {
            1 => documents
                .entry(origins.pop_first().unwrap_or_default())
                .or_default()
                .push(file),
            _ => wrong.push(format!("document {} is of {origins:?}", file.document)),
        }
    }
    for file in deals.files() {
        match documents.remove(&file.id).as_deref() {
            None => wrong.push(format!("file {} is lost", file.id)),
            Some([document]) => wrong.extend(wrong_document(deals, &file, document)),
            Some(more) => {
                let versions: Vec<_> = more.iter().map(descriptions).collect();
                wrong.push(format!("file {} has documents {versions:?}", file.id));
            }
        }
    }
    wrong.extend(
        documents
            .into_keys()
            .map(|id| format!("nobody has uploaded {id}")),
    );
    wrong.extend(wrong_tasks(deals));
    wrong
}

fn wrong_document(deals: &Deals, file: &BoxFile, document: &FileState) -> Vec<String> {
    let mut wrong = Vec::new();
    let stored = document.versions.iter().map(|it| deals.crm.bytes(&it.id));
    let due = file
        .versions
        .iter()
        .map(|it| Some(bytes(it.0, it.1).into()));
    if !stored.eq(due) {
        let (due, there) = (file.versions.len(), descriptions(document));
        wrong.push(format!(
            "file {} has {due} versions and became {there:?}",
            file.id
        ));
    }
    let deal = &deals.deals[file.deal];
    for record in [&deal.account, &deal.opportunity] {
        let links = document.links.iter().filter(|it| it.record == *record);
        match links.count() {
            1 => {}
            count => wrong.push(format!("file {} has {count} links to {record}", file.id)),
        }
    }
    // The third is the owner's own.
    if document.links.len() != 3 {
        wrong.push(format!("file {} is on {:?}", file.id, document.links));
    }
    wrong
}

fn descriptions(document: &FileState) -> Vec<String> {
    let versions = document.versions.iter();
    versions
        .map(|it| format!("{} ({} bytes)", it.fields["Description"], it.size))
        .collect()
}

fn wrong_tasks(deals: &Deals) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut due = deals.due_tasks();
    for task in deals.crm.records("Task") {
        let description = task["Description"].as_str().unwrap_or_default();
        let mark = description.lines().last().unwrap_or_default();
        match due.remove(mark) {
            Some(deal) if task["WhatId"] == deal => {}
            Some(_) => wrong.push(format!("the Task `{mark}` is on {}", task["WhatId"])),
            None => wrong.push(format!("a Task too many: `{mark}`")),
        }
    }
    wrong.extend(due.into_keys().map(|mark| format!("no Task `{mark}`")));
    wrong
}
