//! Downloads: a redirect to a signed path on another host, and that host.

use std::{ops::Range, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use super::{
    answer::{Answer, Outcome, Refused},
    content::{Content, hex},
    head::Head,
    locks::may_download,
    state::{State, Visit},
};

const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What Box asks to wait, in seconds, when a file is not ready.
const SETTLING: &str = "1";

/// `GET /files/{id}/content`
pub(super) fn redirect(visit: &mut Visit<'_>, id: &str) -> Outcome {
    let (_, file) = visit.state.tree.file(id)?;
    may_download(file, &visit.actor)?;
    let version = match visit.head.query("version") {
        Some(wanted) => {
            let known = file.version(wanted);
            known.ok_or_else(|| Refused::not_found("file_version", wanted))?
        }
        None => &file.current,
    };
    let (version, is_current) = (version.id.clone(), version.id == file.current.id);
    if is_current && file.settling {
        visit.state.tree.file_mut(id)?.settling = false;
        return Ok(Answer::empty(202).header("retry-after", SETTLING));
    }
    let expires = Timestamp::now().as_second() + LIFETIME.as_secs() as i64;
    let signature = visit.state.path_signature(id, &version, expires);
    let location = format!(
        "{}/dl/{id}/{version}/{expires}/{signature}",
        visit.download_url
    );
    let (actor, chain) = (visit.actor.clone(), visit.state.tree.chain(id));
    visit
        .state
        .tell_item(&chain, "FILE.DOWNLOADED", &actor, id, &Value::Null);
    Ok(Answer::empty(302).header("location", location))
}

/// The download host. It knows no tokens: the path says who may read what until when.
pub(super) fn serve(state: &State, head: &Head) -> Outcome {
    if head.header("authorization").is_some() {
        let message = "A token was sent to the download host";
        return Err(Refused::bad_request(message));
    }
    let segments: Vec<&str> = head.segments.iter().map(String::as_str).collect();
    let (["dl", id, version, expires, signature], "GET") = (&segments[..], head.method.as_str())
    else {
        return Err(Refused::new(404, "not_found", "Not Found"));
    };
    let until: i64 = expires.parse().unwrap_or_default();
    if *signature != state.path_signature(id, version, until) {
        return Err(Refused::new(403, "forbidden", "Access denied"));
    }
    if until < Timestamp::now().as_second() {
        return Err(Refused::new(403, "forbidden", "The link has expired"));
    }
    let (item, file) = state.tree.file(id)?;
    let known = file.version(version);
    let stored = &known
        .ok_or_else(|| Refused::not_found("file_version", version))?
        .stored;
    if matches!(*stored.content, Content::Forgotten { .. }) {
        let message = "This fake did not keep the file's bytes";
        return Err(Refused::new(500, "internal_server_error", message));
    }
    let size = stored.content.size();
    let content = stored.content.clone();
    let answer = match head.header("range").and_then(|range| wanted(range, size)) {
        None => Answer::content(200, content, 0..size),
        Some(Err(Unsatisfiable)) => {
            return Ok(Answer::empty(416).header("content-range", format!("bytes */{size}")));
        }
        Some(Ok(range)) => {
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            Answer::content(206, content, range).header("content-range", shown)
        }
    };
    let name = item
        .name
        .replace(|c: char| c == '"' || !c.is_ascii_graphic() && c != ' ', "_");
    Ok(answer
        .header("accept-ranges", "bytes")
        .header("content-type", "application/octet-stream")
        .header(
            "content-disposition",
            format!("attachment;filename=\"{name}\""),
        ))
}

impl State {
    /// Signed rather than remembered, so that any number of links takes no memory.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn path_signature(&self, id: &str, version: &str, expires: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.config.seed.to_be_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(format!("{id}/{version}/{expires}").as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

#[derive(Debug, PartialEq)]
struct Unsatisfiable;

/// The bytes that a `Range` header asks for; none if it is to be ignored.
fn wanted(header: &str, size: u64) -> Option<Result<Range<u64>, Unsatisfiable>> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let range = match (first, last) {
        ("", suffix) => size.saturating_sub(suffix.parse().ok()?)..size,
        (first, "") => first.parse().ok()?..size,
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if range.start < range.end {
        Ok(range)
    } else {
        Err(Unsatisfiable)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (header, expected) in [
            ("bytes=0-4", Some(Ok(0..5))),
            ("bytes=5-", Some(Ok(5..10))),
            ("bytes=-3", Some(Ok(7..10))),
            ("bytes=-30", Some(Ok(0..10))),
            ("bytes=8-30", Some(Ok(8..10))),
            ("bytes=0-18446744073709551615", Some(Ok(0..10))),
            ("bytes=10-", Some(Err(Unsatisfiable))),
            ("bytes=-0", Some(Err(Unsatisfiable))),
            ("bytes=4-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-4", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
    }
}
