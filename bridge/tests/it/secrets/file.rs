//! What is wrong with a file is told, and the file stays as it is.

use std::{fs, path::Path};

use bridge::secrets::{FileSecrets, SecretErrorKind, SecretKey, SecretStore};
use proptest::prelude::*;

use super::{key, name, put, text};

/// A file with one secret.
async fn made(path: &Path) -> Vec<u8> {
    let store = FileSecrets::open(path, key(1)).await.unwrap();
    put(&store, "plainly-visible").await;
    fs::read(path).unwrap()
}

/// What opening it says. It must not have changed.
async fn refusal(path: &Path, key: SecretKey) -> SecretErrorKind {
    let before = fs::read(path).unwrap();
    let error = FileSecrets::open(path, key).await.unwrap_err();
    assert_eq!(fs::read(path).unwrap(), before, "it was overwritten");
    let told = format!("{error} {error:?}");
    assert!(told.contains(&path.display().to_string()), "{told}");
    error.kind()
}

/// What a store that was opened before says of what is there now.
async fn refusal_later(store: &FileSecrets, path: &Path) -> [SecretErrorKind; 3] {
    let before = fs::read(path).unwrap();
    let long = std::time::Duration::from_secs(9);
    let errors = [
        store.load(&name()).await.unwrap_err(),
        store
            .compare_and_swap(&name(), Some(1), "new".into())
            .await
            .unwrap_err(),
        store.lease(&name(), "me", long).await.unwrap_err(),
    ];
    assert_eq!(fs::read(path).unwrap(), before, "it was overwritten");
    errors.map(|error| error.kind())
}

#[tokio::test]
async fn secrets_are_there_for_the_next_process_and_readable_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let bytes = made(&path).await;
    let again = FileSecrets::open(&path, key(1)).await.unwrap();
    assert_eq!(text(&again).await.as_deref(), Some("plainly-visible"));
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    assert!(
        !shown.contains("visible") && !shown.contains("box"),
        "{shown}"
    );
    #[cfg(unix)]
    for file in fs::read_dir(folder.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    assert_eq!(refusal(&path, key(2)).await, SecretErrorKind::WrongKey);
    let passphrase = SecretKey::passphrase("correct horse battery".into()).unwrap();
    assert_eq!(refusal(&path, passphrase).await, SecretErrorKind::WrongKey);

    // Opened when there was nothing, by two processes with two keys.
    let later = folder.path().join("later");
    let late = FileSecrets::open(&later, key(2)).await.unwrap();
    made(&later).await;
    assert_eq!(
        refusal_later(&late, &later).await,
        [SecretErrorKind::WrongKey; 3]
    );
}

#[tokio::test]
async fn a_passphrase_serves_as_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let passphrase = |text: &str| SecretKey::passphrase(text.into()).unwrap();
    let store = FileSecrets::open(&path, passphrase("correct horse battery")).await;
    put(&store.unwrap(), "a").await;
    let again = FileSecrets::open(&path, passphrase("correct horse battery")).await;
    assert_eq!(text(&again.unwrap()).await.as_deref(), Some("a"));
    let other = passphrase("correct horse batterz");
    assert_eq!(refusal(&path, other).await, SecretErrorKind::WrongKey);
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::WrongKey);
}

#[tokio::test]
async fn a_file_that_is_cut_short_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let whole = made(&path).await;
    let store = FileSecrets::open(&path, key(1)).await.unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(
            refusal(&path, key(1)).await,
            SecretErrorKind::Corrupt,
            "{length}"
        );
    }
    assert_eq!(
        refusal_later(&store, &path).await,
        [SecretErrorKind::Corrupt; 3]
    );
    fs::write(&path, [&*whole, b"x"].concat()).unwrap();
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::Corrupt);
}

