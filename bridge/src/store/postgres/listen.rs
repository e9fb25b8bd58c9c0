//! Hints from other processes that something may have become due.

use std::{future::poll_fn, sync::Weak, time::Duration};

use tokio::{sync::Notify, time::sleep};
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

const PAUSE: Duration = Duration::from_secs(1);

/// Listens on a connection of its own for as long as somebody may be waiting. A lost connection
/// loses hints; workers poll as well, so that is only slower.
pub(super) async fn listen(config: Config, tls: MakeRustlsConnect, wake: Weak<Notify>) {
    while wake.strong_count() > 0 {
        if let Err(error) = hear(&config, &tls, &wake).await {
            debug!(%error, "no hints from other processes for now");
        }
        sleep(PAUSE).await;
    }
}

async fn hear(
    config: &Config,
    tls: &MakeRustlsConnect,
    wake: &Weak<Notify>,
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(tls.clone()).await?;
    // The answer to LISTEN comes through the connection, which is driven below.
    let listening = client.batch_execute("LISTEN bridge_inbox");
    let mut listening = std::pin::pin!(listening);
    let mut heard = false;
    loop {
        tokio::select! {
            done = &mut listening, if !heard => {
                done?;
                heard = true;
                // What came before has been missed.
                hint(wake);
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(_))) => hint(wake),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

fn hint(wake: &Weak<Notify>) {
    if let Some(wake) = wake.upgrade() {
        wake.notify_one();
    }
}
