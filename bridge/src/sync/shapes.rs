//! What fields take, remembered for a while.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    mapping_template::{MappingTemplate, WantedField},
    metadata::{Metadata, TemplateField},
    port_error::{PortError, PortErrorKind},
    records::{FieldShape, Records},
};

/// A describe is some hundred kilobytes.
const REMEMBER: Duration = Duration::from_secs(300);
/// Before something is refused for good, it is held against what is not older than this.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Shapes(Mutex<Option<Known>>);

/// A shape, and since when it may be outdated.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) at: Instant,
    pub(super) shape: Arc<Shape>,
}

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) template: Vec<TemplateField>,
    pub(super) fields: Vec<FieldShape>,
    /// Why the template could not be given what it lacks.
    pub(super) lacks: Option<String>,
}

impl Known {
    pub(super) fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

impl Shape {
    pub(super) fn key(&self, key: &str) -> Option<&TemplateField> {
        self.template.iter().find(|field| field.key == key)
    }

    pub(super) fn field(&self, name: &str) -> Option<&FieldShape> {
        let same = |field: &&FieldShape| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().find(same)
    }
}

impl Shapes {
    /// What both sides take; the template gets what it lacks before, if that `may_be_written`, and
    /// is thought to have it otherwise.
    pub(super) async fn of(
        &self,
        metadata: &dyn Metadata,
        records: &dyn Records,
        object: &str,
        (template, wanted): (&MappingTemplate, &[WantedField]),
        (may_be_written, anew): (bool, bool),
    ) -> Result<Known, PortError> {
        let known = self.lock().clone();
        if let Some(known) = known.filter(|it| !anew && it.at.elapsed() < REMEMBER) {
            return Ok(known);
        }
        let at = Instant::now();
        let mut lacks = None;
        if may_be_written {
            let ensured = match anew {
                true => template.ensure_anew(wanted, metadata, records).await,
                false => template.ensure(wanted, metadata, records).await,
            };
            lacks = match ensured {
                Err(error) if error.kind() == PortErrorKind::Refused => {
                    Some(crate::port_error::in_one_line(&error))
                }
                ensured => ensured.map(|()| None)?,
            };
        }
        let mut shape = Shape {
            template: metadata.shape().await?,
            fields: records.shape(object).await?,
            lacks,
        };
        if !may_be_written {
            let wanted = template.fields(wanted, records).await?;
            let is_new = |it: &TemplateField| shape.key(&it.key).is_none();
            let new: Vec<_> = wanted.into_iter().filter(is_new).collect();
            shape.template.extend(new);
        }
        let known = Known {
            at,
            shape: Arc::new(shape),
        };
        if may_be_written {
            *self.lock() = Some(known.clone());
        }
        Ok(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
