//! One tree of folders for each record, whatever happens on the way.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, Backoff, Change, JobFilter, JobState, Layout, Ledger, Pipeline, PipelineOptions,
    Prepared, Provision, Queue, QueueAdmin, RecordEvent, Rule, Worker, WorkerOptions,
    action::{Collaborate, Who},
    crm::Record,
    folders::Invitee,
    metadata::ValueKind,
    store::memory::MemoryStore,
};
use jiff::Timestamp;
use serde_json::json;

use crate::far_sides::FarSides;

const PATHS: [&str; 3] = [
    "/Clients/{Account.Name}/General",
    "/Clients/{Account.Name}/{Opportunity.Name}/Contracts",
    "/Clients/{Account.Name}/{Opportunity.Name}/Proposals",
];

struct Bridge {
    sides: FarSides,
    store: Arc<MemoryStore>,
    provision: fn(Provision) -> Provision,
    told: usize,
    settle_after: Duration,
}

impl Bridge {
    fn new(provision: fn(Provision) -> Provision) -> Self {
        Self {
            sides: FarSides::default(),
            store: Arc::new(MemoryStore::new()),
            provision,
            told: 0,
            settle_after: Duration::ZERO,
        }
    }

    fn deal(&self, id: &str, account: &str, name: &str) {
        let deal = json!({
            "Name": name, "AccountId": account, "Owner.Email": "Owner@example.com",
            "Owner.IsActive": true,
        });
        self.sides.record(id, deal);
    }

    fn pipeline(&self) -> Pipeline {
        let sides = Arc::new(self.sides.clone());
        let paths = PATHS.iter().chain(&["/Leads/{Lead.Name}"]);
        let layout = Layout::new(paths).unwrap();
        let provision = Provision::new(sides.clone(), sides.clone(), sides.clone(), layout);
        let provision: Vec<Arc<dyn Action>> = vec![Arc::new((self.provision)(provision))];
        let triggers = ["Account.*", "Opportunity.*", "Lead.*"];
        let rules = vec![Rule::new("folders", triggers, provision).unwrap()];
        let mut options = PipelineOptions::default();
        options.settle_after = self.settle_after;
        Pipeline::new(sides.clone(), sides, self.store.clone(), rules).options(options)
    }

    fn worker(&self, name: &str) -> Worker<Pipeline> {
        let mut options = WorkerOptions::default();
        options.backoff = Backoff::default();
        (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
        options.backoff.max_attempts = 10_000;
        Worker::new(self.store.clone(), self.pipeline(), name).options(options)
    }

    async fn tell(&mut self, object: &str, id: &str, change: Change) {
        self.told += 1;
        let record = Record {
            id: id.to_owned(),
            object: Some(object.to_owned()),
        };
        let event = RecordEvent::new(self.told.to_string(), record, change);
        let job = event.job().unwrap();
        self.store.push(vec![job], Timestamp::now()).await.unwrap();
    }

    async fn work(&self) {
        self.worker("w").run_until_idle().await.unwrap();
    }

    async fn told(&mut self, object: &str, id: &str) {
        self.tell(object, id, Change::Updated).await;
        self.work().await;
        self.assert_all_done().await;
    }

    async fn notes(&self) -> Vec<(JobState, String)> {
        let jobs = self.store.jobs(&JobFilter::default()).await.unwrap();
        let note = |job: bridge::Job| (job.state, job.note.unwrap_or_default());
        jobs.into_iter().map(note).collect()
    }

    async fn assert_all_done(&self) {
        for (state, note) in self.notes().await {
            assert_eq!(state, JobState::Done, "{note}");
        }
    }

    async fn forget_everything(&mut self) {
        self.store = Arc::new(MemoryStore::new());
    }
}

fn acme() -> Bridge {
    let bridge = Bridge::new(|it| it);
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.deal("opp1", "acc1", "Deal");
    bridge
}

#[tokio::test]
async fn a_deal_brings_its_account_and_both_trees_are_made_once() {
    let mut bridge = acme();
    bridge.told("Opportunity", "opp1").await;
    bridge.told("Account", "acc1").await;
    let before = bridge.sides.world().writes.len();
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.world().writes.len(),
        before,
        "nothing is left to do"
    );
    assert_eq!(
        bridge.sides.paths(),
        [
            "/Clients",
            "/Clients/Acme",
            "/Clients/Acme/Deal",
            "/Clients/Acme/Deal/Contracts",
            "/Clients/Acme/Deal/Proposals",
            "/Clients/Acme/General",
        ]
    );
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Acme/Deal"]
    );
    assert_eq!(bridge.sides.path_of("account_id", "acc1").len(), 2);
}

