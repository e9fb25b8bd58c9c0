//! Records' folders by the real program, where more than a name decides, in every trouble.

use std::collections::BTreeMap;

use salesforce_client::{
    RecordId,
    testing::{CustomObject, Field, LeadConversion},
};
use serde_json::{Value, json};

use crate::{
    provisioning::paths,
    trouble::{Deal, Job},
};

/// Each folder's path and id, by a key of its mapping and what it holds.
fn mapped(deal: &Deal) -> BTreeMap<(String, String), (String, String)> {
    let paths = paths(&deal.setting);
    let state = deal.setting.content.state();
    let mut mapped = BTreeMap::new();
    for folder in state["folders"].as_array().unwrap() {
        let id = folder["id"].as_str().unwrap();
        let instances = folder["metadata"].as_array().unwrap().iter();
        for (key, value) in instances.flat_map(|it| it.as_object().unwrap()) {
            if let Some(record) = value.as_str().filter(|_| key.ends_with("_id")) {
                let of = (key.clone(), record.to_owned());
                let at = (paths[id].clone(), id.to_owned());
                // Of several the one that is not inside of another.
                let known = mapped.entry(of).or_insert_with(|| at.clone());
                if at.0.len() < known.0.len() {
                    *known = at;
                }
            }
        }
    }
    mapped
}

