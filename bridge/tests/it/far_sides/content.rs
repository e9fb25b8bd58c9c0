//! The side with the documents.

use async_trait::async_trait;
use bridge::{
    ContentSource, Folders, Metadata, PortError, PortErrorKind,
    content::{Content, FileState, FileVersion, FolderState, Mapping},
    folders::{Ensured, FolderName, Invitation, Invited, Invitee, Named, Placed},
    metadata::{Claimed, Instance, TemplateField, ValueChange},
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};

use super::{FarSides, Folder};

#[async_trait]
impl ContentSource for FarSides {
    async fn file(&self, file: &str) -> Result<FileState, PortError> {
        let world = self.world();
        let gone = || PortError::new(PortErrorKind::Gone, "file");
        let (version, _) = world
            .versions
            .get(file)
            .and_then(|all| all.last())
            .ok_or_else(gone)?;
        let folder = world.lies_in.get(file).map_or("contracts", String::as_str);
        Ok(FileState {
            id: file.to_owned(),
            name: world
                .renamed
                .clone()
                .unwrap_or_else(|| "NDA.pdf".to_owned()),
            version: version.clone(),
            folders: world.with_itself(folder),
        })
    }

    async fn earlier_versions(&self, file: &str) -> Result<Vec<FileVersion>, PortError> {
        let mut world = self.world();
        world.asked.push(file.to_owned());
        let all = world
            .versions
            .get(file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let past = all.split_last().map(|(_, past)| past).unwrap_or_default();
        Ok(past.iter().map(|(version, _)| version.clone()).collect())
    }

    async fn open(&self, file: &str, version: &FileVersion) -> Result<Content, PortError> {
        let mut world = self.world();
        world.asked.push(file.to_owned());
        let versions = world
            .versions
            .get(file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some((_, bytes)) = versions.iter().find(|(it, _)| it.id == version.id) else {
            return Err(PortError::new(PortErrorKind::NoContent, "open"));
        };
        let mut bytes = bytes.clone();
        if world.corrupt {
            bytes[0] ^= 1;
        }
        let size = bytes.len() as u64;
        let chunks: Vec<_> = bytes
            .chunks(7)
            .map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk)))
            .collect();
        Ok(Content {
            size,
            bytes: stream::iter(chunks).boxed(),
        })
    }

    async fn folder(&self, folder: &str) -> Result<FolderState, PortError> {
        let mut folders = {
            self.world().get(folder)?;
            self.world().with_itself(folder)
        };
        let own = folders.pop().unwrap();
        Ok(FolderState {
            id: own.id,
            name: own.name,
            folders,
        })
    }

    async fn is_final(&self, _: &str) -> Result<bool, PortError> {
        let mut world = self.world();
        if let Some(how) = world.unsigned {
            return Err(PortError::new(PortErrorKind::Refused, "is_final").with_cause(how));
        }
        let is_final = world.unfinished_signatures == 0;
        world.unfinished_signatures = world.unfinished_signatures.saturating_sub(1);
        Ok(is_final)
    }

    async fn mapping(&self, folder: &str) -> Result<Option<Mapping>, PortError> {
        let world = self.world();
        let values = world.folders.get(folder).and_then(|it| it.mapping.clone());
        Ok(values.map(|values| Mapping {
            folder: folder.to_owned(),
            values,
        }))
    }
}

#[async_trait]
impl Folders for FarSides {
    fn name(&self, text: &str, mark: Option<&str>) -> FolderName {
        let name = text.replace('/', "_");
        let changed = name != text;
        FolderName {
            name: mark.map_or(name.clone(), |mark| format!("{name} ({mark})")),
            changes: changed
                .then(|| "slashes replaced".to_owned())
                .into_iter()
                .collect(),
        }
    }