#[tokio::test]
async fn records_of_one_name_have_folders_of_their_own_also_when_the_ledger_is_lost() {
    let mut bridge = acme();
    bridge.sides.record("acc2", json!({ "Name": "ACME" }));
    bridge.sides.record("acc3", json!({ "Name": "General" }));
    bridge.deal("opp2", "acc1", "general");
    for account in ["acc1", "acc2", "acc3"] {
        bridge.told("Account", account).await;
    }
    bridge.told("Opportunity", "opp2").await;
    let paths = bridge.sides.paths();
    assert!(
        paths.contains(&"/Clients/ACME (acc2)".to_owned()),
        "{paths:?}"
    );
    assert!(paths.contains(&"/Clients/General".to_owned()), "{paths:?}");
    // A fixed folder is no record's.
    assert!(
        paths.contains(&"/Clients/Acme/general (opp2)".to_owned()),
        "{paths:?}"
    );
    bridge.forget_everything().await;
    for account in ["acc2", "acc3", "acc1"] {
        bridge.told("Account", account).await;
    }
    bridge.told("Opportunity", "opp2").await;
    assert_eq!(bridge.sides.paths(), paths);
}

#[tokio::test]
async fn a_folder_that_is_there_is_taken_and_one_that_people_changed_is_left() {
    let mut bridge = acme();
    let clients = bridge.sides.folder("0", "clients");
    let acme = bridge.sides.folder(&clients, "ACME");
    bridge.sides.folder(&acme, "GENERAL");
    bridge.told("Opportunity", "opp1").await;
    bridge.told("Account", "acc1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/clients/ACME/Deal"]
    );
    let archive = bridge.sides.folder("0", "Archive");
    {
        let mut world = bridge.sides.world();
        let folder = world.get(&acme).unwrap();
        (folder.parent, folder.name) = (archive, "Old Acme".to_owned());
    }
    bridge.told("Account", "acc1").await;
    bridge.told("Opportunity", "opp1").await;
    let deal = bridge.sides.path_of("opportunity_id", "opp1");
    assert_eq!(deal, ["/Archive/Old Acme/Deal"]);
}

#[tokio::test]
async fn a_folder_taken_in_other_letters_keeps_them_also_when_the_ledger_is_lost() {
    let mut bridge = acme();
    let clients = bridge.sides.folder("0", "Clients");
    bridge.sides.folder(&clients, "ACME");
    bridge.told("Account", "acc1").await;
    let before = bridge.sides.paths();
    assert!(
        before.contains(&"/Clients/ACME/General".to_owned()),
        "{before:?}"
    );
    bridge.forget_everything().await;
    bridge.told("Account", "acc1").await;
    assert_eq!(bridge.sides.paths(), before);
    // A change of the letters is a change of the name.
    bridge.sides.record("acc1", json!({ "Name": "aCME" }));
    bridge.told("Account", "acc1").await;
    let paths = bridge.sides.paths();
    assert!(
        paths.contains(&"/Clients/aCME/General".to_owned()),
        "{paths:?}"
    );
}

