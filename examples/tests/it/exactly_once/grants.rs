//! Both grants in the database that the processes share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use box_client::testing::FakeBox;
use bridge::{
    secrets::{GrantStore, PostgresSecrets, SecretKey, SecretName},
    store::postgres::PostgresStore,
};

use super::{
    deals::Deals,
    schedule::{Schedule, Trouble},
};
use crate::setting::SECRET;

pub(crate) const KEY: &str = "TEST_SECRETS_KEY";
/// How often the token of either side ends before its time.
const EVERY: Duration = Duration::from_millis(500);
/// Of so many deaths one is left: who dies with the right to refresh keeps the others waiting.
const SPARED: usize = 8;

pub(crate) fn key() -> String {
    "07".repeat(32)
}

/// The same with grants instead of credentials.
pub(crate) fn configured(text: &str) -> String {
    let grant = |line: &str, secret: &str| {
        let (_, id) = line.split_once("client_id = ").unwrap();
        let id = id.split(',').next().unwrap();
        format!(
            "auth = {{ kind = \"refresh_token\", client_id = {id}, \
             client_secret = {{ env = \"{secret}\" }} }}\n"
        )
    };
    let secrets =
        format!("[secrets]\nkind = \"postgres\"\nkey = {{ env = \"{KEY}\" }}\n[webhook]\n");
    let lines = text.lines().map(|line| match line {
        "[webhook]" => secrets.clone(),
        _ if line.starts_with("auth") && line.contains("TEST_BOX") => {
            grant(line, "TEST_BOX_SECRET")
        }
        _ if line.starts_with("auth") => grant(line, "TEST_SALESFORCE_SECRET"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

pub(crate) async fn log_in(store: &str, deals: &Deals) {
    let grant = box_client::Grant::new(deals.content.issue_refresh_token());
    grant
        .store_in(&grant_store(store, "box").await)
        .await
        .unwrap();
    let grant = salesforce_client::Grant::new(deals.crm.issue_refresh_token());
    let tokens: &dyn salesforce_client::TokenStore = &grant_store(store, "salesforce").await;
    let swap = tokens.compare_and_swap(0, grant).await.unwrap();
    assert_eq!(swap, salesforce_client::Swap::Stored);
}

async fn grant_store(store: &str, name: &str) -> GrantStore {
    let store = PostgresStore::open(store).await.unwrap();
    let key = SecretKey::from_text(&key().as_str().into()).unwrap();
    let secrets = PostgresSecrets::open(store, key).await.unwrap();
    GrantStore::new(Arc::new(secrets), SecretName::new(name).unwrap())
}

/// Ends tokens all the time, so that processes die in the middle of refreshes.
pub(crate) fn end_tokens(schedule: &mut Schedule) {
    let mut kills = 0;
    schedule.troubles.retain(|(_, trouble)| {
        kills += usize::from(matches!(trouble, Trouble::Kill { .. }));
        !matches!(trouble, Trouble::Kill { .. }) || kills % SPARED == 0
    });
    let last = schedule.troubles.last().map_or(Duration::ZERO, |it| it.0);
    let mut at = Duration::ZERO;
    while at < last {
        use box_client::testing as box_side;
        use salesforce_client::testing as crm_side;
        let end = box_side::Fault::on("/2.0/*", box_side::FaultEffect::ExpireSession);
        schedule.troubles.push((at, Trouble::Content(end)));
        let end = crm_side::Fault::on("*/query*", crm_side::FaultEffect::ExpireSession);
        let end = end.method("GET");
        schedule.troubles.push((at + EVERY / 2, Trouble::Crm(end)));
        at += EVERY;
    }
    // They take time, as they do in the world: a process may die within.
    let slow = box_client::testing::FaultEffect::Delay { millis: 60 };
    let slow = box_client::testing::Fault::on("/oauth2/token", slow).times(u32::MAX);
    schedule
        .troubles
        .push((Duration::ZERO, Trouble::Content(slow)));
    schedule.troubles.sort_by_key(|(at, _)| *at);
}

/// A refresh token that was refused, or was spent twice by others than the heirs of the dead.
pub(crate) async fn wrong(store: &str, deals: &Deals, schedule: &Schedule) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut spent: BTreeMap<String, usize> = BTreeMap::new();
    let sent = deals.content.requests().into_iter();
    let box_tokens = sent.map(|it| (it.path.clone(), it.text(), it.status));
    for (path, form, status) in box_tokens {
        if path != "/oauth2/token" {
            continue;
        }
        if status == Some(400) {
            wrong.push("Box refused a refresh token".to_owned());
        }
        *spent.entry(form).or_default() += 1;
    }
    let refused = deals.crm.requests().into_iter();
    let refused = refused.filter(|it| it.path.ends_with("/oauth2/token") && it.status == Some(400));
    wrong.extend(refused.map(|_| "Salesforce refused a refresh token".to_owned()));
    let kills = schedule.troubles.iter();
    let kills = kills
        .filter(|(_, it)| matches!(it, Trouble::Kill { .. }))
        .count();
    let again: usize = spent.values().map(|times| times - 1).sum();
    if again > kills {
        wrong.push(format!(
            "{again} refresh tokens were spent again after {kills} kills"
        ));
    }
    if spent.len() < 3 {
        wrong.push(format!("there were {} refreshes only", spent.len()));
    }
    eprintln!(
        "{} refreshes of Box's grant, {again} of them again",
        spent.len()
    );
    let tokens = grant_store(store, "box").await;
    let tokens = box_client::RefreshToken::new(FakeBox::CLIENT_ID, FakeBox::CLIENT_SECRET, tokens);
    let client = box_client::BoxClient::builder(tokens).base_url(&deals.content.url());
    let client = client.build().unwrap();
    let end = box_client::testing::FaultEffect::ExpireSession;
    let end = box_client::testing::Fault::on("/2.0/users/me", end);
    deals.content.inject(end);
    let me = client
        .request(axum::http::Method::GET, "/users/me")
        .send()
        .await;
    wrong.extend(
        me.err()
            .map(|error| format!("Box's grant is dead: {error}")),
    );
    let tokens = grant_store(store, "salesforce").await;
    let tokens = salesforce_client::RefreshToken::new("app", Some(SECRET.into()), tokens);
    let client = salesforce_client::SalesforceClient::builder(tokens).login_url(deals.crm.url());
    deals.crm.expire_sessions();
    let limits = client.build().unwrap().limits().await;
    wrong.extend(
        limits
            .err()
            .map(|error| format!("Salesforce's grant is dead: {error}")),
    );
    wrong
}
