//! Changes on the CRM side, asked for.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bridge::{
    JobFilter, PortError, PortErrorKind, QueueAdmin, RECORD_EVENT, Records,
    crm::Record,
    records::{Changed, Contact, FieldShape, RecordState},
    source::poll,
    store::memory::MemoryStore,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

#[derive(Debug, Default)]
struct Crm {
    /// From when it was asked.
    asked: Mutex<Vec<Timestamp>>,
    fails: AtomicUsize,
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(number).unwrap()
}

fn record(id: &str) -> Record {
    Record {
        id: id.to_owned(),
        object: Some("Opportunity".to_owned()),
    }
}

fn refused<T>() -> Result<T, PortError> {
    Err(PortError::new(PortErrorKind::Refused, "not asked for here"))
}

#[async_trait]
impl Records for Crm {
    async fn read(&self, _: &Record, _: &[&str]) -> Result<RecordState, PortError> {
        refused()
    }

    async fn write(
        &self,
        _: &Record,
        _: &Map<String, Value>,
        _: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        refused()
    }

    async fn shape(&self, _: &str) -> Result<Vec<FieldShape>, PortError> {
        refused()
    }

    async fn contacts(&self, _: &str, _: Option<&Record>) -> Result<Vec<Contact>, PortError> {
        refused()
    }

    /// All is covered up to ten seconds later.
    async fn changed(&self, _: &str, since: Timestamp) -> Result<Changed, PortError> {
        self.asked.lock().unwrap().push(since);
        if self.fails.swap(0, Ordering::SeqCst) > 0 {
            return Err(PortError::new(PortErrorKind::Busy, "changed"));
        }
        Ok(Changed {
            records: (0..600)
                .map(|number| record(&format!("c{number}")))
                .collect(),
            deleted: vec![record("d")],
            covered_until: since + std::time::Duration::from_secs(10),
        })
    }
}

#[tokio::test]
async fn each_round_goes_on_where_the_last_one_that_worked_has_ended() {
    let (crm, store) = (Crm::default(), MemoryStore::new());
    let round = async |at| poll::catch_up(&crm, &store, &store, "Opportunity", second(at)).await;
    let waiting = async || store.counts().await.unwrap().ready;
    // The first one only makes a beginning.
    round(100).await.unwrap();
    assert_eq!(waiting().await, 0);
    round(200).await.unwrap();
    assert_eq!(waiting().await, 601);
    crm.fails.store(1, Ordering::SeqCst);
    round(300).await.unwrap_err();
    round(400).await.unwrap();
    assert_eq!(waiting().await, 1202);
    assert_eq!(*crm.asked.lock().unwrap(), [100, 110, 110].map(second));
}

#[tokio::test]
async fn asked_twice_for_the_same_time_it_is_taken_in_once() {
    let (crm, store) = (Crm::default(), MemoryStore::new());
    for _ in 0..2 {
        let until = poll::changed_since(&crm, &store, "Opportunity", second(5), second(50));
        assert_eq!(until.await.unwrap(), second(15));
    }
    let filter = JobFilter {
        limit: 10_000,
        ..JobFilter::default()
    };
    let jobs = store.jobs(&filter).await.unwrap();
    assert_eq!(jobs.len(), 601);
    assert!(jobs.iter().all(|job| job.kind == RECORD_EVENT));
}