    async fn ensure(&self, parent: &str, name: &str) -> Result<Ensured, PortError> {
        self.write_now("ensure", |world| {
            if parent != "0" {
                world.get(parent)?;
            }
            Ok(match world.named(parent, name) {
                Some(folder) => Ensured {
                    folder: folder.clone(),
                    is_new: false,
                },
                None => Ensured {
                    folder: world.folder(parent, name),
                    is_new: true,
                },
            })
        })
        .await
    }

    async fn place(&self, folder: &str, parent: &str, name: &str) -> Result<Placed, PortError> {
        self.write_now("place", |world| {
            if world
                .named(parent, name)
                .is_some_and(|other| other != folder)
            {
                return Ok(Placed::NameTaken);
            }
            let placed = world.get(folder)?;
            (placed.parent, placed.name) = (parent.to_owned(), name.to_owned());
            Ok(Placed::There)
        })
        .await
    }

    async fn discard(&self, folder: &str) -> Result<bool, PortError> {
        self.write_now("discard", |world| {
            let is_empty = world.folders.values().all(|it| it.parent != folder);
            if is_empty {
                world.folders.remove(folder);
            }
            Ok(is_empty)
        })
        .await
    }

    async fn invite(&self, folder: &str, invitation: &Invitation) -> Result<Invited, PortError> {
        let who = match &invitation.invitee {
            Invitee::Login(id) | Invitee::User(id) | Invitee::Group(id) => id.clone(),
        };
        self.write_now("invite", |world| {
            if who.ends_with("@forbidden.example") {
                return Err(PortError::new(PortErrorKind::Refused, "invite"));
            }
            let id = world.new_id();
            let people = &mut world.get(folder)?.people;
            if let Some((id, (_, role))) = people.iter_mut().find(|(_, (it, _))| *it == who) {
                if invitation.instead_of.as_ref() == Some(role) {
                    role.clone_from(&invitation.role);
                }
                return Ok(Invited {
                    collaboration: Some(id.clone()),
                    role: Some(role.clone()),
                    is_new: false,
                });
            }
            people.insert(id.clone(), (who, invitation.role.clone()));
            Ok(Invited {
                collaboration: Some(id),
                role: Some(invitation.role.clone()),
                is_new: true,
            })
        })
        .await
    }

    async fn end_collaboration(&self, collaboration: &str) -> Result<(), PortError> {
        self.write_now("end", |world| {
            for folder in world.folders.values_mut() {
                folder.people.remove(collaboration);
            }
            Ok(())
        })
        .await
    }

    async fn named(&self, parent: &str, name: &str) -> Result<Option<Named>, PortError> {
        let world = self.world();
        Ok(world.named(parent, name).cloned().map(Named::Folder))
    }

    async fn standing(
        &self,
        folder: &str,
        invitee: &Invitee,
    ) -> Result<Option<Invited>, PortError> {
        let (Invitee::Login(who) | Invitee::User(who) | Invitee::Group(who)) = invitee;
        let mut world = self.world();
        let mut people = world.get(folder)?.people.iter();
        let there = people.find(|(_, (it, _))| it == who);
        Ok(there.map(|(id, (_, role))| Invited {
            collaboration: Some(id.clone()),
            role: Some(role.clone()),
            is_new: false,
        }))
    }
}

#[async_trait]
impl Metadata for FarSides {
    async fn read(&self, folder: &str) -> Result<Option<Instance>, PortError> {
        let values = self.world().get(folder)?.mapping.clone();
        Ok(values.map(|values| Instance::new(values, None)))
    }

    async fn set(&self, folder: &str, values: &Map<String, Value>) -> Result<(), PortError> {
        self.write_now("set", |world| {
            let mapping = world.get(folder)?.mapping.get_or_insert_default();
            mapping.extend(values.clone());
            Ok(())
        })
        .await
    }

    async fn shape(&self) -> Result<Vec<TemplateField>, PortError> {
        Ok(self.world().template.clone())
    }