#[tokio::test]
async fn folders_follow_their_records() {
    let mut bridge = acme();
    bridge.sides.record("acc2", json!({ "Name": "Other" }));
    bridge.deal("opp2", "acc2", "Deal");
    bridge.told("Opportunity", "opp1").await;
    bridge.told("Opportunity", "opp2").await;
    bridge.sides.record("acc1", json!({ "Name": "Acme/Bcme" }));
    bridge.told("Account", "acc1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Acme_Bcme/Deal"]
    );
    // Where it goes, another has its name.
    bridge.sides.record("opp1", json!({ "AccountId": "acc2" }));
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Other/Deal (opp1)"]
    );
    assert_eq!(
        bridge.sides.path_of("account_id", "acc2").len(),
        3,
        "the mapping follows"
    );
    bridge.sides.record("opp1", json!({ "AccountId": null }));
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/No Account/Deal"]
    );
    assert_eq!(bridge.sides.path_of("account_id", "acc2").len(), 2);
    let contracts = bridge
        .sides
        .paths()
        .iter()
        .filter(|it| it.ends_with("Contracts"))
        .count();
    assert_eq!(contracts, 2, "what is in a folder goes with it");
}

#[tokio::test]
async fn what_was_changed_of_a_name_is_kept_and_told() {
    let mut bridge = acme();
    bridge.sides.record("acc1", json!({ "Name": "Acme/Bcme" }));
    bridge.deal("opp1", "acc1", "plain");
    bridge.told("Opportunity", "opp1").await;
    bridge.deal("opp1", "acc1", "no/more");
    bridge.told("Opportunity", "opp1").await;
    let kept = async |record: &str| {
        let key = bridge::EffectKey::new(["folder", record]);
        match bridge.store.read(&key).await.unwrap() {
            Some(bridge::EffectState::Finished(known)) => known,
            other => panic!("{other:?}"),
        }
    };
    for (record, text, name) in [
        ("acc1", "Acme/Bcme", "Acme_Bcme"),
        ("opp1", "no/more", "no_more"),
    ] {
        let known = kept(record).await;
        let expected = (&json!(text), &json!(name), &json!(["slashes replaced"]));
        assert_eq!(
            (&known["text"], &known["name"], &known["changes"]),
            expected
        );
    }
    let notes = bridge.notes().await;
    for (number, told) in [
        "made Acme_Bcme (slashes replaced)",
        "now no_more (slashes replaced)",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(notes[number].1.contains(told), "{notes:?}");
    }
}

#[tokio::test]
async fn a_rule_can_leave_folders_where_they_are() {
    let mut bridge = Bridge::new(|it| it.follow_names(false).follow_parents(false));
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.sides.record("acc2", json!({ "Name": "Other" }));
    bridge.deal("opp1", "acc1", "Deal");
    bridge.told("Opportunity", "opp1").await;
    bridge.deal("opp1", "acc2", "Renamed");
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Acme/Deal"]
    );
    assert!(
        bridge
            .sides
            .path_of("account_id", "acc2")
            .contains(&"/Clients/Acme/Deal".to_owned())
    );
}

#[tokio::test]
async fn a_deleted_folder_is_made_anew_and_a_deleted_record_leaves_its_folder() {
    let mut bridge = acme();
    bridge.told("Opportunity", "opp1").await;
    bridge.sides.world().folders.clear();
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Acme/Deal"]
    );
    let before = bridge.sides.paths();
    bridge.sides.world().records.remove("opp1");
    bridge.tell("Opportunity", "opp1", Change::Deleted).await;
    bridge.work().await;
    let (_, note) = bridge.notes().await.pop().unwrap();
    assert!(note.contains("opp1 is deleted; its folder"), "{note}");
    assert_eq!(bridge.sides.paths(), before);
}

