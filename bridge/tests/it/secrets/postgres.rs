//! Called with a database of its own by the test that starts PostgreSQL.

use std::time::Duration;

use bridge::{
    secrets::{PostgresSecrets, SecretErrorKind, SecretStore},
    store::postgres::PostgresStore,
    testing::secret_store_contract,
};

use super::{key, name, put, text};

pub(crate) async fn secrets_are_kept(database: impl AsyncFn() -> String) {
    secret_store_contract(async || open(&database().await, 1).await).await;
    another_key_is_told_and_overwrites_nothing(&database().await).await;
    a_new_key_takes_the_place_of_the_old_one(&database().await).await;
    what_was_changed_in_the_database_is_refused(&database().await).await;
}

const HOUR: Duration = Duration::from_secs(3600);

async fn open(url: &str, byte: u8) -> PostgresSecrets {
    let store = PostgresStore::open(url).await.unwrap();
    PostgresSecrets::open(store, key(byte)).await.unwrap()
}

async fn refusal(url: &str, byte: u8) -> SecretErrorKind {
    let store = PostgresStore::open(url).await.unwrap();
    let error = PostgresSecrets::open(store, key(byte)).await.unwrap_err();
    error.kind()
}

async fn another_key_is_told_and_overwrites_nothing(url: &str) {
    // Both opened when there was nothing.
    let (store, late) = (open(url, 1).await, open(url, 2).await);
    put(&store, "plainly-visible").await;
    assert_eq!(refusal(url, 2).await, SecretErrorKind::WrongKey);
    let other = bridge::secrets::SecretName::new("other").unwrap();
    for name in [name(), other] {
        let swap = late.compare_and_swap(&name, None, "new".into()).await;
        assert_eq!(
            swap.unwrap_err().kind(),
            SecretErrorKind::WrongKey,
            "{name}"
        );
    }
    assert_eq!(text(&store).await.as_deref(), Some("plainly-visible"));
}

async fn a_new_key_takes_the_place_of_the_old_one(url: &str) {
    let (store, other) = (open(url, 1).await, open(url, 1).await);
    let version = put(&store, "a").await;
    assert!(other.lease(&name(), "refreshes", HOUR).await.unwrap());
    // Its token is spent, and the next one is not stored yet.
    let refused = store.rotate_key(key(2), Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.kind(), SecretErrorKind::Contended);
    let version = put(&other, "a").await.max(version);
    other.release(&name(), "refreshes").await.unwrap();
    store.rotate_key(key(2), Duration::ZERO).await.unwrap();
    assert_eq!(text(&store).await.as_deref(), Some("a"));
    assert_eq!(refusal(url, 1).await, SecretErrorKind::WrongKey);
    let (name, secret) = (name(), "b".into());
    let swap = other.compare_and_swap(&name, Some(version), secret).await;
    assert_eq!(swap.unwrap_err().kind(), SecretErrorKind::WrongKey);
    let rotated = other.rotate_key(key(3), Duration::ZERO).await.unwrap_err();
    assert_eq!(rotated.kind(), SecretErrorKind::WrongKey);
    assert_eq!(put(&store, "b").await, version + 1);
    assert_eq!(text(&open(url, 2).await).await.as_deref(), Some("b"));
}

async fn what_was_changed_in_the_database_is_refused(url: &str) {
    let store = PostgresStore::open(url).await.unwrap();
    let secrets = PostgresSecrets::open(store, key(1)).await.unwrap();
    put(&secrets, "a").await;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    for change in [
        "version = version + 1",
        "name = 'other'",
        "sealed = substr(sealed, 1, length(sealed) - 1)",
        "sealed = ''",
    ] {
        let sql = format!("UPDATE bridge.secret SET {change}");
        client.batch_execute(&sql).await.unwrap();
        assert_eq!(refusal(url, 1).await, SecretErrorKind::Corrupt, "{change}");
        client
            .batch_execute("DELETE FROM bridge.secret")
            .await
            .unwrap();
        put(&secrets, "a").await;
    }
}