#[tokio::test]
async fn anothers_file_or_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    for other in ["these are somebody's notes", "{\"secrets\": {}}", "B!"] {
        fs::write(&path, other).unwrap();
        assert_eq!(
            refusal(&path, key(1)).await,
            SecretErrorKind::Foreign,
            "{other}"
        );
    }
    fs::write(&path, b"BXSFSECR\x02 of a later time").unwrap();
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::Incompatible);
    let error = FileSecrets::open(folder.path(), key(1)).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Foreign, "{error:?}");
    let nowhere = folder.path().join("nowhere/secrets");
    let error = FileSecrets::open(nowhere, key(1)).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Unavailable, "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_may_touch_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let store = FileSecrets::open(&path, key(1)).await.unwrap();
    for mode in [0o644, 0o640, 0o620, 0o604, 0o602, 0o666] {
        set(&path, mode).unwrap();
        let kind = refusal(&path, key(1)).await;
        assert_eq!(kind, SecretErrorKind::OpenToOthers, "{mode:o}");
        let kinds = refusal_later(&store, &path).await;
        assert_eq!(kinds, [SecretErrorKind::OpenToOthers; 3], "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        set(&path, mode).unwrap();
        assert_eq!(text(&store).await.as_deref(), Some("plainly-visible"));
    }
    set(folder.path(), 0o777).unwrap();
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::OpenToOthers);
    set(folder.path(), 0o1777).unwrap();
    assert_eq!(text(&store).await.as_deref(), Some("plainly-visible"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_the_file_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("secrets"), folder.path().join("link"));
    made(&path).await;
    std::os::unix::fs::symlink(&path, &link).unwrap();
    put(
        &FileSecrets::open(&link, key(1)).await.unwrap(),
        "through the link",
    )
    .await;
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let direct = FileSecrets::open(&path, key(1)).await.unwrap();
    assert_eq!(text(&direct).await.as_deref(), Some("through the link"));
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    let store = FileSecrets::open(&path, key(1)).await.unwrap();
    let other = FileSecrets::open(&path, key(1)).await.unwrap();
    let hold = std::time::Duration::from_secs(600);
    assert!(other.lease(&name(), "refreshes", hold).await.unwrap());
    // Its token is spent, and the next one is not stored yet.
    let none = std::time::Duration::ZERO;
    let refused = store.rotate_key(key(2), none).await.unwrap_err();
    assert_eq!(refused.kind(), SecretErrorKind::Contended);
    put(&other, "the next one").await;
    let rotate = store.rotate_key(key(2), hold);
    let grant = name();
    let release = other.release(&grant, "refreshes");
    let (rotated, released) = tokio::join!(rotate, release);
    released.unwrap();
    rotated.unwrap();
    assert_eq!(text(&store).await.as_deref(), Some("the next one"));
    assert!(store.lease(&name(), "me", hold).await.unwrap());
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::WrongKey);
    // Another process goes on with the old key, and breaks nothing.
    assert_eq!(
        refusal_later(&other, &path).await,
        [SecretErrorKind::WrongKey; 3]
    );
    let error = other.rotate_key(key(3), none).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::WrongKey);
    put(&store, "b").await;
    let again = FileSecrets::open(&path, key(2)).await.unwrap();
    assert_eq!(text(&again).await.as_deref(), Some("b"));
    assert!(!again.lease(&name(), "other", hold).await.unwrap());
}

#[tokio::test]
async fn who_knows_both_keys_goes_on_through_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    let old = FileSecrets::open(&path, key(1)).await.unwrap();
    let both = key(2).or_previous(key(1));
    let both = FileSecrets::open(&path, both).await.unwrap();
    assert_eq!(text(&both).await.as_deref(), Some("plainly-visible"));
    put(&both, "before").await;
    // Those that know the old key only are not shut out before their time.
    assert_eq!(text(&old).await.as_deref(), Some("before"));
    let none = std::time::Duration::ZERO;
    old.rotate_key(key(2), none).await.unwrap();
    assert_eq!(text(&both).await.as_deref(), Some("before"));
    put(&both, "after").await;
    let new = FileSecrets::open(&path, key(2)).await.unwrap();
    assert_eq!(text(&new).await.as_deref(), Some("after"));
    assert_eq!(refusal(&path, key(1)).await, SecretErrorKind::WrongKey);
}

#[tokio::test]
async fn what_a_killed_writer_has_left_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    made(&path).await;
    fs::write(folder.path().join("secrets.new"), "half a fi").unwrap();
    let store = FileSecrets::open(&path, key(1)).await.unwrap();
    assert_eq!(text(&store).await.as_deref(), Some("plainly-visible"));
    put(&store, "b").await;
    assert_eq!(text(&store).await.as_deref(), Some("b"));
    assert!(!folder.path().join("secrets.new").exists());
}

proptest! {
    #[test]
    fn a_file_with_any_byte_changed_is_refused_and_left_alone(
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secrets");
            let mut bytes = made(&path).await;
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            fs::write(&path, &bytes).unwrap();
            let kind = refusal(&path, key(1)).await;
            let expected = match at {
                0..8 => SecretErrorKind::Foreign,
                8 => SecretErrorKind::Incompatible,
                _ => SecretErrorKind::Corrupt,
            };
            assert_eq!(kind, expected, "byte {at}");
        });
    }
}