#[tokio::test]
async fn a_converted_leads_folder_becomes_the_deals_or_goes_into_it() {
    let mut bridge = acme();
    for (lead, deal) in [("lead1", "opp1"), ("lead2", "opp2")] {
        bridge
            .sides
            .record(lead, json!({ "Name": lead, "IsConverted": false }));
        bridge.told("Lead", lead).await;
        bridge.sides.record(
            lead,
            json!({ "IsConverted": true, "ConvertedOpportunityId": deal }),
        );
    }
    bridge.deal("opp2", "acc1", "Other");
    bridge.told("Opportunity", "opp2").await;
    for lead in ["lead1", "lead2", "lead1", "lead2"] {
        bridge.told("Lead", lead).await;
    }
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(
        bridge.sides.path_of("lead_id", "lead1"),
        ["/Clients/Acme/Deal"]
    );
    assert_eq!(
        bridge.sides.path_of("opportunity_id", "opp1"),
        ["/Clients/Acme/Deal"]
    );
    assert_eq!(
        bridge.sides.path_of("lead_id", "lead2"),
        ["/Clients/Acme/Other/lead2"]
    );
}

#[tokio::test]
async fn the_owner_and_whom_the_rule_names_are_let_in_and_a_former_owner_out() {
    let mut bridge = Bridge::new(|it| {
        let with = |who, role: &str| Collaborate {
            who,
            role: role.to_owned(),
        };
        let group = Who::Fixed(Invitee::Group("77".to_owned()));
        it.collaborators([with(Who::Owner, "editor"), with(group, "viewer")])
            .keep_former_owner(false)
    });
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.deal("opp1", "acc1", "Deal");
    bridge.told("Opportunity", "opp1").await;
    let people = |bridge: &Bridge| {
        let world = bridge.sides.world();
        let deal = world.folders.values().find(|it| it.name == "Deal").unwrap();
        let mut people: Vec<_> = deal.people.values().cloned().collect();
        people.sort();
        people
    };
    let pair = |who: &str, role: &str| (who.to_owned(), role.to_owned());
    let group = pair("77", "viewer");
    assert_eq!(
        people(&bridge),
        [group.clone(), pair("owner@example.com", "editor")]
    );

    // Somebody who was in before keeps the role, and is not ours to let out.
    let folder = {
        let mut world = bridge.sides.world();
        let deal = world
            .folders
            .values_mut()
            .find(|it| it.name == "Deal")
            .unwrap();
        deal.people
            .insert("p".to_owned(), pair("boss@example.com", "co-owner"));
        bridge.sides.clone()
    };
    folder.record("opp1", json!({ "Owner.Email": "boss@example.com" }));
    bridge.told("Opportunity", "opp1").await;
    let boss = pair("boss@example.com", "co-owner");
    assert_eq!(people(&bridge), [group.clone(), boss.clone()]);
    bridge
        .sides
        .record("opp1", json!({ "Owner.Email": "new@example.com" }));
    bridge.told("Opportunity", "opp1").await;
    let new = pair("new@example.com", "editor");
    assert_eq!(people(&bridge), [group.clone(), boss.clone(), new.clone()]);
    let gone = json!({ "Owner.Email": "gone@example.com", "Owner.IsActive": false });
    bridge.sides.record("opp1", gone);
    bridge.told("Opportunity", "opp1").await;
    assert_eq!(people(&bridge), [group, boss]);
}

#[tokio::test]
async fn who_may_not_be_let_in_is_for_a_person_and_the_tree_is_there() {
    let mut bridge = Bridge::new(|it| {
        let role = "editor".to_owned();
        it.collaborators([Collaborate {
            who: Who::Owner,
            role,
        }])
    });
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.deal("opp1", "acc1", "Deal");
    bridge
        .sides
        .record("opp1", json!({ "Owner.Email": "x@forbidden.example" }));
    bridge.tell("Opportunity", "opp1", Change::Created).await;
    bridge.work().await;
    let (state, note) = bridge.notes().await.pop().unwrap();
    assert_eq!(state, JobState::Dead);
    assert!(note.contains("is there, but"), "{note}");
    assert_eq!(bridge.sides.paths().len(), 5);
}

