//! The one metadata template that all actions share: what each of them wants of it, put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{
    metadata::{Metadata, TemplateField, ValueKind},
    port_error::{PortError, PortErrorKind},
    records::{FieldShape, Records},
};

/// Makes sure of the metadata template for all actions that share it, with the fields of each:
/// of [`Provision`](crate::Provision), and of [`SyncMetadata`](crate::SyncMetadata).
///
/// Two that want one key with two types are told so when they are put together, before anything
/// starts. The options of a field that is filled from a picklist are the picklist's values.
#[derive(Debug, Default)]
pub struct MappingTemplate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    fields: BTreeMap<String, Wanted>,
    is_there: Arc<OnceCell<()>>,
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
        state.is_there = Arc::default();
        Ok(())
    }

    /// Makes sure, once in the life of this value, that the template exists and has all of it.
    pub async fn ensure(
        &self,
        metadata: &dyn Metadata,
        records: &dyn Records,
    ) -> Result<(), PortError> {
        let is_there = Arc::clone(&self.state().is_there);
        let ensure = async || metadata.ensure_template(&self.fields(records).await?).await;
        is_there.get_or_try_init(ensure).await.map(drop)
    }

    /// Makes sure of it anew: a picklist may have got a value, or somebody may have deleted a field.
    pub async fn ensure_anew(
        &self,
        metadata: &dyn Metadata,
        records: &dyn Records,
    ) -> Result<(), PortError> {
        self.state().is_there = Arc::default();
        self.ensure(metadata, records).await
    }

    /// The fields that the template is to have, with the options that their picklists have now.
    pub async fn fields(&self, records: &dyn Records) -> Result<Vec<TemplateField>, PortError> {
        let wanted = self.state().fields.clone();
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
