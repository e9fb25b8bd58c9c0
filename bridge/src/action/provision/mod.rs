//! Folders for records.

mod claim;
mod collaborators;
mod found;
mod given;
mod layout;
mod lead;
mod levels;
mod links;
mod record_folder;
mod rehearsal;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tokio::sync::OnceCell;

pub use self::{
    collaborators::{Collaborate, Who},
    layout::{Layout, LayoutError},
};
pub(crate) use self::{
    given::Given,
    record_folder::{folder_of, records_with_folders},
};
use self::{
    layout::Kind,
    levels::Walk,
    rehearsal::{Cue, Stage},
};
use super::{Action, StepError, Work};
use crate::{
    crm::Record,
    folders::Folders,
    foresight::{Deed, Looks},
    mapping_template::{MappingTemplate, MappingTemplateError, WantedField},
    metadata::{Metadata, ValueKind},
    package_links::PackageLinks,
    plan::Step,
    port_error::{PortError, PortErrorKind},
    record_event::Change,
    records::{RecordState, Records},
    situation::Situation,
};

const LEAD: &str = "Lead";
const OWNER_EMAIL: &str = "Owner.Email";
const OWNER_IS_ACTIVE: &str = "Owner.IsActive";

/// Gives each record its folders: one folder that carries the mapping to the record, where the
/// [`Layout`] has it, and the fixed ones below it.
///
/// The event is a hint: the record is read, and the folder is brought to where it should be. A
/// record's folder is found by what was remembered, by the vendor's package, or by its mapping, in
/// this order, and made only where there is none; a folder of the wanted name that nobody has
/// claimed becomes the record's. Where another record has the name, the record's id is added to
/// it. A folder that people have renamed or moved stays so until the record itself changes.
/// Nothing is ever deleted, but for an empty folder of which another worker has made a second one
/// at the same time.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use bridge::{
///     Action, BoxContent, Layout, Provision, Rule, SalesforceCrm,
///     action::{Collaborate, Who},
/// };
///
/// # fn example(content: BoxContent, crm: SalesforceCrm) -> Result<Rule, Box<dyn std::error::Error>> {
/// let (content, crm) = (Arc::new(content), Arc::new(crm));
/// let layout = Layout::new(["/Clients/{Account.Name}/{Opportunity.Name}/Contracts"])?;
/// let owner = Collaborate {
///     who: Who::Owner,
///     role: "editor".to_owned(),
/// };
/// let provision = Provision::new(content.clone(), content, crm, layout)
///     .collaborators([owner])
///     .link_field("Box_Folder__c");
/// let actions: Vec<Arc<dyn Action>> = vec![Arc::new(provision)];
/// Ok(Rule::new("folders", ["Account.*", "Opportunity.*"], actions)?)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Provision {
    folders: Arc<dyn Folders>,
    metadata: Arc<dyn Metadata>,
    records: Arc<dyn Records>,
    package: Option<Arc<dyn PackageLinks>>,
    layout: Layout,
    root: String,
    keys: BTreeMap<String, String>,
    fields: Vec<Copied>,
    collaborators: Vec<Collaborate>,
    notify: bool,
    keep_former_owner: bool,
    follow_names: bool,
    follow_parents: bool,
    tell_package: bool,
    link_fields: Vec<String>,
    link_base: String,
    template: Option<Arc<MappingTemplate>>,
    template_is_there: OnceCell<()>,
    /// Where it is only played.
    stage: Option<Arc<Stage>>,
}

/// A field that the folder's metadata has from the record.
#[derive(Clone, Debug)]
struct Copied {
    key: String,
    object: String,
    field: String,
    kind: ValueKind,
}

impl Provision {
    /// Provisions by this layout.
    pub fn new(
        folders: Arc<dyn Folders>,
        metadata: Arc<dyn Metadata>,
        records: Arc<dyn Records>,
        layout: Layout,
    ) -> Self {
        Self {
            folders,
            metadata,
            records,
            package: None,
            layout,
            root: "0".to_owned(),
            keys: BTreeMap::new(),
            fields: Vec::new(),
            collaborators: Vec::new(),
            notify: false,
            keep_former_owner: true,
            follow_names: true,
            follow_parents: true,
            tell_package: false,
            link_fields: Vec::new(),
            link_base: "https://app.box.com/folder/".to_owned(),
            template: None,
            template_is_there: OnceCell::new(),
            stage: None,
        }
    }