#[tokio::test]
async fn the_link_is_written_once_and_the_packages_folder_is_taken_and_told() {
    let mut bridge = Bridge::new(|it| it.link_field("Box_Folder__c"));
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.told("Account", "acc1").await;
    bridge.told("Account", "acc1").await;
    let writes = bridge.sides.world().writes.clone();
    assert_eq!(writes.iter().filter(|it| **it == "record").count(), 1);
    let link = bridge.sides.world().records["acc1"]["Box_Folder__c"].clone();
    assert_eq!(link, "https://app.box.com/folder/2");

    let sides = Arc::new(bridge.sides.clone());
    let theirs = sides.folder("0", "From the package");
    sides
        .world()
        .shown
        .insert("acc2".to_owned(), theirs.clone());
    sides.record("acc2", json!({ "Name": "Second" }));
    sides.record("acc3", json!({ "Name": "Third" }));
    let layout: Layout = "/Clients/{Account.Name}".parse().unwrap();
    let provision = Provision::new(sides.clone(), sides.clone(), sides.clone(), layout);
    let provision: Vec<Arc<dyn Action>> = vec![Arc::new(provision.package(sides.clone(), true))];
    let rules = vec![Rule::new("folders", ["Account.*"], provision).unwrap()];
    let pipeline = Pipeline::new(sides.clone(), sides.clone(), bridge.store.clone(), rules);
    for account in ["acc2", "acc3"] {
        bridge.tell("Account", account, Change::Created).await;
    }
    let worker = Worker::new(bridge.store.clone(), pipeline, "w");
    worker.run_until_idle().await.unwrap();
    bridge.assert_all_done().await;
    assert_eq!(sides.path_of("account_id", "acc2"), ["/From the package"]);
    let third = sides.world().shown["acc3"].clone();
    assert_eq!(sides.path_of("account_id", "acc3"), ["/Clients/Third"]);
    assert_ne!(third, theirs);
}

#[tokio::test]
async fn the_package_shows_the_folder_that_there_is() {
    let mut bridge = acme();
    let sides = Arc::new(bridge.sides.clone());
    let layout: Layout = "/Clients/{Account.Name}".parse().unwrap();
    let provision = Provision::new(sides.clone(), sides.clone(), sides.clone(), layout);
    let provision: Vec<Arc<dyn Action>> = vec![Arc::new(provision.package(sides.clone(), true))];
    let rules = vec![Rule::new("folders", ["Account.*"], provision).unwrap()];
    let pipeline = Pipeline::new(sides.clone(), sides.clone(), bridge.store.clone(), rules);
    let worker = Worker::new(bridge.store.clone(), pipeline, "w");
    for _ in 0..2 {
        bridge.tell("Account", "acc1", Change::Updated).await;
        worker.run_until_idle().await.unwrap();
        bridge.assert_all_done().await;
        let shown = sides.world().shown["acc1"].clone();
        assert!(
            sides.world().folders.contains_key(&shown),
            "{shown} is deleted"
        );
        let mut world = sides.world();
        world.folders.retain(|_, folder| folder.name != "Acme");
    }
}

/// As an administrator does by hand, and as a cascade on the folder above does by itself.
#[tokio::test]
async fn a_folder_whose_metadata_names_no_record_of_its_own_yet_is_taken() {
    for values in [
        json!({}),
        json!({ "account_id": "acc1", "opportunity_id": "" }),
    ] {
        let mut bridge = acme();
        bridge.told("Account", "acc1").await;
        let acme = bridge.sides.world().named("1", "Acme").unwrap().clone();
        let deal = bridge.sides.folder(&acme, "Deal");
        bridge.sides.world().get(&deal).unwrap().mapping = values.as_object().cloned();
        bridge.told("Opportunity", "opp1").await;
        assert_eq!(
            bridge.sides.path_of("opportunity_id", "opp1"),
            ["/Clients/Acme/Deal"],
            "{values}"
        );
        assert_eq!(bridge.sides.paths().len(), 6, "{values}: nothing beside it");
    }
}

