use serde_json::Value;

use super::{FieldDef, FieldType, Name, ObjectDef, label_of};

impl ObjectDef {
    pub(super) fn new(name: impl Into<Name>, prefix: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            prefix: prefix.into(),
            createable: true,
            updateable: true,
            deletable: true,
            linkable: false,
            fields: Vec::new(),
        }
    }

    pub(super) fn linkable(mut self) -> Self {
        self.linkable = true;
        self
    }

    pub(super) fn uncreateable(mut self) -> Self {
        self.createable = false;
        self
    }

    pub(super) fn undeletable(mut self) -> Self {
        self.deletable = false;
        self
    }

    pub(super) fn set_up_by_people(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self.deletable = false;
        self
    }

    pub(super) fn with(self, own: Vec<FieldDef>) -> Self {
        let mut object = self.without_owner(own);
        let mut owner = reference("OwnerId", &["User"], "Owner");
        owner.nillable = false;
        owner.defaulted = true;
        object.fields.push(owner);
        object
    }

    pub(super) fn without_owner(mut self, own: Vec<FieldDef>) -> Self {
        self.fields = vec![id_field()];
        self.fields.extend(own);
        self.fields.extend([
            boolean("IsDeleted").read_only(),
            of("CreatedDate", FieldType::Datetime, 0).read_only(),
            reference("CreatedById", &["User"], "CreatedBy").read_only(),
            of("LastModifiedDate", FieldType::Datetime, 0).read_only(),
            reference("LastModifiedById", &["User"], "LastModifiedBy").read_only(),
            of("SystemModstamp", FieldType::Datetime, 0).read_only(),
        ]);
        self
    }
}

impl FieldDef {
    pub(super) fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    pub(super) fn read_only(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self
    }

    pub(super) fn create_only(mut self) -> Self {
        self.updateable = false;
        self
    }

    pub(super) fn defaulted(mut self, value: Value) -> Self {
        self.nillable = false;
        self.defaulted = true;
        self.default = Some(value);
        self
    }

    pub(super) fn id_lookup(mut self) -> Self {
        self.id_lookup = true;
        self
    }

    pub(super) fn not_filterable(mut self) -> Self {
        self.filterable = false;
        self
    }

    pub(super) fn restricted(mut self) -> Self {
        self.restricted = true;
        self
    }
}

pub(super) fn of(name: &str, kind: FieldType, length: u32) -> FieldDef {
    FieldDef {
        name: name.to_owned(),
        label: label_of(name),
        kind,
        length,
        createable: true,
        updateable: true,
        nillable: true,
        unique: false,
        case_sensitive: false,
        external_id: false,
        id_lookup: false,
        filterable: true,
        restricted: false,
        defaulted: false,
        default: None,
        picklist: Vec::new(),
        targets: &[],
        relationship: None,
    }
}

pub(super) fn text(name: &str, length: u32) -> FieldDef {
    of(name, FieldType::String, length)
}

pub(super) fn long_text(name: &str) -> FieldDef {
    of(name, FieldType::Textarea, 32_000).not_filterable()
}

pub(super) fn picklist(name: &str, values: &'static [&'static str]) -> FieldDef {
    FieldDef {
        picklist: values.iter().map(|value| (*value).into()).collect(),
        ..of(name, FieldType::Picklist, 255)
    }
}

pub(super) fn boolean(name: &str) -> FieldDef {
    of(name, FieldType::Boolean, 0).defaulted(Value::Bool(false))
}

pub(super) fn reference(
    name: &str,
    targets: &'static [&'static str],
    relationship: &'static str,
) -> FieldDef {
    let relationship = Some(relationship);
    FieldDef {
        targets,
        relationship,
        ..of(name, FieldType::Reference, 18)
    }
}

pub(super) fn id_field() -> FieldDef {
    let mut id = of("Id", FieldType::Id, 18).read_only();
    id.nillable = false;
    id.defaulted = true;
    id.id_lookup = true;
    id
}
