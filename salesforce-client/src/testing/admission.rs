#[cfg(feature = "bulk-v1")]
use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, HeaderName, RETRY_AFTER};
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};

#[cfg(feature = "bulk-v1")]
use super::bulk;
use super::fault::FaultEffect;
use super::oauth::OAuthCall;
use super::refusal::Refusal;
use super::reply::Reply;
use super::server::{decoded_path, decoded_query};
use super::state::{Call, Config, Shared, State};
use super::upload::Body;
use super::{limits, oauth, rest};

/// A request after its head was looked at: refused already, or to be performed
/// when its body is here.
pub(super) enum Admitted {
    Settled {
        reply: Reply,
        tells_usage: bool,
    },
    Rest(Box<Call>),
    #[cfg(feature = "bulk-v1")]
    Async(Box<Call>),
    OAuth(OAuthCall),
}

impl Admitted {
    /// Lets the request have its effect.
    pub(super) fn perform(self, shared: &Shared, body: Body) -> Reply {
        let mut state = shared.lock();
        let (reply, tells_usage) = match self {
            Self::Settled { reply, tells_usage } => (reply, tells_usage),
            Self::Rest(mut call) => {
                call.body = body;
                call.now = Timestamp::now();
                (rest::answer(&mut state, &shared.config, &mut call), true)
            }
            #[cfg(feature = "bulk-v1")]
            Self::Async(mut call) => {
                call.body = body;
                call.now = Timestamp::now();
                let reply = bulk::zip::answer(&mut state, &shared.config, &mut call);
                (reply, false)
            }
            Self::OAuth(mut call) => {
                if let Body::Buffered(form) = body {
                    let form = String::from_utf8_lossy(&form);
                    call.form.extend(decoded_query(&form));
                }
                (oauth::answer(&mut state, &shared.config, &call), false)
            }
        };
        if tells_usage {
            return reply.with_header("sforce-limit-info", limits::usage(&state));
        }
        reply
    }
}

/// The vendor's limit for the URI, and for the URI and all headers together.
const HEAD_AT_MOST: usize = 16_384;

pub(super) fn admit(
    shared: &Shared,
    head: &Parts,
    query: Vec<(String, String)>,
    effect: Option<&FaultEffect>,
    now: Timestamp,
) -> Admitted {
    let (state, config) = (&mut *shared.lock(), &shared.config);
    let path = decoded_path(head.uri.path());
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_rest = matches!(path.as_slice(), ["services", "data", _, ..]);
    let text = |name| head.headers.get(name)?.to_str().ok();
    // Bulk 1.0 has a header of its own, without a scheme.
    let session = text(HeaderName::from_static("x-sfdc-session"));
    let session = session.map(|token| format!("Bearer {token}"));
    let authorization = match path.as_slice() {
        ["services", "async", ..] => session.as_deref(),
        _ => text(AUTHORIZATION),
    };
    if let Some(reply) = effect.and_then(|effect| refused(state, head, authorization, effect)) {
        let is_vendors = !matches!(
            effect,
            Some(FaultEffect::Status { .. } | FaultEffect::RateLimit { .. })
        );
        return Admitted::Settled {
            reply,
            tells_usage: is_rest && is_vendors,
        };
    }
    let settled = |refusal: Refusal| Admitted::Settled {
        reply: refusal.into(),
        tells_usage: is_rest,
    };
    if let Err(refusal) = check_length(head) {
        return settled(refusal);
    }
    match path.as_slice() {
        ["services", "oauth2", endpoint] => Admitted::OAuth(OAuthCall {
            method: head.method.clone(),
            endpoint: (*endpoint).to_owned(),
            form: query.into_iter().collect(),
            authorization: authorization.map(str::to_owned),
            now,
        }),
        ["services", "data"] if head.method == Method::GET => Admitted::Settled {
            reply: versions(config),
            tells_usage: false,
        },
        ["services", "data", version, rest @ ..] => {
            let admitted = version_of(version, config).and_then(|version| {
                let lifetime = config.session_lifetime;
                let user = state.auth.authorize(authorization, lifetime, now)?;
                limits::count_call(state)?;
                Ok(Call {
                    method: head.method.clone(),
                    version,
                    path: rest.iter().map(|part| (*part).to_owned()).collect(),
                    query: query.into_iter().collect(),
                    headers: head.headers.clone(),
                    body: Body::Buffered(Bytes::new()),
                    user,
                    now,
                })
            });
            admitted.map_or_else(settled, |call| Admitted::Rest(Box::new(call)))
        }
        #[cfg(feature = "bulk-v1")]
        ["services", "async", version, "job", rest @ ..] => {
            let admitted = version_of(&format!("v{version}"), config).and_then(|version| {
                let lifetime = config.session_lifetime;
                let user = state.auth.authorize(authorization, lifetime, now)?;
                limits::count_call(state)?;
                Ok(Call {
                    method: head.method.clone(),
                    version,
                    path: rest.iter().map(|part| (*part).to_owned()).collect(),
                    query: BTreeMap::new(),
                    headers: head.headers.clone(),
                    body: Body::Buffered(Bytes::new()),
                    user,
                    now,
                })
            });
            match admitted {
                Ok(call) => Admitted::Async(Box::new(call)),
                Err(refusal) => Admitted::Settled {
                    reply: bulk::zip::refused(refusal),
                    tells_usage: false,
                },
            }
        }
        _ => settled(Refusal::not_found()),
    }
}

