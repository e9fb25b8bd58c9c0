//! What a person would do in the web app. It changes the same Box and raises the same events.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    answer::Refused, content::Content, files::Changes, handle::FakeBox, items::Stored, locks::Wish,
    metadata::Place, people::User, server::Inner, state::State, versions::ContentTimes,
};

/// A file that was uploaded through the handle.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UploadedFile {
    /// The file.
    pub file_id: String,
    /// The version that was uploaded.
    pub version_id: String,
    /// The SHA-1 of its bytes, in hex.
    pub sha1: String,
    /// The events raised, one for each webhook that watches.
    pub event_ids: Vec<String>,
}

impl FakeBox {
    /// Makes a folder and gives its id. The root is `0`.
    ///
    /// # Errors
    ///
    /// What Box would refuse, as of all calls here.
    pub fn create_folder(&self, parent: &str, name: &str) -> Result<String, Refused> {
        self.act(|state, person| state.add_folder(person, parent, name))
    }

    /// Uploads a file.
    ///
    /// # Errors
    ///
    /// When the folder is not there or the name is taken or invalid.
    pub fn upload(
        &self,
        folder: &str,
        name: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<UploadedFile, Refused> {
        UploadedFile::store(
            self.inner(),
            folder,
            name,
            Stored::new(Content::Kept(bytes.into())),
        )
    }

    /// Uploads a file of any size that takes no memory: its bytes are made up as they are read,
    /// always the same for a seed. Hashing them takes its time.
    ///
    /// # Errors
    ///
    /// As [`FakeBox::upload`].
    pub fn upload_generated(
        &self,
        folder: &str,
        name: &str,
        size: u64,
        seed: u64,
    ) -> Result<UploadedFile, Refused> {
        UploadedFile::generated(self.inner(), folder, name, size, seed)
    }

    /// Uploads a new version of a file.
    ///
    /// # Errors
    ///
    /// When the file is not there or locked by somebody else.
    pub fn upload_version(
        &self,
        file: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<UploadedFile, Refused> {
        let stored = Stored::new(Content::Kept(bytes.into()));
        self.act(|state, person| {
            let event_ids =
                state.add_version(person, file, None, stored, ContentTimes::default())?;
            UploadedFile::read(state, file.to_owned(), event_ids)
        })
    }

    /// Deletes a past version of a file.
    ///
    /// # Errors
    ///
    /// When it is not there, or the current one.
    pub fn delete_version(&self, file: &str, version: &str) -> Result<(), Refused> {
        self.act(|state, _| state.delete_version(file, version))
    }

    /// Moves a file to the trash and gives the events raised.
    ///
    /// # Errors
    ///
    /// When it is not there or locked by somebody else.
    pub fn trash(&self, file: &str) -> Result<Vec<String>, Refused> {
        self.act(|state, person| state.trash_file(person, file))
    }

    /// Locks a file, for everybody but the person.
    ///
    /// # Errors
    ///
    /// When it is not there or locked by somebody else.
    pub fn lock(&self, file: &str) -> Result<(), Refused> {
        let wish = Wish::Lock {
            expires_at: None,
            prevents_download: false,
        };
        self.act(|state, person| state.set_lock(person, file, wish))
    }

    /// Unlocks a file that the person has locked.
    ///
    /// # Errors
    ///
    /// As [`FakeBox::lock`].
    pub fn unlock(&self, file: &str) -> Result<(), Refused> {
        self.act(|state, person| state.set_lock(person, file, Wish::Unlock))
    }

    /// Moves a file to another folder.
    ///
    /// # Errors
    ///
    /// When either is not there or the name is taken.
    pub fn move_file(&self, file: &str, folder: &str) -> Result<(), Refused> {
        let changes = Changes {
            parent: Some(folder.to_owned()),
            ..Changes::default()
        };
        self.act(|state, person| state.change(person, "file", file, &changes))
    }

    /// Renames a file.
    ///
    /// # Errors
    ///
    /// When it is not there or the name is taken or invalid.
    pub fn rename_file(&self, file: &str, name: &str) -> Result<(), Refused> {
        let changes = Changes {
            name: Some(name.to_owned()),
            ..Changes::default()
        };
        self.act(|state, person| state.change(person, "file", file, &changes))
    }

    /// Looks at a file in the web app.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn preview(&self, file: &str) -> Result<Vec<String>, Refused> {
        self.act(|state, person| {
            state.tree.file(file)?;
            let chain = state.tree.chain(file);
            Ok(state.tell_item(&chain, "FILE.PREVIEWED", person, file, &Value::Null))
        })
    }

    /// Makes a template in the enterprise from its fields, as Box's API takes them:
    /// `[{"type": "string", "key": "stage", "displayName": "Stage"}]`.
    ///
    /// # Errors
    ///
    /// When the key is taken or something is invalid.
    pub fn create_template(&self, key: &str, fields: Value) -> Result<(), Refused> {
        let body = json!({
            "scope": "enterprise",
            "templateKey": key,
            "displayName": key,
            "fields": fields,
        });
        self.act(|state, _| state.create_template(&body).map(|_| ()))
    }

    /// Applies a template of the enterprise to a folder; if it is applied, sets these values.
    ///
    /// # Errors
    ///
    /// When the folder or template is not there, or the values do not fit.
    pub fn apply_metadata(
        &self,
        folder: &str,
        template: &str,
        values: Value,
    ) -> Result<(), Refused> {
        let place = Place {
            type_name: "folder",
            item: folder,
            scope: "enterprise",
            key: template,
        };
        let values = values.as_object().cloned().unwrap_or_default();
        self.act(
            |state, person| match state.apply_metadata(person, place, &values) {
                Err(refused) if refused.code() == "tuple_already_exists" => {
                    let add = |(key, value): (&String, &Value)| {
                        let key = key.replace('~', "~0").replace('/', "~1");
                        json!({ "op": "add", "path": format!("/{key}"), "value": value })
                    };
                    let patch: Value = values.iter().map(add).collect();
                    state.patch_metadata(person, place, &patch)
                }
                outcome => outcome,
            },
        )
    }

    /// Makes a webhook on a folder or file and gives its id. It belongs to the service account
    /// and the first application, as one made with [`FakeBox::issue_token`] does.
    ///
    /// # Errors
    ///
    /// When the target is not there or has one, or a trigger or the address is refused.
    pub fn create_webhook(
        &self,
        target: &str,
        address: &str,
        triggers: &[&str],
    ) -> Result<String, Refused> {
        self.act(|state, _| {
            let item = state
                .tree
                .get(target)
                .ok_or_else(|| Refused::not_found("item", target))?;
            let body = json!({
                "target": { "id": target, "type": item.type_name() },
                "address": address,
                "triggers": triggers,
            });
            let owner = state.own();
            Ok(state.create_webhook(owner, &body)?.id.to_string())
        })
    }

    /// Has Box send nothing more for this webhook, or send again. To whoever reads it, it looks as
    /// before. What happens meanwhile is never sent.
    ///
    /// # Errors
    ///
    /// When the webhook is not there.
    pub fn silence_webhook(&self, id: &str, is_silent: bool) -> Result<(), Refused> {
        self.act(|state, _| {
            let webhook = id.parse().ok().and_then(|id| state.webhooks.get_mut(&id));
            let webhook = webhook.ok_or_else(|| Refused::not_found("webhook", id))?;
            webhook.is_silent = is_silent;
            Ok(())
        })
    }

    /// Invites somebody to a folder and gives the collaboration's id. Users of the enterprise
    /// are in at once, others are pending.
    ///
    /// # Errors
    ///
    /// When the folder is not there or the user is a collaborator.
    pub fn collaborate(&self, folder: &str, login: &str, role: &str) -> Result<String, Refused> {
        let body = json!({
            "item": { "type": "folder", "id": folder },
            "accessible_by": { "type": "user", "login": login },
            "role": role,
        });
        self.act(|state, person| Ok(state.collaborate(person, &body)?.to_string()))
    }

    /// Lets a group into a folder and gives the collaboration's id.
    ///
    /// # Errors
    ///
    /// When the folder or the group is not there, or the group is a collaborator.
    pub fn collaborate_group(
        &self,
        folder: &str,
        group: &str,
        role: &str,
    ) -> Result<String, Refused> {
        let body = json!({
            "item": { "type": "folder", "id": folder },
            "accessible_by": { "type": "group", "id": group },
            "role": role,
        });
        self.act(|state, person| Ok(state.collaborate(person, &body)?.to_string()))
    }

    /// Accepts a pending collaboration.
    ///
    /// # Errors
    ///
    /// When it is not pending.
    pub fn accept_collaboration(&self, id: &str) -> Result<(), Refused> {
        let number = id
            .parse()
            .map_err(|_| Refused::not_found("collaboration", id))?;
        self.act(|state, person| state.answer_invitation(person, number, true))
    }

    /// Adds a user to the enterprise and gives the id.
    pub fn create_user(&self, name: &str, login: &str) -> String {
        self.inner().with(|state| {
            let id = state.ids.user();
            state.users.push(User::new(&id, name, login));
            id
        })
    }

    /// Adds a group to the enterprise and gives the id.
    ///
    /// # Errors
    ///
    /// When another has the name.
    pub fn create_group(&self, name: &str) -> Result<String, Refused> {
        self.inner().with(|state| {
            let id = state.ids.record();
            state.groups.add(&id, name)?;
            Ok(id)
        })
    }

    /// Asks these to sign a file, as a person does in Box Sign, and gives the sign request's id.
    ///
    /// # Errors
    ///
    /// When the file is not there.
    pub fn request_signatures(&self, file: &str, emails: &[&str]) -> Result<String, Refused> {
        let signers = emails.iter().map(|email| json!({ "email": email }));
        let body = json!({
            "source_files": [{ "type": "file", "id": file }],
            "signers": signers.collect::<Vec<_>>(),
        });
        self.act(|state, person| state.request_signatures(person, body))
    }

    /// One signs, which Box Sign makes a version with these bytes of. After the last one the end
    /// is told of while the signed file is not put together yet: see
    /// [`finish_signing`](Self::finish_signing).
    ///
    /// # Errors
    ///
    /// When the request does not wait for this signer.
    pub fn sign_request(
        &self,
        request: &str,
        email: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Vec<String>, Refused> {
        let stored = Stored::new(Content::Kept(bytes.into()));
        self.act(|state, _| state.sign_one(request, email, stored))
    }

    /// Box Sign puts the signed file together, with these bytes, after all have signed.
    ///
    /// # Errors
    ///
    /// When somebody has not signed yet.
    pub fn finish_signing(
        &self,
        request: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<Vec<String>, Refused> {
        let stored = Stored::new(Content::Kept(bytes.into()));
        self.act(|state, _| state.finish_signing(request, stored))
    }

    /// One declines to sign, which ends the request.
    ///
    /// # Errors
    ///
    /// When the request does not wait for this signer.
    pub fn decline_signing(&self, request: &str, email: &str) -> Result<Vec<String>, Refused> {
        self.act(|state, _| state.decline_signing(request, email))
    }

    /// Box Sign reports that these signers have signed the file, which ends a sign request for it.
    /// The versions that signing adds are the test's to upload.
    ///
    /// # Errors
    ///
    /// When the file is not there.
    pub fn sign_completed(&self, file: &str, emails: &[&str]) -> Result<Vec<String>, Refused> {
        self.act(|state, _| {
            state.tree.file(file)?;
            let info = state.all_signed(file, emails);
            let chain = state.tree.chain(file);
            let sign = User::sign();
            Ok(state.tell_item(&chain, "SIGN_REQUEST.COMPLETED", &sign, file, &info))
        })
    }

    fn act<T>(
        &self,
        act: impl FnOnce(&mut State, &User) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.inner().with(|state| act(state, &User::person()))
    }
}

impl UploadedFile {
    /// Hashes before it takes the state.
    pub(super) fn generated(
        inner: &Inner,
        folder: &str,
        name: &str,
        size: u64,
        seed: u64,
    ) -> Result<Self, Refused> {
        Self::store(
            inner,
            folder,
            name,
            Stored::new(Content::Generated { seed, size }),
        )
    }

    fn store(inner: &Inner, folder: &str, name: &str, stored: Stored) -> Result<Self, Refused> {
        inner.with(|state| {
            let (person, times) = (User::person(), ContentTimes::default());
            let (id, events) = state.add_file(&person, folder, name, stored, times)?;
            Self::read(state, id, events)
        })
    }

    fn read(state: &State, file_id: String, event_ids: Vec<String>) -> Result<Self, Refused> {
        let (_, file) = state.tree.file(&file_id)?;
        let (version_id, sha1) = (file.current.id.clone(), file.current.stored.sha1.clone());
        Ok(Self {
            file_id,
            version_id,
            sha1,
            event_ids,
        })
    }
}
