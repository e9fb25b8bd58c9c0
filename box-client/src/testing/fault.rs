//! Failures on demand.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// What shall go wrong with which requests.
///
/// Of several faults that match a request, the first with times left applies.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// The HTTP method; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// The path, where `*` stands for anything: `/2.0/files/*/content`, `/dl/*`.
    pub path: String,
    /// How many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests are hit after that.
    #[serde(default = "once")]
    pub times: u32,
    /// What happens to them.
    pub effect: FaultEffect,
}

/// What happens to a request that a [`Fault`] hits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultEffect {
    /// This answer is given and nothing else happens.
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers of the answer.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Body of the answer.
        #[serde(default)]
        body: String,
    },
    /// The effect happens at once, the answer comes late.
    Delay {
        /// How late.
        millis: u64,
    },
    /// The effect happens late, and then the answer comes.
    DelayBefore {
        /// How late.
        millis: u64,
    },
    /// The connection is closed before any effect.
    Reset,
    /// The effect happens, but the connection is closed without an answer.
    LostAnswer,
    /// The connection is closed, and the effect happens after that.
    LostAnswerLate {
        /// How long after.
        millis: u64,
    },
    /// The answer's body breaks off.
    TruncateBody {
        /// After so many bytes.
        after: u64,
    },
    /// One byte of the answer's body is flipped; the length stays.
    CorruptBody {
        /// Which byte.
        at: u64,
    },
    /// 429 with Box's body.
    RateLimit {
        /// The `Retry-After` header, seconds or a date; absent if `None`.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// The access token of the request dies: 401.
    ExpireSession,
    /// 202: the file's content is not ready.
    NotReady {
        /// The `Retry-After` header in seconds; absent if `None`.
        #[serde(default)]
        retry_after: Option<u64>,
    },
}

impl Fault {
    /// Hits the next request to the path, whatever its method.
    pub fn on(path: impl Into<String>, effect: FaultEffect) -> Self {
        Self {
            method: None,
            path: path.into(),
            skip: 0,
            times: 1,
            effect,
        }
    }

    /// Hits only this method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Hits so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.times > 0
            && self
                .method
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && glob(&self.path, path)
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(super) fn inject(&self, fault: Fault) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(fault);
    }

    pub(super) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What happens to this request.
    pub(super) fn take(&self, method: &str, path: &str) -> Option<FaultEffect> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hit = None;
        for fault in faults
            .iter_mut()
            .filter(|fault| fault.matches(method, path))
        {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times -= 1;
            hit = Some(fault.effect.clone());
            break;
        }
        faults.retain(|fault| fault.times > 0);
        hit
    }
}

fn once() -> u32 {
    1
}

fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        let Some(at) = text.find(piece) else {
            return false;
        };
        text = &text[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, matches) in [
            ("/2.0/files/1", "/2.0/files/1", true),
            ("/2.0/files/1", "/2.0/files/12", false),
            ("/2.0/files/*", "/2.0/files/1/content", true),
            ("/2.0/files/*/content", "/2.0/files/1/content", true),
            ("/2.0/files/*/content", "/2.0/files/1", false),
            ("*", "", true),
            ("*/dl/*", "/dl/1", true),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/acb", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn skipped_requests_pass_and_spent_faults_are_gone() {
        let faults = Faults::default();
        faults.inject(
            Fault::on("/x", FaultEffect::Reset)
                .method("post")
                .skip(1)
                .times(2),
        );
        assert_eq!(faults.take("GET", "/x"), None);
        let hits: Vec<_> = (0..4).map(|_| faults.take("POST", "/x")).collect();
        assert_eq!(
            hits,
            [
                None,
                Some(FaultEffect::Reset),
                Some(FaultEffect::Reset),
                None
            ]
        );
    }

    #[test]
    fn a_fault_reads_from_json() {
        let fault: Fault =
            serde_json::from_str(r#"{"path":"/dl/*","effect":{"do":"truncate_body","after":5}}"#)
                .unwrap();
        assert_eq!(
            fault,
            Fault::on("/dl/*", FaultEffect::TruncateBody { after: 5 })
        );
    }
}
