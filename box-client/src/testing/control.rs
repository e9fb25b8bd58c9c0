//! Steering the fake over HTTP, for programs in any language.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refused},
    fault::Fault,
    head::Head,
    locks::Wish,
    people::User,
    person::UploadedFile,
    server::Inner,
    upload::Received,
};

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<Fault>),
    Many(Vec<Fault>),
}

#[derive(Deserialize)]
struct Generated {
    folder: String,
    name: String,
    size: u64,
    #[serde(default)]
    seed: u64,
}

pub(super) async fn answer(inner: &Arc<Inner>, head: &Head, body: &Received) -> Answer {
    let outcome = act(inner, head, body).await;
    outcome.unwrap_or_else(|refused| refused.answer("fake"))
}

async fn act(inner: &Arc<Inner>, head: &Head, body: &Received) -> Outcome {
    let segments: Vec<&str> = head.segments.iter().skip(1).map(String::as_str).collect();
    match (head.method.as_str(), &segments[..]) {
        ("POST", ["faults"]) => {
            match read(body)? {
                OneOrMany::One(fault) => inner.faults.inject(*fault),
                OneOrMany::Many(faults) => faults.into_iter().for_each(|f| inner.faults.inject(f)),
            }
            Ok(Answer::empty(204))
        }
        ("DELETE", ["faults"]) => {
            inner.faults.clear();
            Ok(Answer::empty(204))
        }
        ("GET", ["requests"]) => shown(&inner.recorder.all()),
        ("GET", ["state"]) => Ok(Answer::json(200, &inner.with(|state| state.json()))),
        ("POST", ["tokens"]) => {
            let (access, refresh) = inner.with(|state| {
                let holder = state.own();
                state.issue_pair(holder, None)
            });
            Ok(Answer::json(
                200,
                &json!({ "access_token": access, "refresh_token": refresh }),
            ))
        }
        ("GET", ["deliveries"]) => shown(&inner.with(|state| state.events.log())),
        ("POST", ["redeliver", event]) => match inner.with(|state| state.events.send(event)) {
            true => Ok(Answer::empty(204)),
            false => Err(Refused::not_found("event", event)),
        },
        ("POST", ["upload_generated"]) => upload_generated(inner, read(body)?).await,
        ("POST", ["lock", file]) => {
            let wish = Wish::Lock {
                expires_at: None,
                prevents_download: false,
            };
            inner.with(|state| state.set_lock(&User::person(), file, wish))?;
            Ok(Answer::empty(204))
        }
        #[cfg(feature = "openapi")]
        ("GET", ["violations"]) => shown(&inner.violations.all()),
        _ => Err(Refused::new(404, "not_found", "There is no such control")),
    }
}

async fn upload_generated(inner: &Arc<Inner>, wanted: Generated) -> Outcome {
    let Generated {
        folder,
        name,
        size,
        seed,
    } = wanted;
    let hashing = Arc::clone(inner);
    // Hashing a large file takes seconds.
    let upload = tokio::task::spawn_blocking(move || {
        UploadedFile::generated(&hashing, &folder, &name, size, seed)
    });
    let uploaded = upload
        .await
        .map_err(|_| Refused::bad_request("the upload was cut off"))??;
    shown(&uploaded)
}

fn read<T: DeserializeOwned>(body: &Received) -> Result<T, Refused> {
    let Received::Bytes(bytes) = body else {
        return Err(Refused::bad_request("too long"));
    };
    serde_json::from_slice(bytes).map_err(|error| Refused::bad_request(error.to_string()))
}

fn shown(value: &impl Serialize) -> Outcome {
    Ok(Answer::json(
        200,
        &serde_json::to_value(value).unwrap_or(Value::Null),
    ))
}
