//! Box's metadata templates as the content side's metadata.

use async_trait::async_trait;
use box_client::{
    Error, ErrorKind, FieldType, FolderId, FoundItem, MetadataPatch, TemplateField as BoxField,
    TemplateUpdate,
};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future::ready, stream};
use serde_json::{Map, Value};

use crate::{
    box_content::{BoxContent, not_an_id, port_error, write_error},
    content::ContentSource,
    metadata::{
        Claimed, Instance, MappedFolder, MappedFolders, Metadata, TemplateField, ValueChange,
        ValueKind,
    },
    port_error::{PortError, PortErrorKind},
};

#[async_trait]
impl Metadata for BoxContent {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        const DOING: &str = "read the folder's metadata in Box";
        let id = folder_id(DOING, folder)?;
        let instance = self
            .client()
            .metadata()
            .on_folder(&id, self.scope(), self.template())
            .await
            .map_err(|error| port_error(DOING, error))?;
        Ok(instance.map(|instance| {
            let mut values = instance.values;
            values.retain(|key, value| !key.starts_with('$') && !value.is_null());
            Instance::new(values, instance.version).with_id(instance.id)
        }))
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        const DOING: &str = "set the folder's metadata in Box";
        let id = folder_id(DOING, folder)?;
        let set = self
            .client()
            .metadata()
            .set(&id, self.scope(), self.template(), values)
            .await;
        set.map(drop).map_err(|error| write_error(DOING, error))
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        const DOING: &str = "claim the folder in Box";
        let id = folder_id(DOING, folder)?;
        let metadata = self.client().metadata();
        let create = metadata.create(&id, self.scope(), self.template(), values);
        let error = match create.await {
            Ok(made) => {
                return Ok(Claimed {
                    instance: Instance::new(values.clone(), None).with_id(made.id),
                    is_new: true,
                });
            }
            Err(error) => error,
        };
        let code = error.api().and_then(|api| api.code());
        if code != Some("tuple_already_exists") && !error.may_have_happened() {
            return Err(port_error(DOING, error));
        }
        match self.read(folder).await? {
            Some(instance) => Ok(Claimed {
                instance,
                is_new: false,
            }),
            // Taken off just now, or a write that is still under way.
            None => Err(PortError::new(PortErrorKind::Busy, DOING).with_cause(error)),
        }
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        const DOING: &str = "change the folder's metadata in Box";
        let id = folder_id(DOING, folder)?;
        let mut patch = MetadataPatch::new();
        for ValueChange { key, seen, .. } in changes {
            if let Some(seen) = seen {
                patch = patch.test(key, seen.clone());
            }
        }
        for ValueChange { key, seen, to } in changes.iter().filter(|it| it.seen != it.to) {
            patch = match (seen, to) {
                (_, Some(to)) => patch.add(key, to.clone()),
                (Some(_), None) => patch.remove(key),
                (None, None) => patch,
            };
        }
        if patch.is_empty() {
            return Ok(true);
        }
        let metadata = self.client().metadata();
        match metadata
            .update(&id, self.scope(), self.template(), &patch)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if is_other_value(&error) => Ok(false),
            Err(error) => Err(write_error(DOING, error)),
        }
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        const DOING: &str = "make sure of the metadata template in Box";
        let templates = self.client().metadata_templates();
        let existing = match templates.get(self.scope(), self.template()).await {
            Ok(template) => template,
            Err(error) if error.kind() == ErrorKind::NotFound && error.api().is_some() => {
                may_be_made(DOING, fields.iter())?;
                let create = templates.create(self.template()).key(self.template());
                let create = fields
                    .iter()
                    .fold(create, |create, field| create.field(boxs(field)));
                return match create.send().await {
                    Ok(_) => Ok(()),
                    // Somebody else was faster: the next look tells whether it is the right one.
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        Err(PortError::new(PortErrorKind::Busy, DOING).with_cause(error))
                    }
                    Err(error) => Err(write_error(DOING, error)),
                };
            }
            Err(error) => return Err(port_error(DOING, error)),
        };
        may_be_made(
            DOING,
            fields.iter().filter(|it| existing.field(&it.key).is_none()),
        )?;
        let mut update = TemplateUpdate::new();
        let mut lacks = false;
        for field in fields {
            let Some(there) = existing.field(&field.key) else {
                update = update.add_field(boxs(field));
                lacks = true;
                continue;
            };
            // An integer is a number too.
            if kind(&there.kind) != Some(field.kind) {
                let cause = format!(
                    "field {} of template {} is of type {}, and not {}",
                    field.key,
                    self.template(),
                    there.kind,
                    boxs(field).kind
                );
                return Err(PortError::new(PortErrorKind::Refused, DOING).with_cause(cause));
            }
            let has = |option: &String| {
                let options = there.options.as_deref().unwrap_or_default();
                options.iter().any(|it| it.key == *option)
            };
            for option in field.options.iter().filter(|option| !has(option)) {
                update = match field.kind {
                    ValueKind::MultiSelect => update.add_multi_select_option(&field.key, option),
                    _ => update.add_option(&field.key, option),
                };
                lacks = true;
            }
        }
        if !lacks {
            return Ok(());
        }
        let updated = templates
            .update(self.scope(), self.template(), &update)
            .await;
        updated.map(drop).map_err(|error| write_error(DOING, error))
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        const DOING: &str = "read the metadata template in Box";
        let templates = self.client().metadata_templates();
        let template = templates.get(self.scope(), self.template()).await;
        let template = template.map_err(|error| port_error(DOING, error))?;
        let ours = |field: BoxField| {
            let options = field.options.unwrap_or_default().into_iter();
            let of_kind = TemplateField::new(field.key, kind(&field.kind)?).with_id(field.id);
            Some(of_kind.with_options(options.map(|option| option.key).collect()))
        };
        let fields = template.fields.unwrap_or_default();
        Ok(fields.into_iter().filter_map(ours).collect())
    }

    async fn find(&self, under: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        const DOING: &str = "look for the folder in Box";
        let failed = |error| port_error(DOING, error);
        let under = folder_id(DOING, under)?;
        let Some(scope) = self.full_scope(DOING).await? else {
            return Ok(Vec::new());
        };
        let found = self
            .client()
            .metadata()
            .query(&scope, self.template(), &under)
            .condition(&format!("{key} = :text"))
            .bind("text", text)
            .stream()
            .try_collect::<Vec<_>>()
            .await;
        let found = match found {
            Err(error) if is_without_template(&error) => Vec::new(),
            found => found.map_err(failed)?,
        };
        Ok(found
            .into_iter()
            .filter_map(|item| match item {
                FoundItem::Folder(folder) => Some(folder.id.as_str().to_owned()),
                _ => None,
            })
            .collect())
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        let state = self.folder(folder).await?;
        Ok(state.folders.into_iter().map(|it| it.id).collect())
    }
}