#[tokio::test]
async fn folders_inside_of_a_records_folder_that_say_the_same_are_no_others() {
    let mut bridge = acme();
    bridge.told("Opportunity", "opp1").await;
    {
        let mut world = bridge.sides.world();
        let mapping = |folder: &crate::far_sides::Folder| folder.mapping.clone();
        let deal = world.folders.values().find(|it| it.name == "Deal");
        let deal = deal.and_then(mapping);
        for folder in world.folders.values_mut() {
            if ["Contracts", "Proposals"].contains(&&*folder.name) {
                folder.mapping.clone_from(&deal);
            }
        }
    }
    bridge.forget_everything().await;
    bridge.told("Opportunity", "opp1").await;
    let (_, note) = bridge.notes().await.pop().unwrap();
    assert!(!note.contains("is also mapped"), "{note}");
    assert_eq!(bridge.sides.paths().len(), 5);
}

/// A second folder came to be by accident, and this worker has only taken the one that was there.
#[tokio::test]
async fn a_folder_that_people_made_is_never_deleted() {
    let mut bridge = acme();
    let clients = bridge.sides.folder("0", "Clients");
    let acme = bridge.sides.folder(&clients, "Acme");
    let other = bridge.sides.folder(&clients, "Acme of old");
    // It comes to be mapped between the look for a folder and the claim.
    let second = other.clone();
    bridge.sides.before("claim", move |world| {
        let mapping = json!({ "account_id": "acc1" });
        world.get(&second).unwrap().mapping = mapping.as_object().cloned();
    });
    bridge.told("Account", "acc1").await;
    let folders = bridge.sides.world().folders.clone();
    let mapped = |folder: &str| {
        let mapping = folders[folder].mapping.as_ref();
        mapping.is_some_and(|it| it.contains_key("account_id"))
    };
    assert!(!mapped(&acme), "nor does it stay mapped");
    assert!(mapped(&other));
}

#[tokio::test]
async fn what_was_deleted_below_a_records_folder_is_made_anew_by_hand() {
    let mut bridge = acme();
    bridge.told("Opportunity", "opp1").await;
    bridge
        .sides
        .world()
        .folders
        .retain(|_, folder| folder.name != "Contracts");
    bridge.tell("Opportunity", "opp1", Change::Changed).await;
    bridge.work().await;
    bridge.assert_all_done().await;
    let paths = bridge.sides.paths();
    assert!(
        paths.contains(&"/Clients/Acme/Deal/Contracts".to_owned()),
        "{paths:?}"
    );
}

#[tokio::test]
async fn a_former_owner_is_let_out_whoever_comes_next_and_whoever_is_refused() {
    for next in [
        json!({ "Owner.Email": null }),
        json!({ "Owner.Email": "gone@example.com", "Owner.IsActive": false }),
        json!({ "Owner.Email": "x@forbidden.example" }),
    ] {
        let mut bridge = Bridge::new(|it| {
            let role = "editor".to_owned();
            it.collaborators([Collaborate {
                who: Who::Owner,
                role,
            }])
            .keep_former_owner(false)
        });
        bridge.sides.record("acc1", json!({ "Name": "Acme" }));
        bridge.deal("opp1", "acc1", "Deal");
        bridge.told("Opportunity", "opp1").await;
        bridge.sides.record("opp1", next.clone());
        bridge.tell("Opportunity", "opp1", Change::Updated).await;
        bridge.work().await;
        let world = bridge.sides.world();
        assert!(
            world.folders.values().all(|it| it.people.is_empty()),
            "{next}"
        );
    }
}

