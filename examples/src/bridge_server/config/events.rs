//! Where records' events come from: nowhere, unless it is said.

use std::path::Path;

use jiff::Timestamp;
use salesforce_client::RecordId;
use serde::Deserialize;

use super::{Secret, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Events {
    pub(crate) outbound: Option<Outbound>,
    pub(crate) poll: Option<Poll>,
    pub(crate) pubsub: Option<PubSub>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outbound {
    #[serde(default = "outbound_path")]
    pub(crate) path: String,
    pub(crate) secret: Secret,
    pub(crate) previous_secret: Option<Secret>,
    pub(crate) organization_id: String,
    #[serde(default)]
    pub(crate) action_ids: Vec<String>,
    #[serde(default = "four_mebibytes")]
    pub(crate) body_limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    pub(crate) objects: Vec<String>,
    #[serde(default = "one_minute")]
    pub(crate) every: Span,
    pub(crate) since: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PubSub {
    #[serde(default = "pubsub_endpoint")]
    pub(crate) endpoint: String,
    pub(crate) topics: Vec<Topic>,
    pub(crate) since: Option<Timestamp>,
    #[serde(default)]
    pub(crate) ignore_own: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Topic {
    Name(String),
    Told(TopicTold),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicTold {
    pub(crate) topic: String,
    #[serde(default)]
    pub(crate) objects: Vec<String>,
    pub(crate) record_field: Option<String>,
}

impl Topic {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Told(told) => &told.topic,
        }
    }
}

impl Events {
    pub(super) fn at_home(&mut self, home: &Path) {
        if let Some(outbound) = &mut self.outbound {
            outbound.secret.at_home(home);
            if let Some(secret) = &mut outbound.previous_secret {
                secret.at_home(home);
            }
        }
    }

    /// What cannot work, but for the endpoint, which is a URL like all others, and the numbers.
    pub(super) fn problems(&self, taken: &[&str]) -> Vec<&'static str> {
        let mut problems = Vec::new();
        let mut unless = |fine: bool, problem| {
            if !fine {
                problems.push(problem);
            }
        };
        let is_name = |name: &String| {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_word)
        };
        if let Some(outbound) = &self.outbound {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
            let path = &outbound.path;
            unless(
                path.starts_with('/') && !path.ends_with('/') && path.chars().all(is_plain),
                "salesforce.events.outbound.path must begin with /, not end with it, and have letters, digits and - _ . ~ only",
            );
            unless(
                !taken.contains(&path.as_str()),
                "salesforce.events.outbound.path is one that the service has already",
            );
            unless(
                RecordId::new(&outbound.organization_id).is_ok_and(|id| id.prefix() == "00D"),
                "salesforce.events.outbound.organization_id must be an id of 15 or 18 characters that begins with 00D",
            );
            unless(
                outbound
                    .action_ids
                    .iter()
                    .all(|id| RecordId::new(id).is_ok()),
                "salesforce.events.outbound.action_ids must be ids of 15 or 18 characters",
            );
        }
        if let Some(poll) = &self.poll {
            unless(
                !poll.objects.is_empty() && poll.objects.iter().all(is_name),
                "salesforce.events.poll.objects must name kinds of records as the API does",
            );
        }
        if let Some(pubsub) = &self.pubsub {
            let is_topic = |topic: &Topic| {
                ["/data/", "/event/"]
                    .iter()
                    .any(|it| topic.name().starts_with(it))
            };
            unless(
                !pubsub.topics.is_empty() && pubsub.topics.iter().all(is_topic),
                "salesforce.events.pubsub.topics must begin with /data/ or /event/",
            );
            let names_record = |topic: &Topic| {
                let told = matches!(topic, Topic::Told(told) if told.record_field.is_some());
                told || !topic.name().starts_with("/event/")
            };
            unless(
                pubsub.topics.iter().all(names_record),
                "salesforce.events.pubsub.topics: a platform event needs a record_field",
            );
            let names_objects = |topic: &Topic| {
                let told = matches!(topic, Topic::Told(told) if !told.objects.is_empty());
                told || !(topic.name().starts_with("/data/") && topic.name().ends_with("__chn"))
            };
            unless(
                pubsub.topics.iter().all(names_objects),
                "salesforce.events.pubsub.topics: a channel, /data/…__chn, needs the objects that it tells of",
            );
            let objects_are_names = |topic: &Topic| match topic {
                Topic::Name(_) => true,
                Topic::Told(told) => told.objects.iter().all(is_name),
            };
            unless(
                pubsub.topics.iter().all(objects_are_names),
                "salesforce.events.pubsub.topics: objects must be named as the API does",
            );
        }
        problems
    }
}

fn outbound_path() -> String {
    "/webhooks/salesforce".into()
}
fn four_mebibytes() -> usize {
    4 * 1024 * 1024
}
fn one_minute() -> Span {
    Span::seconds(60)
}
fn pubsub_endpoint() -> String {
    "https://api.pubsub.salesforce.com:443".into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{
        super::{Config, tests::all_on},
        *,
    };

    #[test]
    fn the_example_shows_all_sources_of_events() {
        let shown = Config::parse(&all_on()).unwrap();
        let Events {
            outbound: Some(_),
            poll: Some(_),
            pubsub: Some(pubsub),
        } = &shown.salesforce.events
        else {
            panic!("{:?}", shown.salesforce.events);
        };
        assert_eq!(pubsub.topics.len(), 2);
    }

    #[test]
    fn what_cannot_work_is_told() {
        let text = r#"
            outbound = { secret = { env = "S" }, organization_id = "005xx", action_ids = ["x"], path = "/", body_limit = 0 }
            poll = { objects = ["Account; DROP"], every = "0s" }
            pubsub = { topics = ["OpportunityChangeEvent", "/event/Deal__e", "/data/All__chn"] }
        "#;
        let events: Events = toml::from_str(text).unwrap();
        assert_eq!(events.problems(&["/"]).len(), 8, "{events:#?}");
    }
}