impl MappedFolders for BoxContent {
    fn mapped(&self, key: &str) -> BoxStream<'_, Result<MappedFolder, PortError>> {
        const DOING: &str = "look for mapped folders in Box";
        let key = key.to_owned();
        let failed = |error| port_error(DOING, error);
        let folders = async move {
            let Some(scope) = self.full_scope(DOING).await? else {
                return Ok(stream::empty().boxed());
            };
            let field = format!("metadata.{scope}.{}.{key}", self.template());
            let found = self
                .client()
                .metadata()
                .query(&scope, self.template(), &FolderId::root())
                .fields([field])
                .stream();
            let mapped = move |item: FoundItem| {
                let instance = item.metadata(&scope, self.template())?;
                let record = instance.values.get(&key)?.as_str()?.trim().to_owned();
                match item {
                    FoundItem::Folder(folder) if !record.is_empty() => Some(MappedFolder {
                        folder: folder.id.as_str().to_owned(),
                        record,
                    }),
                    _ => None,
                }
            };
            let mapped = move |item| ready(Ok(mapped(item)));
            let is_told =
                |found: &Result<_, _>| ready(!found.as_ref().is_err_and(is_without_template));
            let found = found.take_while(is_told).map_err(failed);
            Ok(found.try_filter_map(mapped).boxed())
        };
        stream::once(folders).try_flatten().boxed()
    }
}

fn folder_id(doing: &'static str, folder: &str) -> Result<FolderId, PortError> {
    FolderId::new(folder).map_err(|cause| not_an_id(doing, cause))
}

/// The template was deleted since somebody asked for its scope.
fn is_without_template(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    error.kind() == ErrorKind::NotFound
        && matches!(
            code,
            Some("instance_tuple_not_found" | "instance_not_found")
        )
}

/// A `test` found another value, or the value to remove is not there any more.
fn is_other_value(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    code == Some("failed_json_patch_application")
}

/// A field to choose from has something to choose.
fn may_be_made<'f>(
    doing: &'static str,
    mut fields: impl Iterator<Item = &'f TemplateField>,
) -> Result<(), PortError> {
    match fields.find(|field| field.kind.has_options() && field.options.is_empty()) {
        None => Ok(()),
        Some(field) => {
            let cause = format!(
                "the template has no field {}, and nobody tells the options of such an {}: make it \
                 by hand",
                field.key, field.kind
            );
            Err(PortError::new(PortErrorKind::Refused, doing).with_cause(cause))
        }
    }
}

fn kind(kind: &FieldType) -> Option<ValueKind> {
    match kind {
        FieldType::String => Some(ValueKind::String),
        FieldType::Float | FieldType::Integer => Some(ValueKind::Float),
        FieldType::Date => Some(ValueKind::Date),
        FieldType::Enum => Some(ValueKind::Enum),
        FieldType::MultiSelect => Some(ValueKind::MultiSelect),
        _ => None,
    }
}

fn boxs(field: &TemplateField) -> BoxField {
    let (key, options) = (field.key.as_str(), field.options.iter().cloned());
    match field.kind {
        ValueKind::String => BoxField::string(key, key),
        ValueKind::Float => BoxField::float(key, key),
        ValueKind::Date => BoxField::date(key, key),
        ValueKind::Enum => BoxField::one_of(key, key, options),
        ValueKind::MultiSelect => BoxField::several_of(key, key, options),
    }
}
