//! What fields take, remembered for a while.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    metadata::{Metadata, TemplateField},
    port_error::PortError,
    records::{FieldShape, Records},
};

/// A describe is some hundred kilobytes.
const REMEMBER: Duration = Duration::from_secs(300);
/// Before something is refused for good, it is held against what is not older than this.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Shapes(Mutex<Option<(Instant, Arc<Shape>)>>);

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) template: Vec<TemplateField>,
    pub(super) fields: Vec<FieldShape>,
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
    /// Tells also whether it is fresh.
    pub(super) async fn of(
        &self,
        metadata: &dyn Metadata,
        records: &dyn Records,
        object: &str,
        must_be_fresh: bool,
    ) -> Result<(Arc<Shape>, bool), PortError> {
        let known = self.lock().clone();
        if let Some((at, shape)) = known {
            let age = at.elapsed();
            if age < FRESH || (age < REMEMBER && !must_be_fresh) {
                return Ok((shape, age < FRESH));
            }
        }
        let shape = Arc::new(Shape {
            template: metadata.shape().await?,
            fields: records.shape(object).await?,
        });
        *self.lock() = Some((Instant::now(), Arc::clone(&shape)));
        Ok((shape, true))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<Shape>)>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
