//! How far this machine's clock is from a vendor's, by the header `Date` of an answer.

use std::time::Duration;

use http::{HeaderMap, header::DATE};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::finding::Finding;
use crate::config::Config;

/// Salesforce takes an assertion that is signed for the next three minutes.
const SALESFORCE_FORGIVES: Duration = Duration::from_secs(120);

/// When a call began and ended, here.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// Box signs each delivery with its time, which webhook.max_age and max_ahead are held against.
pub(super) fn of_box(config: &Config, headers: &HeaderMap, taken: Taken) -> Finding {
    let about = "box.clock";
    let limit = config.webhook.max_ahead.0.min(config.webhook.max_age.0);
    judged(
        config,
        about,
        headers,
        taken,
        limit,
        "deliveries are refused",
    )
}

pub(super) fn of_salesforce(config: &Config, headers: &HeaderMap, taken: Taken) -> Finding {
    let (about, limit) = ("salesforce.clock", SALESFORCE_FORGIVES);
    judged(
        config,
        about,
        headers,
        taken,
        limit,
        "logins by JWT are refused",
    )
}

fn judged(
    config: &Config,
    about: &str,
    headers: &HeaderMap,
    taken: Taken,
    limit: Duration,
    else_what: &str,
) -> Finding {
    let todo = "let this machine's clock be set by NTP";
    let Some(theirs) = date(headers) else {
        let says = "the answer has no date to hold this machine's clock against";
        return Finding::warning(about, says, "see whether a proxy takes it out");
    };
    let skew = skew(theirs, taken);
    let seconds = skew.as_secs();
    let way = if skew.is_negative() {
        "ahead"
    } else {
        "behind"
    };
    let says = format!("this machine's clock is {} s {way}", seconds.unsigned_abs());
    match skew.unsigned_abs() {
        far if far > limit => Finding::problem(about, format!("{says}: {else_what}"), todo),
        far if far > config.check.clock_warning.0 => Finding::warning(about, says, todo),
        _ => Finding::ok(about, "this machine's clock is right to a few seconds"),
    }
}

/// Theirs has whole seconds, and lies somewhere within the call.
fn skew(theirs: Timestamp, taken: Taken) -> SignedDuration {
    let second = SignedDuration::from_secs(1);
    let earliest = theirs.duration_since(taken.to);
    let latest = theirs.duration_since(taken.from) + second;
    match (earliest.is_positive(), latest.is_negative()) {
        (true, _) => earliest,
        (_, true) => latest,
        _ => SignedDuration::ZERO,
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clock_is_as_far_away_as_the_call_leaves_no_doubt_about() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let taken = Taken {
            from: at("2030-01-01T12:00:10.900Z"),
            to: at("2030-01-01T12:00:12.100Z"),
        };
        for (theirs, seconds) in [
            ("2030-01-01T12:00:10Z", 0),
            ("2030-01-01T12:00:12Z", 0),
            ("2030-01-01T12:02:12.100Z", 120),
            ("2030-01-01T11:59:09.900Z", -60),
        ] {
            assert_eq!(skew(at(theirs), taken).as_secs(), seconds, "{theirs}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Tue, 01 Jan 2030 12:00:10 GMT".parse().unwrap());
        assert_eq!(date(&headers), Some(at("2030-01-01T12:00:10Z")));
        headers.insert(DATE, "noon".parse().unwrap());
        assert_eq!(date(&headers), None);
    }
}
