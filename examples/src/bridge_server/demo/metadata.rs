//! Metadata both ways: a field of the record and a key of its folder stay the same.

use serde_json::{Value, json};

use super::{Story, count::Count, ground::TEMPLATE, provisioning::Deal};
use crate::Failure;

const FIELD: &str = "NextStep";
const KEY: &str = "next_step";
const IN_SALESFORCE: &str = "Ask the lawyers";
const IN_BOX: &str = "Countersign";

pub(super) async fn tell(story: &mut Story, deal: &Deal) -> Result<(), Failure> {
    story.chapter("Metadata both ways: NextStep of the record, next_step of the folder")?;
    let step = "Send the order form";
    edit_record(story, deal, step)?;
    let message = story.ground.message(&deal.opportunity)?;
    let address = story.service.outbound_address();
    for _ in 0..2 {
        story.ground.tell_of(&message, &address).await?;
    }
    agreed(story, deal, step).await?;
    story.tell(format!(
        "\"{step}\" in Salesforce, told twice: the folder follows"
    ))?;
    let step = "Sign";
    edit_folder(story, deal, step)?;
    agreed(story, deal, step).await?;
    story.tell(format!("\"{step}\" in Box: the record follows"))?;

    story.chapter("Both sides are edited before either hears of the other")?;
    edit_record(story, deal, IN_SALESFORCE)?;
    edit_folder(story, deal, IN_BOX)?;
    let mut id = String::new();
    story
        .until_asked("the conflict", async || {
            let open = story.service.ask(&["conflicts", "--json"]).await?;
            let first = open.first().and_then(|it| it["id"].as_str());
            id = first.unwrap_or_default().to_owned();
            Ok(!id.is_empty())
        })
        .await?;
    story.tell(format!(
        "nobody is overwritten: Box has \"{IN_BOX}\", Salesforce \"{IN_SALESFORCE}\""
    ))?;
    story
        .service
        .run(&["conflicts", "resolve", &id, "--box"])
        .await?;
    agreed(story, deal, IN_BOX).await?;
    story.tell("`bridge-server conflicts resolve --box`: a person decides, and both agree")
}

fn edit_record(story: &Story, deal: &Deal, step: &str) -> Result<(), Failure> {
    let edit = story
        .ground
        .crm
        .update(&deal.opportunity, json!({ FIELD: step }));
    edit.map_err(Failure::run)
}

fn edit_folder(story: &Story, deal: &Deal, step: &str) -> Result<(), Failure> {
    let content = &story.ground.content;
    let edit = content.apply_metadata(&deal.folder, TEMPLATE, json!({ KEY: step }));
    edit.map_err(Failure::run)
}

async fn agreed(story: &Story, deal: &Deal, step: &str) -> Result<(), Failure> {
    story
        .until("both sides to agree", || {
            let ground = &story.ground;
            ground.field(&deal.opportunity, FIELD) == step && ground.key(&deal.folder, KEY) == step
        })
        .await
}

pub(super) async fn counts(story: &Story, deal: &Deal) -> Result<Vec<Count>, Failure> {
    let all = story.service.ask(&["conflicts", "--all", "--json"]).await?;
    let both = |it: &Value| it["in_box"] == IN_BOX && it["in_salesforce"] == IN_SALESFORCE;
    let kept = all.iter().filter(|it| both(it) && it["kept"] == "box");
    let ground = &story.ground;
    Ok(vec![
        Count::new("NextStep", IN_BOX, ground.field(&deal.opportunity, FIELD)),
        Count::new("next_step", IN_BOX, ground.key(&deal.folder, KEY)),
        Count::new("conflicts, with both values, decided", 1, kept.count()),
        Count::new("conflicts", 1, all.len()),
    ])
}