fn long(id: &str) -> String {
    id.parse::<RecordId>().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converted_leads_folder_becomes_its_deals_or_goes_into_it() {
    let job = Job {
        rules: r#"
[[rules]]
name = "folders"
triggers = ["Lead.CHANGED", "Account.CHANGED", "Opportunity.CHANGED"]
[rules.provision]
layout = ["/Leads/{Lead.Name}/Offers", "/Clients/{Account.Name}/{Opportunity.Name}"]
"#,
        acts: &[
            |deal| {
                for name in ["Ann", "Bea", "Cis"] {
                    let lead = json!({ "LastName": name, "Company": format!("{name} Ltd") });
                    deal.makes("Lead", lead);
                }
            },
            |deal| {
                // One gives no deal.
                for (number, lead) in deal.ids.clone().into_iter().enumerate() {
                    let into = match number {
                        2 => LeadConversion::new().without_opportunity(),
                        _ => LeadConversion::new(),
                    };
                    let made = deal.setting.crm.convert_lead(&lead, into).unwrap();
                    deal.ids.push(made.account);
                    deal.ids.extend(made.opportunity);
                }
                // Of one the deal is told of first, so that it has a folder of its own.
                for number in [0, 2, 6] {
                    deal.is_told_of(&deal.ids[number].clone());
                }
            },
            |deal| {
                for id in deal.ids.clone() {
                    deal.is_told_of(&id);
                }
            },
        ],
        check: |deal| {
            let mapped = mapped(deal);
            let of = |key: &str, id: &str| &mapped[&(key.to_owned(), long(id))].0;
            let [ann, bea, cis, _, ann_deal, _, bea_deal, cis_account] = &deal.ids[..] else {
                panic!("{:?}", deal.ids)
            };
            let paths: Vec<_> = paths(&deal.setting).into_values().collect();
            for (lead, heir) in [
                (ann, of("opportunity_id", ann_deal)),
                (bea, of("opportunity_id", bea_deal)),
                (cis, of("account_id", cis_account)),
            ] {
                let lead = of("lead_id", lead);
                assert!(
                    lead == heir || lead.starts_with(&format!("{heir}/")),
                    "{lead} is not in {heir}"
                );
                // What was in it went with it.
                assert!(paths.contains(&format!("{lead}/Offers")), "{paths:?}");
            }
            let left = paths.iter().filter(|path| path.starts_with("Leads/"));
            assert_eq!(left.count(), 0, "{paths:?}");
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_name_is_taken_once_and_stays_where_the_rule_says_so() {
    let job = Job {
        rules: r#"
[[rules]]
name = "folders"
triggers = ["Account.CHANGED", "Opportunity.CHANGED"]
[rules.provision]
layout = ["/Clients/{Account.Name}/{Opportunity.Name}/Contracts"]
follow_names = false
follow_parents = false
"#,
        acts: &[
            |deal| {
                let content = &deal.setting.content;
                let clients = content.create_folder("0", "clients").unwrap();
                let theirs = content.create_folder(&clients, "ANN ltd").unwrap();
                content.create_folder(&theirs, "First").unwrap();
                // Two have the name of the one folder.
                let accounts = ["Ann Ltd", "ann ltd", "Bea Ltd"]
                    .map(|name| deal.makes("Account", json!({ "Name": name })));
                let first = json!({
                    "Name": "First", "AccountId": accounts[0], "StageName": "Prospecting",
                    "CloseDate": "2030-06-30",
                });
                deal.makes("Opportunity", first);
            },
            |deal| {
                let (account, other, first) = (
                    deal.ids[0].clone(),
                    deal.ids[2].clone(),
                    deal.ids[3].clone(),
                );
                deal.changes(&account, json!({ "Name": "Renamed" }));
                deal.changes(&first, json!({ "Name": "Renamed", "AccountId": other }));
            },
        ],
        check: |deal| {
            let mapped = mapped(deal);
            let of = |key: &str, id: &str| mapped[&(key.to_owned(), long(id))].0.clone();
            let theirs = [&deal.ids[0], &deal.ids[1]].map(|id| of("account_id", id));
            let marked = |id: &str, name: &str| format!("clients/{name} ({})", long(id));
            // Whoever came first has it.
            let first_has_it = [
                "clients/ANN ltd".to_owned(),
                marked(&deal.ids[1], "ann ltd"),
            ];
            let second_has_it = [
                marked(&deal.ids[0], "Ann Ltd"),
                "clients/ANN ltd".to_owned(),
            ];
            assert!(
                theirs == first_has_it || theirs == second_has_it,
                "{theirs:?}"
            );
            let deal_folder = of("opportunity_id", &deal.ids[3]);
            assert_eq!(deal_folder, format!("{}/First", theirs[0]));
            // It names the account that it belongs to now, wherever it lies.
            let state = deal.setting.content.state();
            let mut folders = state["folders"].as_array().unwrap().iter();
            let own = &mapped[&("opportunity_id".to_owned(), long(&deal.ids[3]))].1;
            let own = folders.find(|it| it["id"] == **own).unwrap();
            assert_eq!(own["metadata"][0]["account_id"], long(&deal.ids[2]));
            let paths: Vec<_> = paths(&deal.setting).into_values().collect();
            assert!(
                paths.contains(&format!("{deal_folder}/Contracts")),
                "{paths:?}"
            );
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packages_folders_are_taken_and_ours_are_shown_to_it_once() {
    let job = Job {
        rules: r#"
[[rules]]
name = "folders"
triggers = ["Account.CHANGED"]
[rules.provision]
layout = ["/Clients/{Account.Name}/Contracts"]
package = "share"
"#,
        acts: &[|deal| {
            let frup = CustomObject::new("box__FRUP__c")
                .field(Field::text("box__Record_ID__c", 18))
                .field(Field::text("box__Folder_ID__c", 40));
            deal.setting.crm.add_custom_object(frup).unwrap();
            let theirs = deal
                .setting
                .content
                .create_folder("0", "By the package")
                .unwrap();
            for name in ["Theirs", "Ours", "Ours too"] {
                deal.makes("Account", json!({ "Name": name }));
            }
            // As the package writes it.
            let short = deal.ids[0][..15].to_owned();
            let shown = json!({ "box__Record_ID__c": short, "box__Folder_ID__c": theirs });
            deal.setting.crm.create("box__FRUP__c", shown).unwrap();
            deal.ids.push(theirs);
        }],
        check: |deal| {
            let mapped = mapped(deal);
            let shown = deal.setting.crm.records("box__FRUP__c");
            assert_eq!(shown.len(), 3, "{shown:#?}");
            let expected = ["By the package", "Clients/Ours", "Clients/Ours too"];
            for (id, expected) in deal.ids.iter().zip(expected) {
                let id = long(id);
                let (path, folder) = &mapped[&("account_id".to_owned(), id.clone())];
                assert_eq!(path, expected);
                let of = |row: &Value| row["box__Record_ID__c"].as_str().unwrap().to_owned();
                let row = shown.iter().find(|row| id.starts_with(&of(row))).unwrap();
                assert_eq!(row["box__Folder_ID__c"], **folder);
            }
            let paths: Vec<_> = paths(&deal.setting).into_values().collect();
            assert!(
                paths.contains(&"By the package/Contracts".to_owned()),
                "{paths:?}"
            );
            assert_eq!(paths.len(), 2 + 7, "two of them were there: {paths:?}");
        },
    };
    job.in_every_trouble().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_rule_names_is_let_in_once_and_a_former_owner_out() {
    let job = Job {
        rules: r#"
[[rules]]
name = "folders"
triggers = ["Account.CHANGED"]
[rules.provision]
layout = ["/Clients/{Account.Name}"]
collaborators = [
    { owner = true, role = "editor" },
    { login = "legal@example.com", role = "viewer uploader" },
    { group = "66001", role = "viewer" },
]
keep_former_owner = false
"#,
        acts: &[
            |deal| {
                deal.setting.content.create_user("Rep", "rep@example.com");
                assert_eq!(
                    deal.setting.content.create_group("Deal desk").unwrap(),
                    "66001"
                );
                let user = |deal: &Deal, name: &str, is_active: bool| {
                    let user = json!({
                        "Username": format!("{name}@example.com.org"), "LastName": name,
                        "Email": format!("{name}@example.com"), "IsActive": is_active,
                    });
                    deal.setting.crm.create("User", user).unwrap()
                };
                let [rep, new, gone] = [("rep", true), ("new", true), ("gone", false)]
                    .map(|(name, is_active)| user(deal, name, is_active));
                for (name, owner) in [("Kept", &rep), ("Handed on", &rep), ("Orphan", &gone)] {
                    deal.makes("Account", json!({ "Name": name, "OwnerId": owner }));
                }
                deal.ids.push(new);
            },
            |deal| {
                let (account, new) = (deal.ids[1].clone(), deal.ids[3].clone());
                deal.changes(&account, json!({ "OwnerId": new }));
            },
        ],
        check: |deal| {
            let state = deal.setting.content.state();
            let all = state["collaborations"].as_array().unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut people: Vec<_> = all
                .iter()
                .map(|it| {
                    let login = text(&it["accessible_by"]["login"]) + &text(&it["invite_email"]);
                    let login = match it["accessible_by"]["type"].as_str() {
                        Some("group") => text(&it["accessible_by"]["name"]),
                        _ => login,
                    };
                    let (role, status) = (text(&it["role"]), text(&it["status"]));
                    [text(&it["item"]["name"]), login, role, status].join(", ")
                })
                .collect();
            people.sort();
            assert_eq!(
                people,
                [
                    "Handed on, Deal desk, viewer, accepted",
                    "Handed on, legal@example.com, viewer uploader, pending",
                    "Handed on, new@example.com, editor, pending",
                    "Kept, Deal desk, viewer, accepted",
                    "Kept, legal@example.com, viewer uploader, pending",
                    "Kept, rep@example.com, editor, accepted",
                    "Orphan, Deal desk, viewer, accepted",
                    "Orphan, legal@example.com, viewer uploader, pending",
                ]
            );
            let requests = deal.setting.content.requests();
            let mut invitations = requests
                .iter()
                .filter(|it| it.method == "POST" && it.path.ends_with("/collaborations"));
            let quiet = ("notify".to_owned(), "false".to_owned());
            assert!(
                invitations.all(|it| it.query.contains(&quiet)),
                "nobody gets mail"
            );
        },
    };
    job.in_every_trouble().await;
}