    /// Below this folder instead of the root.
    #[must_use]
    pub fn root(mut self, folder: impl Into<String>) -> Self {
        self.root = folder.into();
        self
    }

    /// The metadata key that holds the id of a kind of record: `account_id` for an Account, and the
    /// like, unless set.
    #[must_use]
    pub fn key(mut self, object: impl Into<String>, key: impl Into<String>) -> Self {
        self.keys.insert(object.into(), key.into());
        self
    }

    /// A metadata key that is filled, when a record of kind `object` gets its folder, from one of
    /// the record's fields.
    #[must_use]
    pub fn field(
        mut self,
        key: impl Into<String>,
        kind: ValueKind,
        object: impl Into<String>,
        field: impl Into<String>,
    ) -> Self {
        self.fields.push(Copied {
            key: key.into(),
            object: object.into(),
            field: field.into(),
            kind,
        });
        self
    }

    /// Lets these into each record's folder.
    #[must_use]
    pub fn collaborators(mut self, with: impl IntoIterator<Item = Collaborate>) -> Self {
        self.collaborators = with.into_iter().collect();
        self
    }

    /// Whether those who are let in are told by e-mail; not, unless set.
    #[must_use]
    pub fn notify(mut self, on: bool) -> Self {
        self.notify = on;
        self
    }

    /// Whether a record's former owner stays in its folder, as they do unless set. Only whom this
    /// has let in is ever let out.
    #[must_use]
    pub fn keep_former_owner(mut self, on: bool) -> Self {
        self.keep_former_owner = on;
        self
    }

    /// Whether a folder is renamed when its record is, as it is unless set.
    #[must_use]
    pub fn follow_names(mut self, on: bool) -> Self {
        self.follow_names = on;
        self
    }

    /// Whether a folder is moved when its record comes to belong to another, as it is unless set.
    #[must_use]
    pub fn follow_parents(mut self, on: bool) -> Self {
        self.follow_parents = on;
        self
    }

    /// Takes the folders that the vendor's own package shows on records, and with `tell` shows
    /// ours there where it shows none.
    #[must_use]
    pub fn package(mut self, package: Arc<dyn PackageLinks>, tell: bool) -> Self {
        self.package = Some(package);
        self.tell_package = tell;
        self
    }

    /// A text field of the record that gets the folder's address: `Box_Folder__c` where all kinds of
    /// records have it, `Opportunity.Box_Folder__c` for those of one kind. Can be called for each.
    #[must_use]
    pub fn link_field(mut self, field: impl Into<String>) -> Self {
        self.link_fields.push(field.into());
        self
    }

    /// What such an address begins with; the folder's id follows.
    #[must_use]
    pub fn link_base(mut self, base: impl Into<String>) -> Self {
        self.link_base = base.into();
        self
    }

    /// Shares the metadata template with other actions; for when all else is set. An error where
    /// they want what one template cannot have.
    pub fn template(
        mut self,
        template: Arc<MappingTemplate>,
    ) -> Result<Self, MappingTemplateError> {
        template.add(self.wanted_of_template())?;
        self.template = Some(template);
        Ok(self)
    }

    fn wanted_of_template(&self) -> Vec<WantedField> {
        let ids = self.layout.objects();
        let ids = ids.map(|object| WantedField::id(self.key_of(object)));
        let copied = self
            .fields
            .iter()
            .map(|it| WantedField::new(&it.key, it.kind).filled_from(&it.object, &it.field));
        ids.chain(copied).collect()
    }

    fn key_of(&self, object: &str) -> String {
        if let Some(key) = self.keys.get(object) {
            return key.clone();
        }
        let mut key = String::new();
        for (at, c) in object.trim_end_matches("__c").char_indices() {
            if c.is_ascii_uppercase() && at > 0 && !key.ends_with('_') {
                key.push('_');
            }
            key.push(c.to_ascii_lowercase());
        }
        format!("{key}_id")
    }

    fn link_field_of(&self, object: &str) -> Option<&str> {
        let of = |field| match str::split_once(field, '.') {
            Some((of, field)) => (of == object).then_some(field),
            None => Some(field),
        };
        self.link_fields.iter().find_map(|field| of(field))
    }

