//! The one metadata template that all actions share: what each of them wants of it, put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use tokio::sync::Mutex as Turn;

use crate::{
    metadata::{Metadata, TemplateField, ValueKind},
    port_error::{PortError, PortErrorKind},
    records::{FieldShape, Records},
};

/// Makes sure of the metadata template for all actions that share it, with the fields of each:
/// of [`Provision`](crate::Provision), and of [`SyncMetadata`](crate::SyncMetadata). Each makes sure
/// of its own: what the template cannot have holds back nobody who does not want it.
///
/// Two that want one key with two types are told so when they are put together, before anything
/// starts. The options of a field that is filled from a picklist are the picklist's values.
#[derive(Debug, Default)]
pub struct MappingTemplate {
    state: Mutex<State>,
    /// Of two who add the same field at a time, one would be refused.
    turn: Turn<()>,
}

#[derive(Debug, Default)]
struct State {
    fields: BTreeMap<String, Wanted>,
    /// The keys that were made sure of.
    are_there: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Wanted {
    kind: ValueKind,
    /// Whether it holds the id of a record, which nothing else may be written over.
    is_id: bool,
    sources: BTreeSet<Source>,
}

/// A field that an action wants the template to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedField {
    key: String,
    kind: ValueKind,
    is_id: bool,
    source: Option<Source>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Source {
    object: String,
    field: String,
}

/// Two actions want what one template cannot have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MappingTemplateError {
    /// A key has one type.
    #[error(
        "the metadata key `{key}` cannot be both {one} and {other}: give it one type everywhere"
    )]
    Kinds {
        /// The key.
        key: String,
        /// What one wants.
        one: ValueKind,
        /// What another wants.
        other: ValueKind,
    },
    /// It says which record the folder belongs to.
    #[error("the metadata key `{0}` holds a record's id, so nothing else can be kept in it")]
    Id(String),
}

impl WantedField {
    /// A field with values of this type.
    pub fn new(key: impl Into<String>, kind: ValueKind) -> Self {
        Self {
            key: key.into(),
            kind,
            is_id: false,
            source: None,
        }
    }

    /// The field that holds the id of a kind of record.
    pub fn id(key: impl Into<String>) -> Self {
        Self {
            is_id: true,
            ..Self::new(key, ValueKind::String)
        }
    }

    /// Filled from a field of this kind of record, such as `StageName` of an `Opportunity`.
    #[must_use]
    pub fn filled_from(mut self, object: impl Into<String>, field: impl Into<String>) -> Self {
        self.source = Some(Source {
            object: object.into(),
            field: field.into(),
        });
        self
    }
}

impl MappingTemplate {
    /// A template of which nobody wants anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what an action wants, all of it or nothing.
    pub fn add(
        &self,
        fields: impl IntoIterator<Item = WantedField>,
    ) -> Result<(), MappingTemplateError> {
        let mut state = self.state();
        let mut all = state.fields.clone();
        for field in fields {
            let WantedField {
                key, kind, is_id, ..
            } = field;
            let there = all.entry(key.clone()).or_insert_with(|| Wanted {
                kind,
                is_id,
                sources: BTreeSet::new(),
            });
            if there.is_id != is_id {
                return Err(MappingTemplateError::Id(key));
            }
            if there.kind != kind {
                return Err(MappingTemplateError::Kinds {
                    key,
                    one: there.kind,
                    other: kind,
                });
            }
            there.sources.extend(field.source);
        }
        state.fields = all;
        state.are_there.clear();
        Ok(())
    }

    /// Makes sure, once in the life of this value, that the template exists and has these of the
    /// fields that were added.
    pub async fn ensure(
        &self,
        fields: &[WantedField],
        metadata: &dyn Metadata,
        records: &dyn Records,
    ) -> Result<(), PortError> {
        let _turn = self.turn.lock().await;
        self.ensure_in_turn(fields, metadata, records).await
    }

    /// Makes sure of them anew: a picklist may have got a value, or somebody may have deleted a
    /// field.
    pub async fn ensure_anew(
        &self,
        fields: &[WantedField],
        metadata: &dyn Metadata,
        records: &dyn Records,
    ) -> Result<(), PortError> {
        let _turn = self.turn.lock().await;
        let keys = keys(fields);
        self.state().are_there.retain(|key| !keys.contains(&**key));
        self.ensure_in_turn(fields, metadata, records).await
    }

