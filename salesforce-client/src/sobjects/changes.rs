use std::{fmt, sync::Arc, time::Duration};

use futures_core::Stream;
use futures_util::stream;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{SObjects, check_name};
use crate::{
    RecordId,
    api_error::ErrorCode,
    error::{Error, Result},
    transport::Transport,
};

/// Salesforce looks at whole minutes.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Records that were created or changed. From [`SObjects::updated`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UpdatedRecords {
    /// The records.
    pub ids: Vec<RecordId>,
    /// Up to when Salesforce is sure that nothing is missing: the next start.
    pub latest_date_covered: Timestamp,
}

/// Records that were deleted. From [`SObjects::deleted`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeletedRecords {
    /// The records.
    pub deleted_records: Vec<DeletedRecord>,
    /// From when on deletions are known: the bin is purged.
    pub earliest_date_available: Option<Timestamp>,
    /// Up to when Salesforce is sure that nothing is missing: the next start.
    pub latest_date_covered: Timestamp,
}

/// A record that was deleted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeletedRecord {
    /// The record.
    pub id: RecordId,
    /// When.
    pub deleted_date: Timestamp,
}

/// Up to when changes have been seen: to be kept once they are worked off.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangeCursor {
    /// Up to when created and changed records have been seen.
    pub updated: Timestamp,
    /// Up to when deleted records have been seen.
    pub deleted: Timestamp,
}

impl ChangeCursor {
    /// Nothing before this time is asked for. Changes are known for 30 days, deletions for 15.
    pub fn starting_at(at: Timestamp) -> Self {
        Self {
            updated: at,
            deleted: at,
        }
    }
}

/// What changed in one window. From [`Changes::stream`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChangePage {
    /// Records that were created or changed; which of the two is not told.
    pub updated: Vec<RecordId>,
    /// Records that were deleted.
    pub deleted: Vec<DeletedRecord>,
    /// Deletions before this time were asked for and are no longer known.
    pub deletions_unknown_before: Option<Timestamp>,
    /// From where to go on after this page.
    pub cursor: ChangeCursor,
}

/// Follows the changes of an object by asking for them. From [`SObjects::changes`].
#[must_use = "nothing is sent before stream()"]
pub struct Changes {
    transport: Arc<Transport>,
    object: String,
    cursor: ChangeCursor,
    every: Duration,
    window: SignedDuration,
    deletions: bool,
    ends: bool,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("object", &self.object)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl<T> SObjects<'_, T> {
    /// Records that were created or changed in this time, which is cut to whole minutes.
    ///
    /// Vendor: REST API Developer Guide, "sObject Get Updated".
    pub async fn updated(&self, start: Timestamp, end: Timestamp) -> Result<UpdatedRecords> {
        updated(self.transport, self.name, start, end).await
    }

    /// Records that were deleted in this time, which is cut to whole minutes.
    ///
    /// Vendor: REST API Developer Guide, "sObject Get Deleted".
    pub async fn deleted(&self, start: Timestamp, end: Timestamp) -> Result<DeletedRecords> {
        deleted(self.transport, self.name, start, end).await
    }

    /// Follows the object's changes from this cursor on.
    ///
    /// ```no_run
    /// # use futures_util::TryStreamExt;
    /// # use salesforce_client::{ChangeCursor, SalesforceClient};
    /// # async fn example(client: SalesforceClient, kept: ChangeCursor) -> salesforce_client::Result<()> {
    /// let mut pages = Box::pin(client.sobject("Opportunity").changes(kept).stream());
    /// while let Some(page) = pages.try_next().await? {
    ///     // … work off page.updated and page.deleted, then keep page.cursor …
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(&self, cursor: ChangeCursor) -> Changes {
        Changes {
            transport: Arc::clone(self.transport),
            object: self.name.to_owned(),
            cursor,
            every: Duration::from_secs(60),
            window: DAY,
            deletions: true,
            ends: false,
        }
    }
}

impl Changes {
    /// How long to wait before asking again once everything is seen: a minute unless set, below
    /// which there is never anything new.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// How much time to ask for at once while catching up: a day unless set. Where there is more
    /// in it than Salesforce gives at once, less is asked for.
    pub fn window(mut self, window: Duration) -> Self {
        let window = SignedDuration::try_from(window).unwrap_or(DAY);
        self.window = window.max(MINUTE);
        self
    }

    /// Does not ask for deletions, which costs half as many calls.
    pub fn without_deletions(mut self) -> Self {
        self.deletions = false;
        self
    }

