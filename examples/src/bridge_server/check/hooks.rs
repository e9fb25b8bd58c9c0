//! The webhooks, and whether Box tells of what was missed.

use box_client::ErrorKind;
use bridge::{
    BoxContent, Circuits, PortErrorKind,
    watch::{BoxEvents, EventStream, HookState, HookStatus, WatchError},
};
use futures_util::TryStreamExt;

use super::{content::failed, finding::Finding};
use crate::{
    config::{Config, EventStream as Stream},
    in_one_line,
    store::Store,
    watch,
};

const ABOUT: &str = "box.webhooks";
const SCOPE: &str = "give the application the scope manage_webhook (Developer Console, \
                     Configuration), and let an administrator authorize it again";

pub(super) async fn found(config: &Config, content: BoxContent) -> Vec<Finding> {
    let store = Store::open_if_there(config).await;
    // What is wrong with it is found elsewhere; without it our webhooks are found by folder.
    let store = store.unwrap_or_else(|_| Store::in_memory());
    let Some(watch) = watch::watch(config, &content, &Circuits::default(), &store) else {
        return by_others(config, &content).await;
    };
    let mut found = match watch.check(false).await {
        Ok(hooks) => hooks.iter().map(of).collect(),
        Err(WatchError::Port(error)) if error.kind() == PortErrorKind::Outage => {
            return vec![Finding::not_checked(ABOUT, "box.token")];
        }
        Err(error) => vec![Finding::problem(ABOUT, in_one_line(&error), SCOPE)],
    };
    found.extend(address(config));
    found.extend(events(config, &content).await);
    found
}

fn of(hook: &HookStatus) -> Finding {
    let about = format!("{ABOUT}.{}", hook.folder);
    let note = hook.note.clone().unwrap_or_default();
    let puts_right = "the service puts it right when it starts; `webhooks ensure` does at once";
    match hook.state {
        HookState::Fine | HookState::Made | HookState::Changed => {
            Finding::ok(&about, "the folder's webhook is as it should be")
        }
        HookState::Missing => {
            Finding::warning(&about, "the folder has no webhook of ours", puts_right)
        }
        HookState::Differs => Finding::warning(&about, note, puts_right),
        HookState::Foreign => Finding::problem(
            &about,
            note,
            "`webhooks list` shows it; watch.address says where ours is to call",
        ),
        HookState::Silent => Finding::problem(
            &about,
            note,
            "see whether Box reaches watch.address from outside, and what your proxy's log says",
        ),
        _ => Finding::problem(&about, note, SCOPE),
    }
}

/// A proxy may well call the service by another path, so this is no problem.
fn address(config: &Config) -> Option<Finding> {
    let address = url::Url::parse(&config.watch.address).ok()?;
    let path = &config.webhook.path;
    (address.path() != path).then(|| {
        Finding::warning(
            "watch.address",
            format!(
                "it ends with {}, and webhook.path is {path}",
                address.path()
            ),
            "let them be the same, unless a proxy in between changes the path",
        )
    })
}

/// Without `[watch]` webhooks are somebody else's to register, so one has to be there.
async fn by_others(config: &Config, content: &BoxContent) -> Vec<Finding> {
    let webhooks = content.client().webhooks();
    let listed: Result<Vec<_>, _> = webhooks.list().try_collect().await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::Forbidden => {
            let says = "they cannot be seen, and [watch] could not make any";
            return vec![Finding::warning(ABOUT, says, SCOPE)];
        }
        Err(error) => return vec![failed(ABOUT, &error)],
    };
    let waits_for_box = (config.rules.iter()).any(|rule| {
        let mut triggers = rule.triggers.iter();
        triggers.any(|it| !crate::config::is_of_records(it))
    });
    vec![match (listed.len(), waits_for_box) {
        (0, true) => Finding::warning(
            ABOUT,
            "there are none, so Box tells nothing",
            "name the folders in [watch], or register webhooks in the Developer Console",
        ),
        (number, _) => Finding::ok(
            ABOUT,
            format!("{number} of the application; `webhooks list` shows them"),
        ),
    }]
}

async fn events(config: &Config, content: &BoxContent) -> Option<Finding> {
    let about = "box.events";
    let client = content.client().clone();
    let (stream, todo): (Box<dyn EventStream>, _) = match config.watch.events {
        Stream::None => return None,
        Stream::User => (Box::new(BoxEvents::user(client)), "see what box.token says"),
        Stream::Enterprise => (
            Box::new(BoxEvents::enterprise(client, watch::triggers(config))),
            "give the application the scope manage_enterprise_properties, or set \
             watch.events = \"user\"",
        ),
    };
    Some(match stream.page(None).await {
        Ok(_) => Finding::ok(about, "Box tells of what webhooks miss"),
        Err(error) => Finding::problem(about, in_one_line(&error), todo),
    })
}
