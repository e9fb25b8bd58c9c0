//! What the CRM side tells of its records.

use jiff::Timestamp;

use super::{Pipeline, Prepared};
use crate::{
    queue::Leased,
    record_event::RecordEvent,
    situation::{Situation, Subject},
    worker::Outcome,
};

impl Pipeline {
    /// What the event of a record would lead to. As [`prepare`](Self::prepare), it writes nothing.
    pub fn prepare_record(&self, event: &RecordEvent, received_at: Timestamp) -> Prepared {
        let record = &event.changed.record;
        let Some(trigger) = event.trigger() else {
            return Prepared::Nothing(format!("{} does not tell what it is", record.id));
        };
        let subject = Subject::Record(event.changed.clone());
        if !self.fits(&trigger, &subject) {
            return Prepared::Nothing(format!("no rule for {trigger}"));
        }
        let id = format!("{}:{}", record.id, event.id);
        let at = event.at.unwrap_or(received_at);
        self.planned(Situation::of_record(id, trigger, event.changed.clone(), at))
    }

    pub(super) fn prepare_record_event(&self, job: &Leased) -> Result<Prepared, Outcome> {
        let event: RecordEvent = serde_json::from_slice(&job.body)
            .map_err(|error| Outcome::Dead(format!("no record event: {error}")))?;
        Ok(self.prepare_record(&event, job.pushed_at))
    }
}