    /// Ends once everything until now is seen, instead of waiting for more.
    pub fn until_now(mut self) -> Self {
        self.ends = true;
        self
    }

    /// The changes, window by window, at least once each. After an error nothing more comes: go on
    /// from the last cursor that was kept. `INVALID_REPLICATION_DATE` says that it is too old.
    pub fn stream(self) -> impl Stream<Item = Result<ChangePage>> + Send {
        stream::try_unfold(self, |mut changes| async move {
            let page = changes.next().await?;
            Ok(page.map(|page| (page, changes)))
        })
    }

    async fn next(&mut self) -> Result<Option<ChangePage>> {
        let mut page = loop {
            let now = Timestamp::now();
            let seen = match self.deletions {
                true => self.cursor.updated.min(self.cursor.deleted),
                false => self.cursor.updated,
            };
            if whole_minute(now) > whole_minute(seen)
                && let Some(page) = self.window_after(now).await?
            {
                break page;
            }
            if self.ends {
                return Ok(None);
            }
            tokio::time::sleep(self.every).await;
        };
        if !self.deletions {
            page.cursor.deleted = page.cursor.updated;
        }
        self.cursor = page.cursor;
        Ok(Some(page))
    }

    /// The next window, unless Salesforce covers nothing new yet.
    async fn window_after(&mut self, now: Timestamp) -> Result<Option<ChangePage>> {
        let mut page = ChangePage {
            updated: Vec::new(),
            deleted: Vec::new(),
            deletions_unknown_before: None,
            cursor: self.cursor,
        };
        let start = self.cursor.updated;
        if let Some(end) = self.end_after(start, now) {
            let (transport, object) = (&self.transport, &self.object);
            let mut end = end;
            let updated = loop {
                match updated(transport, object, start, end).await {
                    Err(error) if error.has_code(&ErrorCode::EXCEEDED_ID_LIMIT) => {
                        end = half(start, end).ok_or(error)?;
                    }
                    result => break result?,
                }
            };
            // Not our own end: a long transaction can still commit with an older stamp.
            page.cursor.updated = updated.latest_date_covered.min(end).max(start);
            page.updated = updated.ids;
        }
        let start = self.cursor.deleted;
        if let Some(end) = self.end_after(start, now).filter(|_| self.deletions) {
            let (transport, object) = (&self.transport, &self.object);
            let mut end = end;
            let deleted = loop {
                match deleted(transport, object, start, end).await {
                    Err(error) if error.has_code(&ErrorCode::EXCEEDED_ID_LIMIT) => {
                        end = half(start, end).ok_or(error)?;
                    }
                    result => break result?,
                }
            };
            let earliest = deleted.earliest_date_available;
            page.deletions_unknown_before = earliest.filter(|earliest| *earliest > start);
            page.cursor.deleted = deleted.latest_date_covered.min(end).max(start);
            page.deleted = deleted.deleted_records;
        }
        Ok((page.cursor != self.cursor).then_some(page))
    }

    /// The end of the window, unless less than a minute is left.
    fn end_after(&self, start: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let end = start.saturating_add(self.window).unwrap_or(now).min(now);
        (whole_minute(end) > whole_minute(start)).then_some(end)
    }
}

async fn updated(
    transport: &Transport,
    object: &str,
    start: Timestamp,
    end: Timestamp,
) -> Result<UpdatedRecords> {
    ask(
        transport,
        "sobjects.updated",
        [object, "updated"],
        start,
        end,
    )
    .await
}

async fn deleted(
    transport: &Transport,
    object: &str,
    start: Timestamp,
    end: Timestamp,
) -> Result<DeletedRecords> {
    ask(
        transport,
        "sobjects.deleted",
        [object, "deleted"],
        start,
        end,
    )
    .await
}

async fn ask<T: serde::de::DeserializeOwned>(
    transport: &Transport,
    operation: &'static str,
    [object, what]: [&str; 2],
    start: Timestamp,
    end: Timestamp,
) -> Result<T, Error> {
    check_name(operation, object)?;
    let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let call = transport
        .call(operation, Method::GET, &["sobjects", object, what])
        .query("start", text(start))
        .query("end", text(end));
    transport.json(&call).await
}

fn whole_minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// An end half as far away, unless that is less than a minute.
fn half(start: Timestamp, end: Timestamp) -> Option<Timestamp> {
    let half = start.saturating_add(end.duration_since(start) / 2).ok()?;
    (whole_minute(half) > whole_minute(start)).then_some(half)
}
