use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that goes wrong with the requests it matches.
///
/// As JSON, for `POST /_fake/faults`:
/// `{"method":"POST","path":"*/sobjects/Task","times":2,"effect":{"do":"lost_answer"}}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// Method to match; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Path to match, without the query; `*` stands for any text.
    pub path: String,
    /// Matching requests to let pass first.
    #[serde(default)]
    pub skip: u32,
    /// Matching requests to hit.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub effect: FaultEffect,
}

/// What a [`Fault`] does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultEffect {
    /// This answer and no effect.
    Status {
        /// Status to answer.
        status: u16,
        /// Headers to answer.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Body to answer.
        #[serde(default)]
        body: String,
    },
    /// The effect happens at once, the answer comes late.
    Delay {
        /// How late.
        millis: u64,
    },
    /// The effect happens late, then the answer comes.
    DelayBefore {
        /// How late.
        millis: u64,
    },
    /// The connection closes before any effect.
    Reset,
    /// The connection closes in the middle of the request's body, without any effect.
    ResetBody {
        /// Bytes of it that are read first.
        after: u64,
    },
    /// The effect happens, the connection closes without an answer.
    LostAnswer,
    /// The connection closes at once, the effect happens late.
    LostAnswerLate {
        /// How late.
        millis: u64,
    },
    /// The body of the answer breaks off.
    TruncateBody {
        /// Bytes that are still sent.
        after: u64,
    },
    /// One byte of the body of the answer is changed, its length is kept.
    CorruptBody {
        /// Which byte; the last if the body is shorter.
        at: u64,
    },
    /// 429, as proxies and other products of the vendor send it; the limits of
    /// an org answer 403, see [`FaultEffect::DailyLimit`].
    RateLimit {
        /// Value of `Retry-After`, if any.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The access token that was sent dies: 401 `INVALID_SESSION_ID`.
    ExpireSession,
    /// 403 `REQUEST_LIMIT_EXCEEDED`: no calls left for today.
    DailyLimit,
    /// 403 `REQUEST_LIMIT_EXCEEDED`: too many long calls at once.
    ConcurrentLimit,
    /// 400 `UNABLE_TO_LOCK_ROW`.
    RowLock,
    /// 503 `SERVER_UNAVAILABLE`.
    Unavailable,
}

impl Fault {
    /// Hits the next request to a path that matches `path`.
    pub fn on(path: impl Into<String>, effect: FaultEffect) -> Self {
        Self {
            method: None,
            path: path.into(),
            skip: 0,
            times: 1,
            effect,
        }
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Hits this many matching requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let method_fits = self
            .method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        self.times > 0 && method_fits && glob(&self.path, path)
    }
}

/// The faults still to come, first match first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn take(&mut self, method: &str, path: &str) -> Option<FaultEffect> {
        let place = self
            .0
            .iter()
            .position(|fault| fault.matches(method, path))?;
        let fault = &mut self.0[place];
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        let effect = fault.effect.clone();
        if fault.times == 0 {
            self.0.remove(place);
        }
        Some(effect)
    }
}

fn once() -> u32 {
    1
}

fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(found) = rest.find(part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text() {
        assert!(glob(
            "*/sobjects/Task",
            "/services/data/v58.0/sobjects/Task"
        ));
        assert!(glob("*", "/anything"));
        assert!(glob("/a/*/c/*", "/a/b/c/"));
        assert!(glob("/a", "/a"));
        assert!(!glob("/a", "/ab"));
        assert!(!glob("*/Task", "/Task/1"));
        assert!(!glob("/ab*ba", "/aba"));
    }

    #[test]
    fn a_fault_skips_then_hits_then_is_spent() {
        let mut faults = Faults::default();
        faults.add(
            Fault::on("/x", FaultEffect::Reset)
                .method("post")
                .skip(1)
                .times(2),
        );
        assert!(faults.take("GET", "/x").is_none());
        let hits: Vec<_> = (0..4)
            .map(|_| faults.take("POST", "/x").is_some())
            .collect();
        assert_eq!(hits, [false, true, true, false]);
    }

    #[test]
    fn a_fault_reads_from_the_json_of_the_control_call() {
        let json = r#"{"path":"*","effect":{"do":"lost_answer_late","millis":5}}"#;
        let fault: Fault = serde_json::from_str(json).unwrap();
        assert_eq!(fault.times, 1);
        assert!(matches!(
            fault.effect,
            FaultEffect::LostAnswerLate { millis: 5 }
        ));
    }
}