/// The answer of the faults that keep a request from having an effect.
fn refused(
    state: &mut State,
    head: &Parts,
    authorization: Option<&str>,
    effect: &FaultEffect,
) -> Option<Reply> {
    let refusal = match effect {
        FaultEffect::Status {
            status,
            headers,
            body,
        } => {
            let mut reply = Reply::empty(*status);
            reply.body = Bytes::from(body.clone());
            let has_type = headers
                .keys()
                .any(|name| name.eq_ignore_ascii_case("content-type"));
            if !has_type && body.starts_with(['{', '[']) {
                reply = reply.with_header("content-type", "application/json;charset=UTF-8");
            }
            reply.headers.extend(headers.clone());
            return Some(reply);
        }
        FaultEffect::RateLimit { retry_after } => {
            let text = "Too many requests";
            let reply = Reply::from(Refusal::new(429, "REQUEST_LIMIT_EXCEEDED", text));
            return Some(match retry_after {
                Some(value) => reply.with_header(RETRY_AFTER.as_str(), value),
                None => reply,
            });
        }
        FaultEffect::ExpireSession => {
            state.auth.expire(authorization);
            Refusal::session()
        }
        FaultEffect::DailyLimit => Refusal::daily_limit(),
        FaultEffect::ConcurrentLimit => {
            let text = "ConcurrentRequests (Concurrent API Requests) Limit exceeded.";
            Refusal::new(403, "REQUEST_LIMIT_EXCEEDED", text)
        }
        FaultEffect::RowLock => {
            let last = head.uri.path().rsplit('/').next().unwrap_or_default();
            let text = format!(
                "unable to obtain exclusive access to this record or 1 records: {}",
                super::ids::normalise(last).unwrap_or_else(|| "0065g0000000001AAA".to_owned())
            );
            Refusal::data("UNABLE_TO_LOCK_ROW", text, &[])
        }
        FaultEffect::Unavailable => Refusal::new(503, "SERVER_UNAVAILABLE", "Server too busy"),
        _ => return None,
    };
    Some(refusal.into())
}

fn check_length(head: &Parts) -> Result<(), Refusal> {
    let uri = head
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    let headers: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if uri > HEAD_AT_MOST {
        return Err(Refusal::new(
            414,
            "URI_TOO_LONG",
            "The URI is longer than 16384 bytes",
        ));
    }
    if uri + headers > HEAD_AT_MOST {
        let text = "The URI and the headers are longer than 16384 bytes";
        return Err(Refusal::new(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", text));
    }
    Ok(())
}

/// Versions below the oldest one are retired; above the newest there is nothing.
fn version_of(segment: &str, config: &Config) -> Result<u32, Refusal> {
    let number = segment
        .strip_prefix('v')
        .and_then(|number| number.strip_suffix(".0"));
    let number: u32 = number
        .and_then(|n| n.parse().ok())
        .ok_or_else(Refusal::not_found)?;
    if config.versions.contains(&number) {
        return Ok(number);
    }
    if config.versions.iter().any(|known| number < *known) {
        return Err(Refusal::new(
            410,
            "GONE",
            "The requested resource is no longer available",
        ));
    }
    Err(Refusal::not_found())
}

fn versions(config: &Config) -> Reply {
    let versions: Value = config
        .versions
        .iter()
        .map(|number| {
            let version = format!("{number}.0");
            json!({
                "label": release_name(*number),
                "url": format!("/services/data/v{version}"),
                "version": version,
            })
        })
        .collect();
    Reply::json(200, &versions)
}

/// 67.0 is Summer '26; there are three releases in a year.
fn release_name(number: u32) -> String {
    let season = ["Spring", "Summer", "Winter"][(number % 3) as usize];
    let year = (number + 11) / 3;
    format!("{season} '{year}")
}