    /// All that is read of a record.
    fn wanted_fields(&self, object: &str, kind: &Kind) -> Vec<String> {
        let mut fields = kind.fields(object);
        let copied = self.fields.iter().filter(|it| it.object == object);
        fields.extend(copied.map(|it| it.field.clone()));
        if self.collaborators.iter().any(Collaborate::is_owner) {
            fields.extend([OWNER_EMAIL, OWNER_IS_ACTIVE].map(str::to_owned));
        }
        fields.extend(self.link_field_of(object).map(str::to_owned));
        if object == LEAD {
            fields.extend(lead::FIELDS.map(str::to_owned));
        }
        fields.sort();
        fields.dedup();
        fields
    }

    async fn read(
        &self,
        record: &Record,
        fields: &[String],
    ) -> Result<Option<RecordState>, StepError> {
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        match self.records.read(record, &fields).await {
            Ok(state) => Ok(Some(state)),
            Err(error) if error.kind() == PortErrorKind::Gone => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Of what others want of the template too, nothing is insisted on here.
    async fn ensure_template(&self) -> Result<(), StepError> {
        let (metadata, records) = (&*self.metadata, &*self.records);
        let wanted = self.wanted_of_template();
        if let Some(template) = &self.template {
            return Ok(template.ensure(&wanted, metadata, records).await?);
        }
        let ensure = async || {
            let template = MappingTemplate::new();
            template.add(wanted.clone()).map_err(|cause| {
                PortError::new(PortErrorKind::Refused, "put the metadata template together")
                    .with_cause(cause)
            })?;
            template.ensure(&wanted, metadata, records).await
        };
        Ok(self
            .template_is_there
            .get_or_try_init(ensure)
            .await
            .map(drop)?)
    }

    async fn provision(&self, record: &Record, work: &Work<'_>) -> Result<String, StepError> {
        let Some((object, kind)) = self.kind_of(record) else {
            return Ok(format!("the layout has no folder for {}", record.id));
        };
        let fields = self.wanted_fields(object, kind);
        let Some(state) = self.read(record, &fields).await? else {
            return self.deleted(record, work).await;
        };
        self.ensure_template().await?;
        if let Some(heir) = lead::heir(object, &state, work)? {
            return self.convert(record, &heir, work).await;
        }
        let mut walk = Walk::new(self, work, record, object, &state);
        let folder = walk.own_folder(kind).await?;
        walk.below(&folder, kind).await?;
        self.write_link(&mut walk, &folder).await?;
        self.write_package(&mut walk, &folder).await?;
        match walk.let_in(&folder).await {
            Err(StepError::Port(error)) => return Err(walk.vanished(error, &folder).await?),
            done => done?,
        }
        Ok(format!("folder {folder}: {}", walk.notes.join(", ")))
    }

    /// In a rehearsal, what is not written is told too.
    fn tell(&self, cue: impl FnOnce() -> Cue) {
        if let Some(stage) = &self.stage {
            stage.tell(cue());
        }
    }

    fn kind_of<'s>(&'s self, record: &'s Record) -> Option<(&'s str, &'s Kind)> {
        let object = record.object.as_deref()?;
        Some((object, self.layout.kind(object)?))
    }

    async fn deleted(&self, record: &Record, work: &Work<'_>) -> Result<String, StepError> {
        let known = record_folder::remembered(work, &record.id).await?;
        Ok(match known {
            Some(known) => format!(
                "{} is deleted; its folder {} stays",
                record.id, known.folder
            ),
            None => format!("{} is deleted", record.id),
        })
    }
}

#[async_trait]
impl Action for Provision {
    fn name(&self) -> &str {
        "provision"
    }

    fn goes_by(&self, object: &str) -> Option<Vec<String>> {
        let kind = self.layout.kind(object)?;
        Some(self.wanted_fields(object, kind))
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let change = situation.record()?;
        let (object, _) = self.kind_of(&change.record)?;
        let id = &change.record.id;
        Some(match change.change {
            Change::Deleted => format!("leave the folders of {id}, which was deleted"),
            _ => format!("provision {} for {id}", self.layout.shown(object)),
        })
    }

    async fn foresee(
        &self,
        situation: &Situation,
        looks: &Looks,
    ) -> Result<Option<Vec<Deed>>, StepError> {
        match situation.record() {
            Some(change) => Ok(Some(self.rehearse(&change.record, situation, looks).await?)),
            None => Ok(Some(Vec::new())),
        }
    }

    async fn apply(&self, _: &Step, work: &Work<'_>) -> Result<String, StepError> {
        match work.situation.record() {
            Some(change) => self.provision(&change.record, work).await,
            None => Ok("no record to provision for".to_owned()),
        }
    }
}