    async fn claim(&self, folder: &str, values: &Map<String, Value>) -> Result<Claimed, PortError> {
        let claimed = self
            .write_now("claim", |world| {
                let mapping = &mut world.get(folder)?.mapping;
                let is_new = mapping.is_none();
                let values = mapping.get_or_insert_with(|| values.clone());
                let instance = Instance::new(values.clone(), None);
                Ok(Claimed { instance, is_new })
            })
            .await;
        match claimed {
            // The port's promise: it looks itself.
            Err(error) if error.kind() == PortErrorKind::Unknown => {
                let instance = Metadata::read(self, folder).await?.unwrap();
                Ok(Claimed {
                    instance,
                    is_new: false,
                })
            }
            claimed => claimed,
        }
    }

    async fn change(&self, folder: &str, changes: &[ValueChange]) -> Result<bool, PortError> {
        self.write_now("change", |world| {
            let mapping = world.get(folder)?.mapping.get_or_insert_default();
            let is_as_seen =
                |change: &ValueChange| mapping.get(&change.key) == change.seen.as_ref();
            if !changes.iter().all(is_as_seen) {
                return Ok(false);
            }
            for ValueChange { key, to, .. } in changes {
                match to {
                    Some(to) => mapping.insert(key.clone(), to.clone()),
                    None => mapping.remove(key),
                };
            }
            Ok(true)
        })
        .await
    }

    async fn ensure_template(&self, fields: &[TemplateField]) -> Result<(), PortError> {
        let mut world = self.world();
        // All of it or nothing, as Box has it.
        let mut template = world.template.clone();
        for field in fields {
            let refused = |cause: &str| {
                let error = PortError::new(PortErrorKind::Refused, "make sure of the template");
                Err(error.with_cause(format!("field {} {cause}", field.key)))
            };
            let Some(there) = template.iter_mut().find(|it| it.key == field.key) else {
                use bridge::metadata::ValueKind::{Enum, MultiSelect};

                let chooses = matches!(field.kind, Enum | MultiSelect);
                if chooses && field.options.is_empty() {
                    return refused("has nothing to choose from");
                }
                template.push(field.clone());
                continue;
            };
            if there.kind != field.kind {
                return refused("is of another type");
            }
            for option in &field.options {
                if !there.options.contains(option) {
                    there.options.push(option.clone());
                }
            }
        }
        world.template = template;
        Ok(())
    }

    async fn find(&self, _: &str, key: &str, text: &str) -> Result<Vec<String>, PortError> {
        let world = self.world();
        let has = |folder: &Folder| {
            folder.mapping.as_ref().and_then(|it| it.get(key)) == Some(&text.into())
        };
        let found = world.folders.iter().filter(|(_, folder)| has(folder));
        Ok(found.map(|(id, _)| id.clone()).collect())
    }

    async fn above(&self, folder: &str) -> Result<Vec<String>, PortError> {
        let state = ContentSource::folder(self, folder).await?;
        Ok(state.folders.into_iter().map(|it| it.id).collect())
    }
}

#[tokio::test]
async fn a_template_takes_new_fields_and_options_and_no_other_types() {
    use bridge::metadata::ValueKind;

    let sides = FarSides::new();
    let choice = |options: &[&str]| {
        let options = options.iter().map(|it| (*it).to_owned()).collect();
        TemplateField::new("kind", ValueKind::Enum).with_options(options)
    };
    let text = |key: &str| TemplateField::new(key, ValueKind::String);
    let made = [choice(&["old"]), text("step")];
    sides.ensure_template(&made).await.unwrap();
    sides.ensure_template(&[choice(&["new"])]).await.unwrap();
    let whole = [choice(&["old", "new"]), text("step")];
    for bad in [
        TemplateField::new("step", ValueKind::Date),
        TemplateField::new("other", ValueKind::Enum),
    ] {
        let fields = [text("more"), bad];
        let error = sides.ensure_template(&fields).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Refused);
        assert_eq!(sides.shape().await.unwrap(), whole);
    }
}
