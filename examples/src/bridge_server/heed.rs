//! Work by hand heeds what somebody pauses meanwhile, as the service does.

use std::{convert::Infallible, time::Duration};

use bridge::{Circuits, Pauses, QueueAdmin, Side};
use tokio::time::sleep;
use tracing::warn;

use crate::in_one_line;

/// Does this work, which asks both sides through these circuits. A pause turns it back before its
/// next call; that of everything stops it at both sides.
pub(crate) async fn heeding<T>(
    store: &dyn QueueAdmin,
    circuits: &Circuits,
    every: Duration,
    work: impl Future<Output = T>,
) -> T {
    let obey = async |pauses: Pauses| {
        let both = Side::ALL.into_iter();
        circuits.obey(both.fold(pauses, |it, side| {
            it.with(Some(side), pauses.all || pauses.holds(side))
        }));
    };
    while_heeding(heed(store, every, obey), work).await
}

/// Does this work, which is in an inbox of its own. A pause of the service's inbox is one of this
/// too.
pub(crate) async fn heeding_in<T>(
    store: &dyn QueueAdmin,
    inbox: &dyn QueueAdmin,
    every: Duration,
    work: impl Future<Output = T>,
) -> T {
    let copy = async |pauses: Pauses| {
        for (side, is_paused) in [
            (None, pauses.all),
            (Some(Side::Content), pauses.content),
            (Some(Side::Crm), pauses.crm),
        ] {
            let copied = match is_paused {
                true => inbox.pause(side).await,
                false => inbox.resume(side).await,
            };
            if let Err(error) = copied {
                warn!(error = in_one_line(&error), "a pause is not heeded");
            }
        }
    };
    while_heeding(heed(store, every, copy), work).await
}

async fn heed(
    store: &dyn QueueAdmin,
    every: Duration,
    mut tell: impl AsyncFnMut(Pauses),
) -> Infallible {
    loop {
        match store.pauses().await {
            Ok(pauses) => tell(pauses).await,
            Err(error) => {
                let error = in_one_line(&error);
                warn!(error, "nobody knows what is paused");
            }
        }
        sleep(every).await;
    }
}

async fn while_heeding<T>(
    heed: impl Future<Output = Infallible>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        never = heed => match never {},
        done = work => done,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use bridge::{CircuitState, Queue, store::memory::MemoryStore};

    use super::*;

    const EVERY: Duration = Duration::from_millis(1);

    async fn until(is_so: impl AsyncFn() -> bool) {
        for _ in 0..100_000 {
            if is_so().await {
                return;
            }
            sleep(EVERY).await;
        }
        panic!("it never came to be so");
    }

    #[tokio::test]
    async fn a_pause_that_comes_while_it_is_worked_holds_until_it_is_lifted() {
        let (store, circuits) = (MemoryStore::new(), Circuits::default());
        let is_paused = |side| circuits.state(side) == CircuitState::Paused;
        let work = async {
            for side in [None, Some(Side::Content), Some(Side::Crm)] {
                let stops = |it: Side| side.is_none_or(|side| side == it);
                assert!(!Side::ALL.into_iter().any(is_paused));
                store.pause(side).await.unwrap();
                let is_heard = async || Side::ALL.into_iter().all(|it| is_paused(it) == stops(it));
                until(is_heard).await;
                store.resume(side).await.unwrap();
                until(async || !Side::ALL.into_iter().any(is_paused)).await;
            }
            "done"
        };
        assert_eq!(heeding(&store, &circuits, EVERY, work).await, "done");
    }

    #[tokio::test]
    async fn an_inbox_of_its_own_is_paused_with_the_services() {
        let (store, inbox) = (MemoryStore::new(), MemoryStore::new());
        let work = async {
            for side in [None, Some(Side::Content), Some(Side::Crm)] {
                let wanted = Pauses::default().with(side, true);
                store.pause(side).await.unwrap();
                until(async || inbox.pauses().await.unwrap() == wanted).await;
                store.resume(side).await.unwrap();
                until(async || inbox.pauses().await.unwrap() == Pauses::default()).await;
            }
        };
        heeding_in(&store, &inbox, EVERY, work).await;
    }
}