#[tokio::test]
async fn only_the_kind_of_record_that_has_the_field_gets_a_link() {
    let mut bridge = Bridge::new(|it| it.link_field("Opportunity.Box_Folder__c"));
    bridge.sides.record("acc1", json!({ "Name": "Acme" }));
    bridge.deal("opp1", "acc1", "Deal");
    bridge.told("Opportunity", "opp1").await;
    bridge.told("Account", "acc1").await;
    let records = bridge.sides.world().records.clone();
    assert!(records["opp1"]["Box_Folder__c"].is_string());
    assert!(records["acc1"].get("Box_Folder__c").is_none());
}

/// Two workers saw the record under two names; whoever comes second gives way.
#[tokio::test]
async fn two_names_of_one_record_at_a_time_lead_to_one_folder() {
    for seed in 0..200 {
        let mut bridge = acme();
        bridge.sides.dawdle(seed);
        bridge.settle_after = Duration::from_millis(5);
        for deal in 0..4 {
            let id = format!("deal{deal}");
            bridge.deal(&id, "acc1", &id);
            bridge.tell("Opportunity", &id, Change::Created).await;
        }
        let renaming = async {
            for _ in 0..fastrand::Rng::with_seed(seed).usize(0..12) {
                tokio::task::yield_now().await;
            }
            bridge.sides.record("acc1", json!({ "Name": "Renamed" }));
        };
        let (one, other) = (bridge.worker("one"), bridge.worker("other"));
        let (a, b, ()) = tokio::join!(one.run_until_idle(), other.run_until_idle(), renaming);
        a.unwrap();
        b.unwrap();
        // Some may have to wait for the others.
        while bridge
            .notes()
            .await
            .iter()
            .any(|(state, _)| *state == JobState::Ready)
        {
            bridge.work().await;
        }
        bridge.told("Account", "acc1").await;
        let accounts = bridge.sides.paths();
        let accounts: Vec<_> = accounts
            .iter()
            .filter(|it| it.matches('/').count() == 2)
            .collect();
        assert_eq!(accounts, ["/Clients/Renamed"], "seed {seed}");
    }
}

#[tokio::test]
async fn lost_answers_duplicates_and_three_workers_make_one_tree_for_each() {
    for seed in 0..40 {
        let mut bridge = Bridge::new(|it| {
            let role = "editor".to_owned();
            it.collaborators([Collaborate {
                who: Who::Owner,
                role,
            }])
            .link_field("Box_Folder__c")
        });
        for account in 0..4 {
            // Two by two they have one name, but for the case of its letters.
            let name = ["Acme / Sons", "ACME / Sons", "Bcme", "bcme"][account];
            bridge
                .sides
                .record(&format!("acc{account}"), json!({ "Name": name }));
        }
        let mut events = Vec::new();
        for deal in 0..12 {
            let id = format!("opp{deal}");
            bridge.deal(
                &id,
                &format!("acc{}", deal % 4),
                if deal < 8 { "Deal" } else { "Other" },
            );
            events.extend([("Opportunity", id.clone()), ("Opportunity", id)]);
        }
        events.extend((0..4).map(|account| ("Account", format!("acc{account}"))));
        fastrand::Rng::with_seed(seed).shuffle(&mut events);
        for (object, id) in events {
            bridge.tell(object, &id, Change::Created).await;
        }
        bridge.sides.storm(seed);
        let workers = ["a", "b", "c"].map(|name| bridge.worker(name));
        let runs = workers.iter().map(Worker::run_until_idle);
        for run in futures_util::future::join_all(runs).await {
            run.unwrap();
        }
        bridge.sides.calm();
        bridge.work().await;
        bridge.assert_all_done().await;
        let paths = bridge.sides.paths();
        assert_eq!(paths.len(), 1 + 4 * 2 + 12 * 3, "seed {seed}: {paths:#?}");
        for deal in 0..12 {
            let id = format!("opp{deal}");
            assert_eq!(
                bridge.sides.path_of("opportunity_id", &id).len(),
                1,
                "seed {seed}: {id}"
            );
            let link = bridge.sides.world().records[&id]["Box_Folder__c"].clone();
            assert!(link.is_string(), "seed {seed}: {id}");
        }
        let world = bridge.sides.world();
        let people = world
            .folders
            .values()
            .map(|folder| folder.people.len())
            .sum::<usize>();
        assert_eq!(people, 12, "seed {seed}");
    }
}

