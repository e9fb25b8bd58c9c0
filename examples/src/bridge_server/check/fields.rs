//! Which objects and fields of the org the configuration needs, and for what.

use std::collections::BTreeMap;

use bridge::sync::Direction;

use crate::config::{Config, Provision, is_of_records};

/// What somebody needs of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// New records of it.
    Create,
    /// To be told of its changes by asking.
    Replication,
    /// To read a field.
    Read(String),
    /// To write a field.
    Write(String),
    /// To write a field whose values are there once.
    Unique(String),
    /// A value that a field takes.
    Value(String, String),
}

/// By object: what is needed, and by what.
pub(super) type Needs = BTreeMap<String, Vec<(Need, String)>>;

pub(super) fn needs(config: &Config) -> Needs {
    let mut needs = Needs::new();
    let mut need = |object: &str, what: Need, by: &str| {
        let of_object = needs.entry(object.to_owned()).or_default();
        if !of_object.iter().any(|(other, _)| *other == what) {
            of_object.push((what, by.to_owned()));
        }
    };
    let side = &config.salesforce;
    for rule in &config.rules {
        let by = format!("rule `{}`", rule.name);
        if rule.attach.is_some() {
            need("ContentVersion", Need::Create, &by);
            need("ContentDocumentLink", Need::Create, &by);
            if let Some(field) = &side.version_key_field {
                let by = "salesforce.version_key_field";
                need("ContentVersion", Need::Unique(field.clone()), by);
            }
        }
        if rule.advance_stage.is_some() {
            need("Opportunity", Need::Write("StageName".to_owned()), &by);
        }
        if let Some(task) = &rule.log_task {
            need("Task", Need::Create, &by);
            let closes = Need::Value("Status".to_owned(), side.task_status.clone());
            need("Task", closes, "salesforce.task_status");
            if let Some(field) = &side.task_key_field {
                let by = "salesforce.task_key_field";
                need("Task", Need::Unique(field.clone()), by);
            }
            if task.contact.is_some() {
                need("Contact", Need::Read("Email".to_owned()), &by);
            }
        }
        if let Some(provision) = &rule.provision {
            of_provision(provision, &by, &mut need);
        }
        if let Some(sync) = &rule.sync_metadata {
            for pair in &sync.fields {
                let field = pair.field.clone();
                let what = match pair.direction {
                    Direction::ToBox => Need::Read(field),
                    _ => Need::Write(field),
                };
                need(&sync.object, what, &by);
            }
        }
    }
    for object in config
        .salesforce
        .events
        .poll
        .iter()
        .flat_map(|it| &it.objects)
    {
        need(object, Need::Replication, "salesforce.events.poll");
    }
    needs
}

fn of_provision(provision: &Provision, by: &str, need: &mut impl FnMut(&str, Need, &str)) {
    let copied = provision.fields.iter().map(|it| it.from.as_str());
    let places: Vec<_> = provision.layout.iter().flat_map(|it| places(it)).collect();
    for place in places.iter().copied().chain(copied) {
        if let Some((object, field)) = place.split_once('.') {
            need(object, Need::Read(field.to_owned()), by);
        }
    }
    let Some(link) = &provision.link_field else {
        return;
    };
    let (only, link) = match link.split_once('.') {
        Some((object, field)) => (Some(object), field),
        None => (None, link.as_str()),
    };
    for place in places {
        if let Some((object, _)) = place.split_once('.')
            && only.is_none_or(|only| only == object)
        {
            need(object, Need::Write(link.to_owned()), by);
        }
    }
}

/// What stands in braces. A layout that cannot be read is told elsewhere.
fn places(path: &str) -> Vec<&str> {
    let mut places = Vec::new();
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((place, after)) = after.split_once('}') else {
            break;
        };
        if is_of_records(place) {
            places.push(place);
        }
        rest = after;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_layout_are_fields_that_have_to_be_readable() {
        let path = "/Clients/{Account.Name} {{x}}/{Opportunity.Owner.Name}/Contracts";
        assert_eq!(places(path), ["Account.Name", "Opportunity.Owner.Name"]);
        assert_eq!(places("/{Account.Name"), Vec::<&str>::new());
    }
}
