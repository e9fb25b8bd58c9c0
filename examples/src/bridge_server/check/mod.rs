//! `check`: is everything there that the service will need? It looks, and changes nothing.

mod clock;
mod content;
mod crm;
mod fields;
mod finding;
mod here;
mod hooks;

use std::{path::Path, sync::Arc};

use bridge::secrets::SecretStore;
use clap::Args;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::time::timeout;

use self::finding::{Finding, State};
use crate::{Failure, build, config::Config, secrets, serve::told_to_stop, store::Store};

#[derive(Args)]
pub(crate) struct Arguments {
    /// JSON, one finding a line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(path: &Path, arguments: Arguments) -> Result<(), Failure> {
    let config = Config::read(path)?;
    tokio::select! {
        done = check(&config, arguments.json) => done,
        () = told_to_stop() => Err(Failure::Run("stopped before the end".to_owned())),
    }
}

async fn check(config: &Config, json: bool) -> Result<(), Failure> {
    let patience = config.check.timeout.0;
    let (secrets, locked) = match timeout(patience, secrets::open_if_there(config)).await {
        Ok(Ok(secrets)) => (secrets, None),
        Ok(Err(failure)) => (None, Some(failure.line())),
        Err(_) => (None, Some("no answer in time".to_owned())),
    };
    let mut findings = checks(config, secrets, locked);
    let (mut all, mut problems) = (0, 0);
    // In their order, each as soon as those before it are done.
    while let Some(found) = findings.next().await {
        for finding in found {
            all += 1;
            problems += usize::from(finding.state == State::Problem);
            finding.show(json)?;
        }
    }
    match problems {
        0 => Ok(()),
        1 => Err(Failure::Run(format!("one of {all} findings is a problem"))),
        _ => Err(Failure::Run(format!(
            "{problems} of {all} findings are problems"
        ))),
    }
}

type Checks<'c> = FuturesOrdered<BoxFuture<'c, Vec<Finding>>>;

/// All of them at a time: one that fails or hangs keeps no other from being seen.
fn checks(
    config: &Config,
    secrets: Option<Arc<dyn SecretStore>>,
    locked: Option<String>,
) -> Checks<'_> {
    let mut checks = Checks::new();
    let is_locked = locked.is_some();
    let unusable = |about: &str, grant: Option<&str>, why: String| match grant {
        Some(_) if is_locked => Finding::not_checked(about, "secrets"),
        _ => Finding::problem(about, why, "nothing on this side could be checked before"),
    };
    checks.push_back(Box::pin(async { here::keys(config) }));
    checks.push_back(within(config, "store", here::store(config)));
    if let Some(why) = locked {
        let todo = "see [secrets] in the configuration";
        let finding = Finding::problem("secrets", why, todo);
        checks.push_back(Box::pin(async { vec![finding] }));
    } else if let Some(secrets) = secrets.clone() {
        checks.push_back(within(config, "secrets", here::grants(config, secrets)));
    }
    match build::content(config, secrets.as_ref()) {
        Ok(content) => content::checks(config, &content, &mut checks),
        Err(why) => {
            let finding = unusable("box", config.box_grant(), why);
            checks.push_back(Box::pin(async { vec![finding] }));
        }
    }
    let budget = crate::budget::Budget::new(&config.salesforce.budget);
    match build::crm_client(config, secrets.as_ref(), &budget) {
        Ok(client) => crm::checks(config, &client, &mut checks),
        Err(why) => {
            let finding = unusable("salesforce", config.salesforce_grant(), why);
            checks.push_back(Box::pin(async { vec![finding] }));
        }
    }
    let built = build::parts(config, secrets.as_ref()).and_then(|parts| {
        let route = parts.sources.route(config, &Store::in_memory());
        route.map(drop).map_err(|line| Failure::Setup(vec![line]))
    });
    checks.push_back(Box::pin(async { here::rules(config, built) }));
    checks
}

/// A check that does not answer in time is a finding too.
fn within<'c>(
    config: &'c Config,
    about: &'static str,
    check: impl Future<Output = Vec<Finding>> + Send + 'c,
) -> BoxFuture<'c, Vec<Finding>> {
    let patience = config.check.timeout.0;
    Box::pin(async move {
        timeout(patience, check).await.unwrap_or_else(|_| {
            let says = format!("no answer within {} s", patience.as_secs_f32());
            let todo = "see whether this machine gets there; check.timeout is how long is waited";
            vec![Finding::problem(about, says, todo)]
        })
    })
}