#[tokio::test]
async fn the_plan_and_the_preview_say_it_beforehand() {
    let bridge = acme();
    let record = Record {
        id: "opp1".to_owned(),
        object: Some("Opportunity".to_owned()),
    };
    let event = RecordEvent::new("1", record.clone(), Change::Created);
    let Prepared::Steps(_, plan) = bridge.pipeline().prepare_record(&event, Timestamp::now())
    else {
        panic!("nothing to do")
    };
    assert_eq!(
        plan.to_string(),
        "1. provision /Clients/{Account.Name}/{Opportunity.Name}/Contracts, \
         /Clients/{Account.Name}/{Opportunity.Name}/Proposals for opp1  (rule folders, provision)"
    );
    bridge.sides.record("acc1", json!({ "Name": "Acme/Bcme" }));
    let pipeline = bridge.pipeline();
    let prepared = pipeline.prepare_record(&event, Timestamp::now());
    let foresights = pipeline.foresee(&prepared).await.unwrap();
    let deeds = foresights[0].deeds.clone().unwrap();
    let lines: Vec<_> = deeds.iter().map(|deed| deed.to_string()).collect();
    assert_eq!(
        lines,
        [
            "add to the metadata template: account_id (string), lead_id (string), opportunity_id \
             (string)",
            "make folder /Clients",
            "make a record's folder /Clients/Acme_Bcme (slashes replaced)",
            "make a record's folder /Clients/Acme_Bcme/Deal",
            "make folder /Clients/Acme_Bcme/Deal/Contracts",
            "make folder /Clients/Acme_Bcme/Deal/Proposals",
            "apply metadata (account_id = acc1) to /Clients/Acme_Bcme",
            "apply metadata (account_id = acc1, opportunity_id = opp1) to /Clients/Acme_Bcme/Deal",
        ]
    );
    assert!(bridge.sides.world().writes.is_empty());
    assert!(bridge.sides.world().template.is_empty());
    let all = bridge
        .store
        .under(&bridge::EffectKey::new::<&str>([]))
        .await
        .unwrap();
    assert!(all.is_empty());
}

/// A change of other fields is nothing to it, so whatever it reads has to be among these.
#[test]
fn it_goes_by_every_field_that_it_reads() {
    let sides = Arc::new(FarSides::default());
    let paths = PATHS.iter().chain(&["/Leads/{Lead.Name}"]);
    let layout = Layout::new(paths).unwrap();
    let provision = Provision::new(sides.clone(), sides.clone(), sides, layout)
        .field("step", ValueKind::String, "Opportunity", "NextStep")
        .link_field("Opportunity.Folder__c")
        .collaborators([Collaborate {
            who: Who::Owner,
            role: "editor".to_owned(),
        }]);
    let deal = [
        "Account.Name",
        "Name",
        "NextStep",
        "Folder__c",
        "Owner.Email",
        "Owner.IsActive",
    ];
    let lead = ["Name", "IsConverted", "ConvertedOpportunityId"];
    for (object, fields) in [("Opportunity", &deal[..]), ("Lead", &lead[..])] {
        let goes_by = provision.goes_by(object).unwrap();
        for field in fields {
            assert!(goes_by.iter().any(|it| it == field), "{field}: {goes_by:?}");
        }
    }
    let name = "Name".to_owned();
    assert!(provision.goes_by("Account").unwrap().contains(&name));
    assert_eq!(provision.goes_by("Contact"), None, "it may be anything");
}
