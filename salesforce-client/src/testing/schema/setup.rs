use super::define::{boolean, id_field, of, reference, text};
use super::{FieldDef, FieldType, ObjectDef, Schema};

impl Schema {
    /// What the Tooling API shows: the make of the org, and these objects of it.
    pub(in crate::testing) fn setup(&self, shared: &[&str]) -> Self {
        let shared = shared.iter().filter_map(|name| self.object(name)).cloned();
        Self {
            objects: shared
                .chain([custom_field(), entity_definition(), field_definition()])
                .collect(),
            hidden: Vec::new(),
            custom: Vec::new(),
            modified: self.modified,
        }
    }

    /// The fields of an object, those that nobody may see yet too.
    pub(in crate::testing) fn all_fields<'a>(
        &'a self,
        def: &'a ObjectDef,
    ) -> impl Iterator<Item = FieldDef> + 'a {
        let hidden = self.hidden.iter();
        let hidden = hidden.filter(|(object, _)| object.eq_ignore_ascii_case(&def.name));
        let hidden = hidden.map(|(_, field)| FieldDef::custom(field.clone()));
        def.fields.iter().cloned().chain(hidden)
    }
}

fn custom_field() -> ObjectDef {
    object(
        "CustomField",
        "00N",
        vec![
            id_field(),
            text("DeveloperName", 80),
            text("NamespacePrefix", 15),
            text("TableEnumOrId", 255),
            text("EntityDefinitionId", 255),
            text("FullName", 255).not_filterable(),
        ],
    )
}

fn entity_definition() -> ObjectDef {
    object(
        "EntityDefinition",
        "4ie",
        vec![
            text("DurableId", 255),
            text("QualifiedApiName", 255),
            text("DeveloperName", 255),
            text("Label", 255),
            text("KeyPrefix", 3),
        ],
    )
}

fn field_definition() -> ObjectDef {
    object(
        "FieldDefinition",
        "4fe",
        vec![
            text("DurableId", 255),
            text("QualifiedApiName", 255),
            text("DeveloperName", 255),
            text("Label", 255),
            of("Length", FieldType::Int, 0),
            boolean("IsIndexed"),
            text("EntityDefinitionId", 255),
            // The relationship is by name there and by id here: a name that no query can have.
            reference(
                "EntityDefinition#",
                &["EntityDefinition"],
                "EntityDefinition",
            ),
        ],
    )
}

fn object(name: &'static str, prefix: &'static str, fields: Vec<FieldDef>) -> ObjectDef {
    let mut object = ObjectDef::new(name, prefix).set_up_by_people();
    object.fields = fields;
    object
}
