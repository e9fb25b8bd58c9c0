//! The four jobs by the real program, each in every trouble.

use std::collections::BTreeMap;

use salesforce_client::{RecordId, testing::Field};
use serde_json::{Value, json};

use crate::{
    provisioning::folders,
    trouble::{Deal, Job},
};

const BUYER: &str = "buyer@customer.example";

#[tokio::test(flavor = "multi_thread")]
async fn contract_to_close_does_everything_once() {
    let job = Job {
        rules: r#"
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED", "FILE.LOCKED"]
attach = ["opportunity", "account"]
advance_stage = "Negotiation/Review"
log_task = { subject = "{file.name}" }
"#,
        acts: &[|deal| {
            let folder = deal.setting.folder.clone();
            deal.watch(&folder, &["FILE.UPLOADED", "FILE.LOCKED"]);
            let content = &deal.setting.content;
            let upload = |name: &str| content.upload(&folder, name, format!("%PDF {name}"));
            let first = upload("first.pdf").unwrap().file_id;
            upload("second.pdf").unwrap();
            for version in ["two", "three"] {
                content.upload_version(&first, version).unwrap();
            }
            content.lock(&first).unwrap();
            deal.ids.push(first);
        }],
        check: |deal| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            let versions = [bytes("%PDF first.pdf"), bytes("two"), bytes("three")];
            deal.setting.assert_once(&deal.ids[0], &versions);
            assert_eq!(deal.setting.crm.files().len(), 2);
            deal.setting.assert_a_task_for_each_event(5);
            assert_eq!(deal.setting.stage(), "Negotiation/Review");
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engagement_is_one_task_for_each_event() {
    let job = Job {
        rules: r#"
[[rules]]
name = "people"
triggers = ["COLLABORATION.CREATED", "COLLABORATION.ACCEPTED", "FILE.PREVIEWED", "FILE.RENAMED"]
log_task = { subject = "{event.trigger}", contact = "person" }
"#,
        acts: &[|deal| {
            let folder = deal.setting.folder.clone();
            let triggers = [
                "COLLABORATION.CREATED",
                "COLLABORATION.ACCEPTED",
                "FILE.PREVIEWED",
                "FILE.RENAMED",
            ];
            deal.watch(&folder, &triggers);
            let (content, crm) = (&deal.setting.content, &deal.setting.crm);
            let contact = json!({
                "LastName": "Buyer", "Email": BUYER, "AccountId": deal.setting.account,
            });
            let contact = crm.create("Contact", contact).unwrap();
            content.create_user("Bea Buyer", BUYER);
            content.collaborate(&folder, BUYER, "viewer").unwrap();
            let file = content.upload(&folder, "NDA.pdf", "%PDF").unwrap().file_id;
            for _ in 0..3 {
                content.preview(&file).unwrap();
            }
            content.rename_file(&file, "NDA 2.pdf").unwrap();
            deal.ids.push(contact);
        }],
        check: |deal| {
            let tasks = deal.setting.crm.records("Task");
            let mut told: BTreeMap<&str, usize> = BTreeMap::new();
            for task in &tasks {
                let subject = task["Subject"].as_str().unwrap();
                *told.entry(subject).or_default() += 1;
                let is_invitation = subject.starts_with("COLLABORATION");
                assert_eq!(task["WhoId"] == *deal.ids[0], is_invitation, "{task}");
                assert_eq!(task["WhatId"], *deal.setting.opportunity);
            }
            let expected = [
                ("COLLABORATION.ACCEPTED", 1),
                ("COLLABORATION.CREATED", 1),
                ("FILE.PREVIEWED", 3),
                ("FILE.RENAMED", 1),
            ];
            assert_eq!(told.into_iter().collect::<Vec<_>>(), expected);
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_contract_closes_the_deal_by_its_final_version_and_each_turn_is_told() {
    let job = Job {
        rules: r#"
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED", "SIGN_REQUEST.COMPLETED"]
attach = ["opportunity", "account"]
[[rules]]
name = "closed"
triggers = ["SIGN_REQUEST.COMPLETED"]
advance_stage = "Closed Won"
[[rules]]
name = "turns"
triggers = [
  "SIGN_REQUEST.SIGNATURE_REQUESTED", "SIGN_REQUEST.SIGNER_SIGNED", "SIGN_REQUEST.COMPLETED",
  "SIGN_REQUEST.DECLINED",
]
log_task = { subject = "{event.trigger} {file.name}" }
"#,
        acts: &[
            |deal| {
                let folder = deal.setting.folder.clone();
                let signing = [
                    "SIGNATURE_REQUESTED",
                    "SIGNER_SIGNED",
                    "COMPLETED",
                    "DECLINED",
                ];
                let signing = signing.map(|it| format!("SIGN_REQUEST.{it}"));
                let triggers = signing.iter().map(String::as_str).chain(["FILE.UPLOADED"]);
                deal.watch(&folder, &triggers.collect::<Vec<_>>());
                let content = &deal.setting.content;
                let mut ids = Vec::new();
                for name in ["NDA.pdf", "Offer.pdf"] {
                    let upload = content.upload(&folder, name, "%PDF draft");
                    ids.push(upload.unwrap().file_id);
                }
                for file in ids.clone() {
                    ids.push(
                        content
                            .request_signatures(&file, &[BUYER, "jo@x.example"])
                            .unwrap(),
                    );
                }
                content.sign_request(&ids[2], BUYER, "%PDF one").unwrap();
                content.decline_signing(&ids[3], BUYER).unwrap();
                deal.ids = ids;
            },
            |deal| {
                let (content, request) = (&deal.setting.content, &deal.ids[2]);
                content
                    .sign_request(request, "jo@x.example", "%PDF both")
                    .unwrap();
                content.finish_signing(request, "%PDF final").unwrap();
            },
        ],
        check: |deal| {
            let setting = &deal.setting;
            let bytes = |texts: &[&str]| -> Vec<_> {
                texts.iter().map(|text| text.as_bytes().to_vec()).collect()
            };
            setting.assert_once(&deal.ids[0], &bytes(&["%PDF draft", "%PDF final"]));
            setting.assert_once(&deal.ids[1], &bytes(&["%PDF draft"]));
            assert_eq!(setting.stage(), "Closed Won");
            let mut told: BTreeMap<String, usize> = BTreeMap::new();
            for task in setting.crm.records("Task") {
                let subject = task["Subject"].as_str().unwrap();
                *told
                    .entry(subject.replace("SIGN_REQUEST.", ""))
                    .or_default() += 1;
                assert_eq!(task["WhatId"], *setting.opportunity);
            }
            let expected = [
                ("COMPLETED NDA.pdf", 1),
                ("DECLINED Offer.pdf", 1),
                ("SIGNATURE_REQUESTED NDA.pdf", 1),
                ("SIGNATURE_REQUESTED Offer.pdf", 1),
                ("SIGNER_SIGNED NDA.pdf", 2),
            ];
            let told: Vec<_> = told.iter().map(|(subject, n)| (&**subject, *n)).collect();
            assert_eq!(told, expected);
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_contacts_with_one_address_the_policy_chooses() {
    let job = Job {
        rules: r#"
[[rules]]
name = "nearest"
triggers = ["COLLABORATION.CREATED"]
log_task = { subject = "nearest {person}", contact = "person" }
[[rules]]
name = "none"
triggers = ["COLLABORATION.CREATED"]
log_task = { subject = "none {person}", contact = "person", several_contacts = "none" }
[[rules]]
name = "first"
triggers = ["COLLABORATION.CREATED"]
log_task = { subject = "first {person}", contact = "person", several_contacts = "first" }
"#,
        acts: &[|deal| {
            let folder = deal.setting.folder.clone();
            deal.watch(&folder, &["COLLABORATION.CREATED"]);
            let (content, crm) = (&deal.setting.content, &deal.setting.crm);
            let other = crm.create("Account", json!({ "Name": "Other" })).unwrap();
            let contact = |email: &str, account: &str| {
                let contact = json!({
                    "LastName": "Buyer", "Email": format!("{email}@customer.example"),
                    "AccountId": account,
                });
                crm.create("Contact", contact).unwrap()
            };
            let own = &deal.setting.account;
            let ids = [
                contact("one", &other),
                // One of them has a role in the deal.
                contact("near", own),
                contact("near", &other),
                contact("near", &other),
                // One of them is of the deal's account.
                contact("account", own),
                contact("account", &other),
                // Nobody can tell these apart.
                contact("twins", own),
                contact("twins", own),
            ];
            let role = json!({ "OpportunityId": deal.setting.opportunity, "ContactId": ids[2] });
            crm.create("OpportunityContactRole", role).unwrap();
            for email in ["nobody", "one", "near", "account", "twins"] {
                let email = format!("{email}@customer.example");
                content.create_user(&email, &email);
                content.collaborate(&folder, &email, "viewer").unwrap();
            }
            let group = content.create_group("Deal desk").unwrap();
            content
                .collaborate_group(&folder, &group, "viewer")
                .unwrap();
            deal.ids.extend(ids);
        }],
        check: |deal| {
            let of = |number: usize| Some(&*deal.ids[number]);
            let expected = [
                // Whom: by nearest, none, first.
                ("nobody@customer.example", [None, None, None]),
                ("one@customer.example", [of(0), of(0), of(0)]),
                ("near@customer.example", [of(2), None, of(2)]),
                ("account@customer.example", [of(4), None, of(4)]),
                ("twins@customer.example", [None, None, of(6)]),
                // A group is nobody's contact, and neither is whoever has let it in.
                ("Deal desk", [None, None, None]),
            ];
            let tasks = deal.setting.crm.records("Task");
            assert_eq!(tasks.len(), expected.len() * 3, "{tasks:#?}");
            for (who, chosen) in expected {
                for (policy, chosen) in ["nearest", "none", "first"].into_iter().zip(chosen) {
                    let subject = format!("{policy} {who}");
                    let task = tasks.iter().find(|it| it["Subject"] == *subject).unwrap();
                    assert_eq!(task["WhoId"].as_str(), chosen, "{subject}");
                    assert_eq!(task["WhatId"], *deal.setting.opportunity);
                }
            }
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_makes_one_tree_for_each_record_and_moves_it() {
    let job = Job {
        rules: r#"
[[rules]]
name = "folders"
triggers = ["Account.CHANGED", "Opportunity.CHANGED"]
[rules.provision]
layout = ["/Clients/{Account.Name}/{Opportunity.Name}/Contracts"]
collaborators = [{ owner = true, role = "editor" }]
link_field = "Box_Folder__c"
"#,
        acts: &[|deal| {
            for object in ["Account", "Opportunity"] {
                let field = Field::text("Box_Folder__c", 255);
                deal.setting.crm.add_custom_field(object, field).unwrap();
            }
            let accounts =
                ["Twin", "TWIN"].map(|name| deal.makes("Account", json!({ "Name": name })));
            for number in 0..4 {
                let made = json!({
                    "Name": "Deal", "AccountId": accounts[number % 2],
                    "StageName": "Prospecting", "CloseDate": "2030-06-30",
                });
                deal.makes("Opportunity", made);
            }
            deal.changes(&accounts[0], json!({ "Name": "Renamed / Ltd" }));
            let moved = deal.ids[2].clone();
            deal.changes(&moved, json!({ "AccountId": accounts[1] }));
        }],
        check: |deal| {
            let folders = folders(&deal.setting);
            assert_eq!(folders.len(), 1 + 2 + 4 * 2, "{folders:#?}");
            let path_of = |id: &str| {
                let id = id.parse::<RecordId>().unwrap().to_string();
                let mut of = folders.iter().filter(|(_, of)| of.as_ref() == Some(&id));
                let (path, _) = of.next().unwrap_or_else(|| panic!("no folder of {id}"));
                assert!(of.next().is_none(), "two folders of {id}: {folders:#?}");
                path.clone()
            };
            assert_eq!(path_of(&deal.ids[0]), "Clients/Renamed _ Ltd");
            for id in &deal.ids[2..] {
                let record = deal.setting.crm.record(id).unwrap();
                let path = path_of(id);
                let account = path_of(record["AccountId"].as_str().unwrap());
                assert!(path.starts_with(&format!("{account}/Deal")), "{path}");
                assert!(folders.contains_key(&format!("{path}/Contracts")));
                assert!(record["Box_Folder__c"].is_string());
            }
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_come_to_hold_what_people_wrote_on_either() {
    let job = Job {
        rules: r#"
[[rules]]
name = "fields"
triggers = ["METADATA_INSTANCE.UPDATED", "Opportunity.CHANGED"]
[rules.sync_metadata]
fields = [{ field = "NextStep", key = "next_step" }, { field = "Description", key = "about" }]
"#,
        acts: &[|deal| {
            let text = |key: &str| json!({ "type": "string", "key": key, "displayName": key });
            let fields = json!([text("opportunity_id"), text("next_step"), text("about")]);
            let (folder, record) = (
                deal.setting.folder.clone(),
                deal.setting.opportunity.clone(),
            );
            deal.setting
                .content
                .create_template("deal", fields)
                .unwrap();
            let apply = |deal: &Deal, values: Value| {
                let content = &deal.setting.content;
                content.apply_metadata(&folder, "deal", values).unwrap();
            };
            apply(deal, json!({ "opportunity_id": record }));
            deal.watch(&folder, &["METADATA_INSTANCE.UPDATED"]);
            for number in 0..3 {
                apply(deal, json!({ "about": format!("about {number}") }));
                deal.changes(&record, json!({ "NextStep": format!("step {number}") }));
            }
        }],
        check: |deal| {
            let record = deal.setting.crm.record(&deal.setting.opportunity).unwrap();
            let state = deal.setting.content.state();
            let folders = state["folders"].as_array().unwrap().iter();
            let mut on_folders = folders.flat_map(|it| it["metadata"].as_array().unwrap());
            let instance = on_folders.find(|it| it["$template"] == "deal").unwrap();
            for (field, key, value) in [
                ("NextStep", "next_step", "step 2"),
                ("Description", "about", "about 2"),
            ] {
                assert_eq!(
                    (&record[field], &instance[key]),
                    (&json!(value), &json!(value))
                );
            }
        },
    };
    job.in_every_trouble().await;
}
