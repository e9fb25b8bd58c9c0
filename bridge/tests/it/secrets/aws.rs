//! Against moto, and in front of it something that writes down what is sent, and now and then
//! answers as Secrets Manager does where moto has no such answer.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use bridge::{
    secrets::{AwsAuth, AwsOptions, AwsSecrets, SecretErrorKind, SecretStore, Swap},
    testing::secret_store_contract,
};
use serde_json::{Value, json};

use super::{log::Heard, moto::Moto, name, put, text};

const REGION: &str = "eu-central-1";
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

pub(super) async fn open(endpoint: &str, folder: &str) -> AwsSecrets {
    let mut options = AwsOptions::default();
    options.region = Some(REGION.to_owned());
    options.endpoint = Some(endpoint.to_owned());
    options.folder = folder.to_owned();
    let auth = AwsAuth::keys(KEY_ID, "key-plainly-visible".into());
    let auth = auth.session_token("session-plainly-visible".into());
    AwsSecrets::open_with(auth, &options).await.unwrap()
}

/// What goes by on the way to moto.
#[derive(Clone)]
struct Front {
    moto: Arc<Moto>,
    http: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    next: VecDeque<(&'static str, Instead)>,
}

struct Call {
    action: String,
    body: Value,
    authorization: String,
}

/// What becomes of the next call of an action.
enum Instead {
    /// It is refused with this status and code.
    Refused(u16, &'static str, &'static str),
    /// It is done, and its answer is lost.
    Lost,
    /// Before it is done, something else happens.
    After(tokio::sync::oneshot::Sender<tokio::sync::oneshot::Sender<()>>),
}

impl Front {
    async fn start() -> (Self, String) {
        let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
        let front = Self {
            moto: Arc::new(moto),
            http: reqwest::Client::new(),
            seen: Arc::default(),
        };
        let router = Router::new().fallback(pass).with_state(front.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        (front, url)
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap())
    }

    fn next(&self, action: &'static str, instead: Instead) {
        self.seen(|it| it.next.push_back((action, instead)));
    }

    /// What was sent since the last time.
    fn calls(&self) -> Vec<Call> {
        self.seen(|it| std::mem::take(&mut it.calls))
    }

    fn actions(&self) -> Vec<String> {
        self.calls().into_iter().map(|it| it.action).collect()
    }

    async fn ask(&self, action: &str, body: Value) -> Value {
        let answer = self.forward(action, body.to_string().into()).await;
        assert_eq!(answer.0, StatusCode::OK, "{:?}", answer.1);
        serde_json::from_slice(&answer.1).unwrap()
    }

