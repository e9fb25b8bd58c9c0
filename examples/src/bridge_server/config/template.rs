//! The keys of the metadata template that the configuration speaks of.

use bridge::{MappingTemplate, WantedField, metadata::ValueKind};

use super::Config;

/// A key, and what speaks of it.
#[derive(Clone, Copy)]
pub(crate) struct TemplateKey<'c> {
    pub(crate) key: &'c str,
    pub(crate) kind: ValueKind,
    pub(crate) by: &'c str,
    /// Whether it holds a record's id.
    is_id: bool,
}

impl Config {
    pub(crate) fn template_keys(&self) -> Vec<TemplateKey<'_>> {
        let ids = [&self.content.opportunity_key, &self.content.account_key];
        let ids = ids.into_iter().map(|key| TemplateKey {
            key,
            kind: ValueKind::String,
            by: "[box]",
            is_id: true,
        });
        let mut keys: Vec<_> = ids.collect();
        for rule in &self.rules {
            let by = rule.name.as_str();
            let copied = rule.provision.iter().flat_map(|it| &it.fields);
            keys.extend(copied.map(|it| TemplateKey {
                key: &it.key,
                kind: it.kind,
                by,
                is_id: false,
            }));
            let pairs = rule.sync_metadata.iter().flat_map(|it| &it.fields);
            keys.extend(pairs.map(|it| TemplateKey {
                key: &it.key,
                kind: it.kind,
                by,
                is_id: false,
            }));
        }
        keys
    }

    /// What no one template can have, whatever rules may say.
    pub(super) fn template_problems(&self) -> Vec<String> {
        let keys = self.template_keys();
        let template = MappingTemplate::new();
        let add = |it: &TemplateKey<'_>| {
            let wanted = match it.is_id {
                true => WantedField::id(it.key),
                false => WantedField::new(it.key, it.kind),
            };
            let error = template.add([wanted]).err()?;
            let first = keys.iter().find(|first| first.key == it.key);
            Some(match first {
                Some(first) => format!("rule `{}`, beside {}: {error}", it.by, first.place()),
                None => format!("rule `{}`: {error}", it.by),
            })
        };
        keys.iter().filter_map(add).collect()
    }
}

impl TemplateKey<'_> {
    fn place(&self) -> String {
        match self.is_id {
            true => "[box]".to_owned(),
            false => format!("rule `{}`", self.by),
        }
    }
}
