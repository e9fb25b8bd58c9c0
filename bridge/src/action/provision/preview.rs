//! What a record's folders would be called.

use serde::Serialize;

use super::{
    Provision,
    layout::{Kind, reference},
    levels::shown,
};
use crate::{crm::Record, port_error::PortError};

/// A folder that a record is to have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FolderPreview {
    /// Its path, from the root of the layout down, by the names that its levels would have.
    pub path: Vec<String>,
    /// Whether it is the record's own folder.
    pub is_records: bool,
    /// What had to be changed of the texts to make names of them.
    pub changes: Vec<String>,
}

impl Provision {
    /// The folders that a record is to have, as long as nothing else has their names. Reads the
    /// record, and writes nothing; none where the layout has no folder for such a record.
    pub async fn preview(&self, record: &Record) -> Result<Vec<FolderPreview>, PortError> {
        let Some((object, kind)) = self.kind_of(record) else {
            return Ok(Vec::new());
        };
        let fields = kind.fields(object);
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        let state = self.records.read(record, &fields).await?;
        let mut own = FolderPreview {
            path: Vec::new(),
            is_records: true,
            changes: Vec::new(),
        };
        for level in &kind.levels {
            let of = level.of.as_deref().filter(|of| *of != object);
            let is_missing = of.is_some_and(|of| state.text(&reference(of)).is_none());
            let text = match of.filter(|_| is_missing) {
                Some(_) if !level.is_record => continue,
                Some(of) => super::levels::nobodys(of),
                None => level.text(object, |field| shown(&state, field)),
            };
            let name = self.folders.name(&text, None);
            let change = |change| format!("{}: {change}", name.name);
            own.changes.extend(name.changes.iter().map(change));
            own.path.push(name.name);
        }
        Ok(self.with_below(own, kind))
    }

    fn with_below(&self, own: FolderPreview, kind: &Kind) -> Vec<FolderPreview> {
        let below = kind.below.iter().map(|path| {
            let names = path.iter().map(|text| self.folders.name(text, None).name);
            FolderPreview {
                path: own.path.iter().cloned().chain(names).collect(),
                is_records: false,
                changes: Vec::new(),
            }
        });
        let below: Vec<_> = below.collect();
        [own].into_iter().chain(below).collect()
    }
}