    async fn forward(&self, action: &str, body: Bytes) -> (StatusCode, Bytes) {
        let scope = format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/20300101/{REGION}/");
        let request = self
            .http
            .post(&self.moto.url)
            .header("x-amz-target", format!("secretsmanager.{action}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header(
                "authorization",
                format!("{scope}secretsmanager/aws4_request"),
            )
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    }

    /// How many versions there are, of a secret that is there.
    async fn versions(&self, id: &str) -> usize {
        let body = json!({ "SecretId": id, "IncludeDeprecated": true });
        let answer = self.ask("ListSecretVersionIds", body).await;
        answer["Versions"].as_array().unwrap().len()
    }
}

async fn pass(State(front): State<Front>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let target = header("x-amz-target");
    let action = target.strip_prefix("secretsmanager.").unwrap();
    let instead = front.seen(|seen| {
        seen.calls.push(Call {
            action: action.to_owned(),
            body: serde_json::from_slice(&body).unwrap(),
            authorization: header("authorization"),
        });
        let due = seen.next.iter().position(|(due, _)| *due == action);
        due.and_then(|due| seen.next.remove(due))
    });
    match instead.map(|(_, instead)| instead) {
        Some(Instead::Refused(status, code, message)) => {
            let body = json!({ "__type": code, "message": message }).to_string();
            (StatusCode::from_u16(status).unwrap(), body.into())
        }
        Some(Instead::Lost) => {
            front.forward(action, body).await;
            (StatusCode::BAD_GATEWAY, Bytes::from_static(b"lost"))
        }
        Some(Instead::After(tell)) => {
            let (done, is_done) = tokio::sync::oneshot::channel();
            tell.send(done).unwrap();
            is_done.await.unwrap();
            front.forward(action, body).await
        }
        None => front.forward(action, body).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_keeps_the_contract() {
    let moto = tokio::task::spawn_blocking(Moto::start).await.unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let fresh = async || {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open(&moto.url, &format!("contract/{number}")).await
    };
    secret_store_contract(fresh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_moves_the_label_from_the_version_that_was_seen() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    put(&store, "a").await;
    let created: Vec<_> = front.calls();
    let actions: Vec<_> = created.iter().map(|it| &*it.action).collect();
    // The first look is the test's own.
    let due = [
        "GetSecretValue",
        "GetSecretValue",
        "PutSecretValue",
        "CreateSecret",
    ];
    assert_eq!(actions, due);
    let first = created[3].body["ClientRequestToken"].clone();

    let swap = store.compare_and_swap(&name(), Some(1), "b".into()).await;
    assert!(matches!(swap, Ok(Swap::Swapped(2))), "{swap:?}");
    let [look, put, moved] = <[Call; 3]>::try_from(front.calls()).ok().unwrap();
    let due = json!({ "SecretId": "bridge/box", "VersionStage": "AWSCURRENT" });
    assert_eq!((&*look.action, look.body), ("GetSecretValue", due));
    let second = put.body["ClientRequestToken"].clone();
    assert_eq!(put.action, "PutSecretValue");
    // With no label of its own it would be the current one at once, whatever was seen.
    assert_eq!(put.body["VersionStages"], json!(["BRIDGENEXT"]));
    let due = json!({
        "SecretId": "bridge/box", "VersionStage": "AWSCURRENT",
        "MoveToVersionId": second, "RemoveFromVersionId": first,
    });
    assert_eq!(
        (&*moved.action, moved.body),
        ("UpdateSecretVersionStage", due)
    );
    let scope = format!("{REGION}/secretsmanager/aws4_request, SignedHeaders=");
    for call in [look.authorization, put.authorization, moved.authorization] {
        assert!(
            call.contains(&scope) && call.contains("x-amz-security-token"),
            "{call}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_between_the_look_and_the_move_wins() {
    let (front, url) = Front::start().await;
    let (late, quick) = (
        open(&url, "bridge").await,
        open(&front.moto.url, "bridge").await,
    );
    put(&quick, "a").await;
    let (tell, told) = tokio::sync::oneshot::channel();
    front.next("UpdateSecretVersionStage", Instead::After(tell));
    let between = async {
        let done = told.await.unwrap();
        let swap = quick
            .compare_and_swap(&name(), Some(1), "quick".into())
            .await;
        assert!(matches!(swap, Ok(Swap::Swapped(2))), "{swap:?}");
        done.send(()).unwrap();
    };
    let name = name();
    let swap = late.compare_and_swap(&name, Some(1), "late".into());
    let (swap, ()) = tokio::join!(swap, between);
    assert!(matches!(swap, Ok(Swap::Conflict(Some(_)))), "{swap:?}");
    assert_eq!(text(&late).await.as_deref(), Some("quick"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_not_taken_for_a_conflict_and_adds_no_version() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    front.next("CreateSecret", Instead::Lost);
    assert_eq!(put(&store, "a").await, 1);
    assert_eq!(front.versions("bridge/box").await, 1);
    for (version, action) in [(1, "PutSecretValue"), (2, "UpdateSecretVersionStage")] {
        front.next(action, Instead::Lost);
        let secret = format!("{version}").as_str().into();
        let swap = store.compare_and_swap(&name(), Some(version), secret).await;
        assert!(
            matches!(swap, Ok(Swap::Swapped(it)) if it == version + 1),
            "{swap:?}"
        );
        assert_eq!(front.versions("bridge/box").await as u64, version + 1);
    }
    let hold = Duration::from_secs(600);
    front.next("CreateSecret", Instead::Lost);
    assert!(store.lease(&name(), "a", hold).await.unwrap());
    store.release(&name(), "a").await.unwrap();
    front.next("UpdateSecretVersionStage", Instead::Lost);
    assert!(store.lease(&name(), "b", hold).await.unwrap());
    assert!(!store.lease(&name(), "a", hold).await.unwrap());
}

/// Secrets Manager has room for a hundred versions a day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_takes_one_version_and_its_end_and_those_who_wait_take_none() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    let hold = Duration::from_secs(600);
    for round in 1..5 {
        assert!(store.lease(&name(), "a", hold).await.unwrap());
        for _ in 0..3 {
            assert!(!store.lease(&name(), "b", hold).await.unwrap());
            store.release(&name(), "b").await.unwrap();
        }
        store.release(&name(), "a").await.unwrap();
        store.release(&name(), "a").await.unwrap();
        assert_eq!(front.versions("bridge/box.lease").await, round + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_somebody_has_made_empty_is_filled_without_the_right_to_make_one() {
    let (front, url) = Front::start().await;
    front
        .ask("CreateSecret", json!({ "Name": "bridge/box" }))
        .await;
    let store = open(&url, "bridge").await;
    assert_eq!(text(&store).await, None);
    let swaps = ["a", "b", "c"].map(|secret| {
        let store = &store;
        async move {
            store
                .compare_and_swap(&name(), None, secret.into())
                .await
                .unwrap()
        }
    });
    let swaps = futures_util::future::join_all(swaps).await;
    let won = swaps.iter().filter(|it| matches!(it, Swap::Swapped(1)));
    assert_eq!(won.count(), 1, "{swaps:?}");
    assert!(!front.actions().contains(&"CreateSecret".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_by_what_to_do_about_it_and_without_a_secret() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    put(&store, "stored-visible").await;
    let quoted = "the value sk-plainly-visible is wrong";
    for (status, code, message, kind) in [
        (
            400,
            "AccessDeniedException",
            "not authorized to perform this",
            SecretErrorKind::Denied,
        ),
        (
            400,
            "DecryptionFailure",
            "the key is disabled",
            SecretErrorKind::Denied,
        ),
        (
            400,
            "ExpiredTokenException",
            quoted,
            SecretErrorKind::Denied,
        ),
        (
            400,
            "InvalidSignatureException",
            quoted,
            SecretErrorKind::Denied,
        ),
        (
            400,
            "UnrecognizedClientException",
            quoted,
            SecretErrorKind::Denied,
        ),
        (400, "ValidationException", quoted, SecretErrorKind::Refused),
        (
            400,
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
            SecretErrorKind::Deleted,
        ),
    ] {
        front.next("GetSecretValue", Instead::Refused(status, code, message));
        let error = store.load(&name()).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.contains(code) && !told.contains("visible"), "{told}");
        assert!(told.contains("bridge/box in eu-central-1"), "{told}");
    }
    for (action, code, kind) in [
        (
            "PutSecretValue",
            "EncryptionFailure",
            SecretErrorKind::Denied,
        ),
        (
            "PutSecretValue",
            "LimitExceededException",
            SecretErrorKind::Refused,
        ),
        (
            "UpdateSecretVersionStage",
            "AccessDeniedException",
            SecretErrorKind::Denied,
        ),
        (
            "UpdateSecretVersionStage",
            "LimitExceededException",
            SecretErrorKind::Refused,
        ),
    ] {
        // The SDK takes one of them for throttling.
        for _ in 0..5 {
            front.next(action, Instead::Refused(400, code, "that is why"));
        }
        let swap = store
            .compare_and_swap(&name(), Some(1), "new-visible".into())
            .await;
        let error = swap.unwrap_err();
        let told = format!("{error} {error:?} {store:?}");
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.contains(code) && !told.contains("visible"), "{told}");
        front.seen(|it| it.next.clear());
    }
    assert_eq!(text(&store).await.as_deref(), Some("stored-visible"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_and_failures_of_its_own_are_tried_again_and_not_for_ever() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    put(&store, "a").await;
    for (status, code) in [
        (400, "ThrottlingException"),
        (500, "InternalServiceError"),
        (503, "ServiceUnavailable"),
    ] {
        front.next(
            "GetSecretValue",
            Instead::Refused(status, code, "slow down"),
        );
        assert_eq!(text(&store).await.as_deref(), Some("a"), "{code}");
    }
    for _ in 0..20 {
        front.next(
            "GetSecretValue",
            Instead::Refused(400, "ThrottlingException", ""),
        );
    }
    front.calls();
    let error = store.load(&name()).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Unavailable, "{error:?}");
    assert_eq!(front.actions().len(), 5);
    let nowhere = open("http://127.0.0.1:1", "bridge").await;
    let error = nowhere.load(&name()).await.unwrap_err();
    assert_eq!(error.kind(), SecretErrorKind::Unavailable, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_anothers_damaged_or_marked_for_deletion_is_left_as_it_is() {
    let (front, url) = Front::start().await;
    let store = open(&url, "bridge").await;
    put(&store, "a").await;
    for (there, kind) in [
        (
            r#"{"password":"plainly-visible"}"#,
            SecretErrorKind::Foreign,
        ),
        ("bridge-secret/1 2", SecretErrorKind::Foreign),
        ("bridge-secret/1\nplainly-visible", SecretErrorKind::Corrupt),
        (
            "bridge-secret/1 x\nplainly-visible",
            SecretErrorKind::Corrupt,
        ),
        (
            "bridge-secret/1 0\nplainly-visible",
            SecretErrorKind::Corrupt,
        ),
        (
            "bridge-secret/2 2\nplainly-visible",
            SecretErrorKind::Incompatible,
        ),
    ] {
        let token = format!("by-hand-{:032x}", fastrand::u128(..));
        let body = json!({
            "SecretId": "bridge/box", "SecretString": there, "ClientRequestToken": token,
        });
        front.ask("PutSecretValue", body).await;
        let swap = store.compare_and_swap(&name(), Some(1), "new".into()).await;
        let (swap, load) = (swap.unwrap_err(), store.load(&name()).await.unwrap_err());
        for error in [swap, load] {
            assert_eq!(error.kind(), kind, "{there:?}: {error:?}");
            assert!(
                !format!("{error} {error:?}").contains("visible"),
                "{error:?}"
            );
        }
        let current = json!({ "SecretId": "bridge/box", "VersionStage": "AWSCURRENT" });
        let current = front.ask("GetSecretValue", current).await;
        assert_eq!(current["SecretString"], there);
    }
    front
        .ask("DeleteSecret", json!({ "SecretId": "bridge/box" }))
        .await;
    let swap = store.compare_and_swap(&name(), None, "new".into()).await;
    let (swap, load) = (swap.unwrap_err(), store.load(&name()).await.unwrap_err());
    for error in [swap, load] {
        assert_eq!(error.kind(), SecretErrorKind::Deleted, "{error:?}");
        assert!(format!("{error:?}").contains("restore-secret"), "{error:?}");
    }
}

#[tokio::test]
async fn options_that_cannot_be_used_are_told_at_once() {
    let keys = || AwsAuth::keys(KEY_ID, "key-plainly-visible".into());
    let with = |region: Option<&str>, endpoint: Option<&str>, folder: &str| {
        let mut options = AwsOptions::default();
        options.region = region.map(str::to_owned);
        options.endpoint = endpoint.map(str::to_owned);
        options.folder = folder.to_owned();
        options
    };
    for options in [
        with(None, None, "bridge"),
        with(Some(REGION), None, ""),
        with(Some(REGION), None, "a//b"),
        with(Some(REGION), None, "a b"),
        with(Some(REGION), Some("vpce"), "bridge"),
        with(Some(REGION), Some("ftp://vpce"), "bridge"),
        with(
            Some(REGION),
            Some("https://user:plainly-visible@vpce"),
            "bridge",
        ),
    ] {
        let error = AwsSecrets::open_with(keys(), &options).await.unwrap_err();
        assert_eq!(error.kind(), SecretErrorKind::Refused, "{options:?}");
        assert!(!format!("{error:?}").contains("visible"), "{error:?}");
    }
    assert!(!format!("{:?}", keys()).contains("visible"));
}

#[test]
fn no_secret_is_in_the_finest_log() {
    let heard = Heard::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    tracing::subscriber::with_default(heard.clone(), || {
        runtime.unwrap().block_on(async {
            let (front, url) = Front::start().await;
            let store = open(&url, "bridge").await;
            put(&store, "first-plainly-visible").await;
            put(&store, "second-plainly-visible").await;
            assert_eq!(
                text(&store).await.as_deref(),
                Some("second-plainly-visible")
            );
            store
                .lease(&name(), "a", Duration::from_secs(9))
                .await
                .unwrap();
            drop(front);
        });
    });
    let lines = heard.lines();
    let of_a_request = lines.iter().filter(|it| it.contains("transmitting"));
    assert_eq!(of_a_request.count(), 0, "the SDK logs what it sends");
    assert!(lines.iter().any(|it| it.starts_with("hyper")), "{lines:?}");
    let told: Vec<_> = lines.iter().filter(|it| it.contains("visible")).collect();
    assert!(told.is_empty(), "{told:?}");
}
