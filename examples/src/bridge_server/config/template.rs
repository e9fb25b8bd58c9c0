//! The keys of the metadata template that the configuration speaks of.

use bridge::metadata::ValueKind;

use super::Config;

/// A key, and what speaks of it.
#[derive(Clone, Copy)]
pub(crate) struct TemplateKey<'c> {
    pub(crate) key: &'c str,
    pub(crate) kind: ValueKind,
    pub(crate) by: &'c str,
}

impl Config {
    pub(crate) fn template_keys(&self) -> Vec<TemplateKey<'_>> {
        let ids = [&self.content.opportunity_key, &self.content.account_key];
        let ids = ids.into_iter().map(|key| TemplateKey {
            key,
            kind: ValueKind::String,
            by: "[box]",
        });
        let mut keys: Vec<_> = ids.collect();
        for rule in &self.rules {
            let by = rule.name.as_str();
            let copied = rule.provision.iter().flat_map(|it| &it.fields);
            keys.extend(copied.map(|it| TemplateKey {
                key: &it.key,
                kind: it.kind,
                by,
            }));
            let pairs = rule.sync_metadata.iter().flat_map(|it| &it.fields);
            keys.extend(pairs.map(|it| TemplateKey {
                key: &it.key,
                kind: it.kind,
                by,
            }));
        }
        keys
    }

    /// A template has one type for a key, whatever rules may say.
    pub(super) fn template_problems(&self) -> Vec<String> {
        let keys = self.template_keys();
        let mut problems = Vec::new();
        for (position, it) in keys.iter().enumerate() {
            let before = keys[..position].iter().find(|other| other.key == it.key);
            if let Some(other) = before.filter(|other| other.kind != it.kind) {
                problems.push(format!(
                    "rule `{}`: it takes {} to be {:?}, and `{}` takes it to be {:?}: let them \
                     agree with the metadata template",
                    it.by, it.key, it.kind, other.by, other.kind
                ));
            }
        }
        problems
    }
}
