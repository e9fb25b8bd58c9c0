//! Page after page, with a wait at the end of what there is.

use std::time::Duration;

use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use tokio::time::sleep;

use super::{Event, EventAt, EventPage, Reading, Recent, StreamPosition, long_poll::LongPoll};
use crate::error::{Error, Result};

/// What to do when there is nothing more to read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pause {
    LongPoll,
    Sleep(Duration),
    End,
}

struct Feed<'a> {
    reading: Reading<'a>,
    recent: Recent,
    long_poll: LongPoll,
    pause: Pause,
    /// All that there was is read.
    caught_up: bool,
}

/// The position is only what was asked for last, so nothing is lost with a dropped stream.
pub(super) fn feed<'a>(
    reading: Reading<'a>,
    pause: Pause,
) -> impl Stream<Item = Result<EventAt>> + Send + use<'a> {
    let feed = Feed {
        recent: Recent::new(reading.remember),
        long_poll: LongPoll::default(),
        reading,
        pause,
        caught_up: false,
    };
    stream::try_unfold(feed, |mut feed| async move {
        let events = feed.next().await?;
        Ok::<_, Error>(events.map(|events| (stream::iter(events.into_iter().map(Ok)), feed)))
    })
    .try_flatten()
}

impl Feed<'_> {
    /// The new events of the next page, which can be none.
    async fn next(&mut self) -> Result<Option<Vec<EventAt>>> {
        if self.caught_up {
            match self.pause {
                Pause::End => return Ok(None),
                Pause::Sleep(pause) => sleep(pause).await,
                Pause::LongPoll => {
                    let Reading {
                        transport,
                        position,
                        ..
                    } = &self.reading;
                    self.long_poll.wait(transport, position).await;
                }
            }
        }
        let EventPage { entries, next } = self.reading.page(&self.reading.position).await?;
        // Asking from `now` gives no events but a position: the first one to come back to.
        self.caught_up = entries.is_empty() || next == self.reading.position;
        let new = self.without_repeats(entries);
        if !new.is_empty() {
            self.long_poll.brought_news();
        }
        let from = std::mem::replace(&mut self.reading.position, next.clone());
        Ok(Some(positioned(new, &from, &next)))
    }

    fn without_repeats(&mut self, entries: Vec<Event>) -> Vec<Event> {
        let mut new = entries;
        new.retain(|event| {
            // An event without an id cannot be told from others.
            event
                .event_id
                .as_deref()
                .is_none_or(|id| self.recent.is_new(id))
        });
        new
    }
}

/// Only the last event of a page frees the page: before that, what follows would be lost.
fn positioned(events: Vec<Event>, from: &StreamPosition, next: &StreamPosition) -> Vec<EventAt> {
    let last = events.len().saturating_sub(1);
    events
        .into_iter()
        .enumerate()
        .map(|(index, event)| EventAt {
            event,
            position: if index == last { next } else { from }.clone(),
        })
        .collect()
}
