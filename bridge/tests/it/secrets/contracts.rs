use std::{sync::Arc, time::Duration};

use box_client::testing::{token_lease_contract, token_store_contract};
use bridge::{
    secrets::{FileSecrets, GrantStore, MemorySecrets, SecretKey, SecretStore},
    testing::secret_store_contract,
};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::{key, name, put};

async fn fresh(folder: &tempfile::TempDir) -> FileSecrets {
    let number = std::fs::read_dir(folder.path()).unwrap().count();
    let path = folder.path().join(format!("{number}.secrets"));
    FileSecrets::open(path, key(1)).await.unwrap()
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    secret_store_contract(async || MemorySecrets::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    secret_store_contract(async || fresh(&folder).await).await;
}

#[tokio::test]
async fn a_grant_in_a_secret_keeps_the_contracts_of_box_client() {
    let fresh = async || GrantStore::new(Arc::new(MemorySecrets::new()), name());
    token_store_contract(fresh).await;
    token_lease_contract(fresh).await;
}

#[tokio::test]
async fn a_grant_in_a_secret_keeps_the_contract_of_salesforce_client() {
    let secrets = Arc::new(MemorySecrets::new());
    let store = GrantStore::new(secrets.clone(), name());
    let other = GrantStore::new(secrets, name());
    salesforce_client::testing::token_store_contract(&store, Some(&other)).await;
}

#[tokio::test]
async fn a_grant_of_salesforce_comes_back_whole() {
    let store = GrantStore::new(Arc::new(MemorySecrets::new()), name());
    let mut grant = salesforce_client::Grant::new("refresh \"ü");
    grant.access_token = Some("00D!access".into());
    grant.issued_at = Some(Timestamp::from_second(1_900_000_000).unwrap());
    grant.instance_url = Some("https://example.my.salesforce.com".into());
    let tokens: &dyn salesforce_client::TokenStore = &store;
    let swap = tokens.compare_and_swap(0, grant.clone()).await.unwrap();
    assert_eq!(swap, salesforce_client::Swap::Stored);
    let swap = tokens.compare_and_swap(0, salesforce_client::Grant::new("late"));
    assert_eq!(swap.await.unwrap(), salesforce_client::Swap::Conflict);
    let stored = tokens.load().await.unwrap().unwrap();
    let found = stored.grant;
    assert_eq!(stored.version, 1);
    assert_eq!(found.refresh_token.expose_secret(), "refresh \"ü");
    assert_eq!(found.access_token.unwrap().expose_secret(), "00D!access");
    assert_eq!(found.issued_at, grant.issued_at);
    assert_eq!(found.instance_url, grant.instance_url);
}

#[tokio::test]
async fn what_is_no_grant_is_told_without_being_shown() {
    let secrets = Arc::new(MemorySecrets::new());
    put(&*secrets, "{\"password\": \"plainly-visible\"}").await;
    let store: Box<dyn box_client::TokenStore> = Box::new(GrantStore::new(secrets, name()));
    let error = store.load().await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(
        told.contains("no grant") && !told.contains("visible"),
        "{told}"
    );
}

#[test]
fn a_key_is_32_bytes_in_any_usual_writing() {
    let hex = "0f".repeat(32);
    let base64 = "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=";
    for text in [hex.as_str(), base64, base64.trim_end_matches('=')] {
        let key = SecretKey::from_text(&format!(" {text}\n").into()).unwrap();
        assert!(!format!("{key:?}").contains("15"), "{key:?}");
    }
    for text in [
        "",
        "open sesame",
        &hex[2..],
        &base64[4..],
        &"zz".repeat(32),
        &format!("{hex}0f"),
    ] {
        let error = SecretKey::from_text(&text.into()).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(text.is_empty() || !told.contains(text), "{told}");
    }
    assert!(SecretKey::passphrase("too short".into()).is_err());
}

#[tokio::test]
async fn a_holder_that_is_gone_keeps_the_others_waiting_for_its_time_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = fresh(&folder).await;
    let again = FileSecrets::open(folder.path().join("0.secrets"), key(1));
    let again = again.await.unwrap();
    assert!(store.lease(&name(), "a", Duration::ZERO).await.unwrap());
    drop(store);
    let hold = Duration::from_secs(600);
    assert!(again.lease(&name(), "b", hold).await.unwrap());
}