    async fn ensure_in_turn(
        &self,
        fields: &[WantedField],
        metadata: &dyn Metadata,
        records: &dyn Records,
    ) -> Result<(), PortError> {
        let keys = keys(fields);
        if keys.iter().all(|key| self.state().are_there.contains(*key)) {
            return Ok(());
        }
        let wanted = self.fields(fields, records).await?;
        metadata.ensure_template(&wanted).await?;
        let there = keys.into_iter().map(str::to_owned);
        self.state().are_there.extend(there);
        Ok(())
    }

    /// The same, which has made sure of nothing yet.
    pub(crate) fn unsure(&self) -> Self {
        let state = State {
            fields: self.state().fields.clone(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            turn: Turn::default(),
        }
    }

    /// These of the fields that were added, with the options that their picklists have now,
    /// whoever fills them.
    pub async fn fields(
        &self,
        fields: &[WantedField],
        records: &dyn Records,
    ) -> Result<Vec<TemplateField>, PortError> {
        let keys = keys(fields);
        let mut wanted = self.state().fields.clone();
        wanted.retain(|key, _| keys.contains(&**key));
        let mut shapes = BTreeMap::new();
        let mut fields = Vec::new();
        for (key, wanted) in wanted {
            let mut options = Vec::new();
            let sources = wanted.sources.iter().filter(|_| wanted.kind.has_options());
            for source in sources.map(Source::owned) {
                if !shapes.contains_key(&source.object) {
                    let shape = shape(records, &source.object).await?;
                    shapes.insert(source.object.clone(), shape);
                }
                let shape = shapes.get(&source.object).into_iter().flatten();
                options.extend(choices(shape, &source.field));
            }
            let mut seen = BTreeSet::new();
            options.retain(|option| seen.insert(option.clone()));
            fields.push(TemplateField::new(key, wanted.kind).with_options(options));
        }
        Ok(fields)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// `Account.Industry` of an Opportunity is `Industry` of an Account.
    fn owned(&self) -> Self {
        let mut path = self.field.rsplit('.');
        let field = path.next().unwrap_or_default().to_owned();
        let object = path.next().unwrap_or(&self.object).to_owned();
        Self { object, field }
    }
}

fn keys(fields: &[WantedField]) -> BTreeSet<&str> {
    fields.iter().map(|field| &*field.key).collect()
}

/// A relationship need not be called as what it leads to: then nobody tells the options.
async fn shape(records: &dyn Records, object: &str) -> Result<Vec<FieldShape>, PortError> {
    match records.shape(object).await {
        Err(error) if matches!(error.kind(), PortErrorKind::Gone | PortErrorKind::Refused) => {
            Ok(Vec::new())
        }
        shape => shape,
    }
}

fn choices<'s>(mut shape: impl Iterator<Item = &'s FieldShape>, name: &str) -> Vec<String> {
    let field = shape.find(|field| field.name.eq_ignore_ascii_case(name));
    match field {
        Some(field) if field.kind == "boolean" => ["true", "false"].map(str::to_owned).into(),
        Some(field) => field.choices.clone(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_template_can_have_is_told_when_it_is_put_together() {
        let template = MappingTemplate::new();
        let stage = |kind| WantedField::new("stage", kind);
        assert_eq!(template.add([WantedField::id("deal")]), Ok(()));
        assert_eq!(template.add([stage(ValueKind::Enum)]), Ok(()));
        assert_eq!(template.add([stage(ValueKind::Enum)]), Ok(()));
        let error = template.add([stage(ValueKind::String)]);
        let said = error.map_err(|error| error.to_string());
        let said = said.err().unwrap_or_default();
        assert!(
            said.contains("`stage` cannot be both enum and string"),
            "{said}"
        );
        let text = WantedField::new("deal", ValueKind::String);
        assert_eq!(
            template.add([text]),
            Err(MappingTemplateError::Id("deal".to_owned()))
        );
    }
}
