//! Both vendors, the deals in them, and what people do there.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use box_client::testing::FakeBox;
use fastrand::Rng;
use salesforce_client::testing::FakeSalesforce;
use serde_json::json;

use super::schedule::Deed;
use crate::setting::{KEY, SECRET, spec};

/// In the order in which they are passed.
const STAGES: [&str; 4] = [
    "Prospecting",
    "Proposal/Price Quote",
    "Negotiation/Review",
    "Closed Won",
];

pub(crate) struct Deals {
    pub(crate) content: FakeBox,
    pub(crate) crm: FakeSalesforce,
    pub(crate) deals: Vec<Deal>,
    files: Mutex<Vec<BoxFile>>,
}

pub(crate) struct Deal {
    pub(crate) account: String,
    pub(crate) opportunity: String,
    folder: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    is_won: bool,
    stage: usize,
    back: Vec<String>,
}

/// A file as it was uploaded.
#[derive(Clone)]
pub(crate) struct BoxFile {
    pub(crate) id: String,
    pub(crate) deal: usize,
    /// What the bytes of its versions are made of.
    pub(crate) versions: Vec<(u64, usize)>,
}

impl Deals {
    /// With tokens that live for so long.
    pub(crate) async fn up(count: usize, life: Duration) -> Self {
        let mut content = FakeBox::builder()
            .signature_keys(KEY, "another key")
            .token_lifetime(life)
            .refresh_grace(true)
            .auto_deliver(false);
        if let Some(spec) = spec() {
            content = content.openapi(spec);
        }
        let content = content.start().await.unwrap();
        let crm = FakeSalesforce::builder().client("app", SECRET);
        let crm = crm.start().await.unwrap();
        let fields = json!([
            { "type": "string", "key": "account_id", "displayName": "Account" },
            { "type": "string", "key": "opportunity_id", "displayName": "Opportunity" },
        ]);
        content
            .create_template("salesforce_mapping", fields)
            .unwrap();
        let mut deals = Vec::new();
        for number in 0..count {
            let name = format!("Deal {number}");
            let account = crm.create("Account", json!({ "Name": name })).unwrap();
            let opportunity = json!({
                "Name": name, "AccountId": account, "StageName": STAGES[0],
                "CloseDate": "2030-06-30",
            });
            let opportunity = crm.create("Opportunity", opportunity).unwrap();
            let folder = content.create_folder("0", &name).unwrap();
            let mapping = json!({ "account_id": account, "opportunity_id": opportunity });
            content
                .apply_metadata(&folder, "salesforce_mapping", mapping)
                .unwrap();
            // Nothing is sent there: the deliveries are made by hand.
            content
                .create_webhook(
                    &folder,
                    "http://127.0.0.1:9/",
                    &["FILE.UPLOADED", "FILE.LOCKED"],
                )
                .unwrap();
            deals.push(Deal {
                account,
                opportunity,
                folder,
                seen: Mutex::default(),
            });
        }
        Self {
            content,
            crm,
            deals,
            files: Mutex::default(),
        }
    }

    /// Does it, and gives the events that Box raises about it.
    pub(crate) fn act(&self, deed: Deed) -> Vec<String> {
        let mut files = self.files.lock().unwrap();
        match deed {
            Deed::Upload { deal, size } => {
                let number = files.len();
                let bytes = bytes(number as u64, size);
                let name = format!("contract {number}.pdf");
                let folder = &self.deals[deal].folder;
                let upload = self.content.upload(folder, &name, bytes).unwrap();
                files.push(BoxFile {
                    id: upload.file_id,
                    deal,
                    versions: vec![(number as u64, size)],
                });
                upload.event_ids
            }
            Deed::NewVersion { file, size } => {
                let file = &mut files[file];
                let origin = (file.versions.len() as u64) << 32 | file.versions[0].0;
                let bytes = bytes(origin, size);
                let upload = self.content.upload_version(&file.id, bytes).unwrap();
                file.versions.push((origin, size));
                upload.event_ids
            }
            Deed::Lock { file } => {
                let file = &files[file].id;
                // Only a lock is told of, and only of a file that had none.
                let _ = self.content.unlock(file);
                self.content.lock(file).unwrap();
                let events = self.content.events();
                let last = events.last().unwrap();
                assert_eq!((&*last.trigger, &last.source_id), ("FILE.LOCKED", file));
                vec![last.id.clone()]
            }
            Deed::Win { deal } => {
                let deal = &self.deals[deal];
                deal.seen.lock().unwrap().is_won = true;
                let won = json!({ "StageName": STAGES[3] });
                self.crm.update(&deal.opportunity, won).unwrap();
                Vec::new()
            }
        }
    }

    pub(crate) fn files(&self) -> Vec<BoxFile> {
        self.files.lock().unwrap().clone()
    }

    /// Looks where the deals stand.
    pub(crate) fn watch(&self) {
        for deal in &self.deals {
            let record = self.crm.record(&deal.opportunity).unwrap();
            let name = record["StageName"].as_str().unwrap();
            let mut seen = deal.seen.lock().unwrap();
            match STAGES.iter().position(|stage| *stage == name) {
                Some(stage) if stage >= seen.stage => seen.stage = stage,
                _ => {
                    let from = STAGES[seen.stage];
                    seen.back.push(format!("{from} became {name}"));
                }
            }
        }
    }

    /// What is wrong with the deals' stages.
    pub(crate) fn wrong_stages(&self) -> Vec<String> {
        self.watch();
        let files = self.files();
        let mut wrong = Vec::new();
        for (number, deal) in self.deals.iter().enumerate() {
            let seen = deal.seen.lock().unwrap();
            wrong.extend(seen.back.iter().cloned());
            let has_files = files.iter().any(|file| file.deal == number);
            let due = match (seen.is_won, has_files) {
                (true, _) => 3,
                (false, true) => 2,
                (false, false) => 0,
            };
            if seen.stage != due {
                wrong.push(format!(
                    "deal {number} is {}, not {}",
                    STAGES[seen.stage], STAGES[due]
                ));
            }
        }
        wrong
    }

    /// Which Task each event asks for: its mark, and the deal it belongs to.
    pub(crate) fn due_tasks(&self) -> BTreeMap<String, &str> {
        let files = self.files();
        let deal_of: BTreeMap<_, _> = files.iter().map(|it| (&*it.id, it.deal)).collect();
        let events = self.content.events();
        let due = events.iter().map(|event| {
            let rule = match &*event.trigger {
                "FILE.LOCKED" => "locks",
                _ => "contracts",
            };
            let deal = &self.deals[deal_of[&*event.source_id]];
            (format!("Box event {}/{rule}", event.id), &*deal.opportunity)
        });
        due.collect()
    }
}

pub(crate) fn bytes(origin: u64, size: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(origin);
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    bytes
}
