//! Numbers and lengths of time that are well written and cannot work: each by its key, with what it is,
//! why not, and what it can be.

use std::fmt::Display;

use super::{Calls, Config, Span};

const MEBIBYTE: usize = 1024 * 1024;
const MILLISECOND: Span = Span::milliseconds(1);
const SECOND: Span = Span::seconds(1);
const HOUR: Span = Span::seconds(3600);
const DAY: Span = Span::seconds(24 * 3600);
/// More is not taken for any length of time.
const LONGEST: Span = Span::LONGEST;

impl Config {
    pub(super) fn out_of_limits(&self) -> Vec<String> {
        let mut limits = Limits(Vec::new());
        self.limit_ways_in(&mut limits);
        self.limit_store(&mut limits);
        self.limit_sides(&mut limits);
        self.limit_work(&mut limits);
        self.limit_watch(&mut limits);
        let (login, check) = (&self.login, &self.check);
        let why = "the vendors send people back to one port that they know";
        limits.number("login.port", login.port, 1, u16::MAX, why);
        let why = "a person takes some time to log in";
        let least = Span::milliseconds(100);
        limits.span("login.patience", login.patience, least, DAY, why);
        let why = "nobody answers within no time";
        limits.span("check.timeout", check.timeout, MILLISECOND, HOUR, why);
        let why = "the vendors tell their time to the second";
        limits.span("check.clock_warning", check.clock_warning, SECOND, DAY, why);
        limits.0
    }

    fn limit_ways_in(&self, limits: &mut Limits) {
        let (server, webhook) = (&self.server, &self.webhook);
        let why = "without connections nothing comes in, and each takes memory";
        let key = "server.max_connections";
        limits.number(key, server.max_connections, 1, 100_000, why);
        let why = "no request arrives within no time";
        let key = "server.idle_timeout";
        limits.span(key, server.idle_timeout, MILLISECOND, DAY, why);
        let why = "every delivery is older when it arrives, and would be refused";
        limits.span("webhook.max_age", webhook.max_age, SECOND, DAY, why);
        let why = "a delivery that claims to be from so far ahead proves nothing";
        let key = "webhook.max_ahead";
        limits.span(key, webhook.max_ahead, Span::seconds(0), DAY, why);
        let why = "no store answers within no time, and Box waits for 30s at most";
        let most = Span::seconds(30);
        let key = "webhook.store_within";
        limits.span(key, webhook.store_within, MILLISECOND, most, why);
        let why = "a delivery has some KiB, and is held in memory";
        let most = 64 * MEBIBYTE;
        limits.number("webhook.body_limit", webhook.body_limit, 4096, most, why);
        if let Some(api) = &self.api {
            let why = "a command has some hundred bytes, and is held in memory";
            limits.number("api.body_limit", api.body_limit, 1024, most, why);
        }
        let events = &self.salesforce.events;
        if let Some(outbound) = &events.outbound {
            let why = "a message has some KiB, and is held in memory";
            let key = "salesforce.events.outbound.body_limit";
            limits.number(key, outbound.body_limit, 4096, most, why);
        }
        if let Some(poll) = &events.poll {
            let why = "each time takes calls of the day, and Salesforce looks at whole minutes";
            let key = "salesforce.events.poll.every";
            limits.span(key, poll.every, Span::milliseconds(100), DAY, why);
        }
    }

    fn limit_store(&self, limits: &mut Limits) {
        let store = &self.store;
        let why = "Box repeats deliveries for two hours";
        let key = "store.keep_done";
        limits.span(key, store.keep_done, Span::seconds(2 * 3600), LONGEST, why);
        let why = "what was done has to be known for as long as its event is (store.keep_done)";
        let key = "store.keep_effects";
        limits.span(key, store.keep_effects, store.keep_done, LONGEST, why);
        let why = "it would do nothing else, or the store would never be tidied";
        limits.span("store.tidy_every", store.tidy_every, SECOND, LONGEST, why);
        let why = "without connections there is no store, and PostgreSQL has some hundred";
        limits.number("store.connections", store.connections, 1, 1000, why);
    }

    fn limit_sides(&self, limits: &mut Limits) {
        let (content, crm) = (&self.content, &self.salesforce);
        let why = "what is remembered for so long is wrong by then";
        let never = Span::seconds(0);
        for (key, span) in [
            ("box.remember_mapping", content.remember_mapping),
            ("box.remember_unmapped", content.remember_unmapped),
            ("salesforce.remember_stages", crm.remember_stages),
        ] {
            limits.span(key, span, never, DAY, why);
        }
        let why = "each call would log in anew, or go on with a session that is over";
        let key = "salesforce.session_lifetime";
        limits.span(key, crm.session_lifetime, Span::seconds(10), DAY, why);
        let why = "Salesforce takes seconds to minutes to store a large file";
        let key = "salesforce.upload_answer_timeout";
        limits.span(key, crm.upload_answer_timeout, SECOND, HOUR, why);
        let why = "each event would wait for so long";
        let most = Span::seconds(5);
        limits.span("salesforce.linger", crm.linger, never, most, why);
        let why = "up to 200 go in one call anyway";
        let key = "salesforce.bulk_from";
        limits.number(key, crm.bulk_from, 200, usize::MAX, why);
        let budget = &crm.budget;
        let why = "it is the share of the day's calls that is left to others";
        let key = "salesforce.budget.reserve";
        limits.number(key, budget.reserve, 0.0, 0.99, why);
        let why = "it is the share of the day's calls that old files leave to others";
        let key = "salesforce.budget.backfill_reserve";
        limits.number(key, budget.backfill_reserve, 0.0, 1.0, why);
        let why = "without calls nothing is done, and an org allows few at a time";
        let key = "salesforce.budget.max_concurrent";
        limits.number(key, budget.max_concurrent, 1, 1024, why);
        let why = "an org without calls left would be asked all the time";
        let key = "salesforce.budget.pause";
        limits.span(key, budget.pause, MILLISECOND, DAY, why);
        let why =
            "the store would be asked all the time, or processes would not know of each other";
        let key = "salesforce.budget.share_every";
        limits.span(key, budget.share_every, Span::milliseconds(10), HOUR, why);
        limits.calls("box.calls", &content.calls);
        limits.calls("salesforce.calls", &crm.calls);
    }

    fn limit_work(&self, limits: &mut Limits) {
        let (worker, retry) = (&self.worker, &self.retry);
        let why = "with none nothing is done, and each takes memory";
        let key = "worker.concurrency";
        limits.number(key, worker.concurrency, 1, 10_000, why);
        limits.number("worker.transfers", worker.transfers, 1, 1024, why);
        let why = "it is prolonged at every third of it, and a dead worker's events wait for it";
        let least = Span::milliseconds(300);
        limits.span("worker.lease", worker.lease, least, DAY, why);
        let why = "it would ask all the time, or not hear of a pause";
        limits.span("worker.poll", worker.poll, MILLISECOND, HOUR, why);
        let why = "whoever stops it does not wait for longer";
        limits.span("worker.grace", worker.grace, Span::seconds(0), DAY, why);
        let why =
            "a worker that has lost an event may write for half of worker.lease without knowing";
        let key = "worker.settle_after";
        let half = Span(worker.lease.0 / 2);
        limits.span(key, worker.settle_after, half, DAY, why);
        let why = "a delivery can be overtaken by the next, and later than so it does not come";
        let key = "worker.overtaken_within";
        limits.span(key, worker.overtaken_within, SECOND, LONGEST, why);
        let why = "a side that has not failed is not left alone";
        let key = "worker.outage_after";
        limits.number(key, worker.outage_after, 1, 1_000_000, why);
        let why = "a side that is down would be asked all the time";
        let key = "worker.outage_pause";
        limits.span(key, worker.outage_pause, MILLISECOND, DAY, why);
        let why = "it is the longest of the pauses that begin with worker.outage_pause";
        let key = "worker.longest_outage_pause";
        limits.span(key, worker.longest_outage_pause, MILLISECOND, DAY, why);
        let why = "what fails would be tried again all the time";
        limits.span("retry.base", retry.base, MILLISECOND, DAY, why);
        let why = "it is the longest of the waits that begin with retry.base";
        limits.span("retry.max_delay", retry.max_delay, MILLISECOND, DAY, why);
        let why = "it is added to each wait";
        limits.span("retry.jitter", retry.jitter, Span::seconds(0), DAY, why);
        let why = "with no attempt nothing is done";
        let key = "retry.max_attempts";
        limits.number(key, retry.max_attempts, 1, 1_000_000, why);
        let why = "an event would be too old before it is tried a second time (retry.base)";
        limits.span("retry.max_age", retry.max_age, retry.base, LONGEST, why);
    }

    fn limit_watch(&self, limits: &mut Limits) {
        let watch = &self.watch;
        let often = Span::milliseconds(10);
        let why = "it would ask all the time, or never";
        for (key, span) in [
            ("watch.check_every", watch.check_every),
            ("watch.catch_up_every", watch.catch_up_every),
            ("watch.scan_every", watch.scan_every),
        ] {
            limits.span(key, span, often, LONGEST, why);
        }
        let why = "every webhook would seem to be silent";
        let key = "watch.silent_after";
        limits.span(key, watch.silent_after, often, LONGEST, why);
        let why = "with no room nothing that was missed gets into the inbox";
        let key = "watch.most_ahead";
        limits.number(key, watch.most_ahead, 1, 1_000_000_000, why);
    }
}

struct Limits(Vec<String>);

impl Limits {
    fn number<T: Copy + PartialOrd + Display>(
        &mut self,
        key: &str,
        value: T,
        least: T,
        most: T,
        why: &str,
    ) {
        // A number that is none is in no range.
        if !(least..=most).contains(&value) {
            self.0.push(format!(
                "{key} is {value}: {why}; it can be from {least} to {most}"
            ));
        }
    }

    fn span(&mut self, key: &str, value: Span, least: Span, most: Span, why: &str) {
        self.number(key, value, least, most, why);
    }

    fn calls(&mut self, place: &str, calls: &Calls) {
        let key = |name: &str| format!("{place}.{name}");
        let why = "with no attempt nothing is sent";
        self.number(&key("max_attempts"), calls.max_attempts, 1, 100, why);
        let why = "a call that fails would be sent again at once";
        let first = calls.first_delay;
        self.span(&key("first_delay"), first, MILLISECOND, HOUR, why);
        let why = "it is the longest of the waits that begin with first_delay";
        self.span(&key("max_delay"), calls.max_delay, MILLISECOND, HOUR, why);
        let why = "nobody answers within no time";
        for (name, span) in [
            ("deadline", calls.deadline),
            ("connect_timeout", calls.connect_timeout),
            ("idle_timeout", calls.idle_timeout),
        ] {
            self.span(&key(name), span, MILLISECOND, DAY, why);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::tests::all_on;
    use crate::config::Config;

    /// A key, and values of it that cannot work.
    type Values = (&'static str, &'static [&'static str]);

    /// By section.
    const CANNOT_WORK: &[(&str, &[Values])] = &[
        (
            "server",
            &[
                ("max_connections", &["0", "100001"]),
                ("idle_timeout", &["\"0s\""]),
            ],
        ),
        (
            "store",
            &[
                ("keep_done", &["\"1h\"", "\"0s\""]),
                ("keep_effects", &["\"29d\""]),
                ("tidy_every", &["\"0s\""]),
                ("connections", &["0", "1001"]),
            ],
        ),
        (
            "webhook",
            &[
                ("max_age", &["\"0s\"", "\"500ms\""]),
                ("max_ahead", &["\"2d\""]),
                ("body_limit", &["0", "100", "67108865"]),
                ("store_within", &["\"0s\"", "\"31s\""]),
            ],
        ),
        (
            "box",
            &[
                ("remember_mapping", &["\"2d\""]),
                ("remember_unmapped", &["\"2d\""]),
            ],
        ),
        (
            "box.calls",
            &[
                ("max_attempts", &["0"]),
                ("first_delay", &["\"0s\""]),
                ("max_delay", &["\"0s\""]),
                ("deadline", &["\"0s\""]),
                ("connect_timeout", &["\"0s\""]),
                ("idle_timeout", &["\"0s\""]),
            ],
        ),
        (
            "salesforce",
            &[
                ("session_lifetime", &["\"0s\"", "\"2d\""]),
                ("upload_answer_timeout", &["\"0s\""]),
                ("remember_stages", &["\"2d\""]),
                ("linger", &["\"6s\""]),
                ("bulk_from", &["0", "199"]),
            ],
        ),
        ("salesforce.events.outbound", &[("body_limit", &["0"])]),
        (
            "salesforce.events.poll",
            &[("every", &["\"0s\"", "\"2d\""])],
        ),
        (
            "salesforce.budget",
            &[
                ("reserve", &["1.0", "-0.1", "nan"]),
                ("backfill_reserve", &["-0.1", "1.1"]),
                ("max_concurrent", &["0"]),
                ("pause", &["\"0s\""]),
                ("share_every", &["\"0s\""]),
            ],
        ),
        (
            "worker",
            &[
                ("concurrency", &["0", "10001"]),
                ("transfers", &["0"]),
                ("lease", &["\"0s\"", "\"2d\""]),
                ("poll", &["\"0s\"", "\"2h\""]),
                ("grace", &["\"2d\""]),
                ("settle_after", &["\"0s\"", "\"29s\""]),
                ("overtaken_within", &["\"0s\""]),
                ("outage_after", &["0"]),
                ("outage_pause", &["\"0s\""]),
                ("longest_outage_pause", &["\"0s\""]),
            ],
        ),
        (
            "retry",
            &[
                ("base", &["\"0s\""]),
                ("max_delay", &["\"0s\""]),
                ("jitter", &["\"2d\""]),
                ("max_attempts", &["0"]),
                ("max_age", &["\"0s\""]),
            ],
        ),
        (
            "watch",
            &[
                ("check_every", &["\"0s\""]),
                ("catch_up_every", &["\"0s\""]),
                ("silent_after", &["\"0s\""]),
                ("scan_every", &["\"0s\""]),
                ("most_ahead", &["0"]),
            ],
        ),
        ("api", &[("body_limit", &["0"])]),
        ("login", &[("port", &["0"]), ("patience", &["\"0s\""])]),
        (
            "check",
            &[("timeout", &["\"0s\""]), ("clock_warning", &["\"0s\""])],
        ),
    ];

    /// The example with another value, which the key has to have there.
    fn with(section: &str, key: &str, value: &str) -> String {
        let (mut inside, mut found) = (false, false);
        let all = all_on();
        let lines = all.lines().map(|line| {
            if line.starts_with('[') {
                inside = line == format!("[{section}]");
            }
            let is_it = inside && line.starts_with(&format!("{key} = "));
            found |= is_it;
            match is_it {
                true => format!("{key} = {value}"),
                false => line.to_owned(),
            }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        assert!(found, "the example has no {section}.{key}");
        text
    }

    #[test]
    fn each_value_that_cannot_work_is_told_by_its_key_with_the_reason_and_what_can() {
        for (section, keys) in CANNOT_WORK {
            for (key, values) in *keys {
                for value in *values {
                    let config = Config::parse(&with(section, key, value)).unwrap();
                    let problems = config.problems();
                    let place = format!("{section}.{key} is ");
                    let its: Vec<_> = problems.iter().filter(|it| it.contains(&place)).collect();
                    let [line] = its[..] else {
                        panic!("{section}.{key} = {value}: {problems:?}");
                    };
                    let shown = value.trim_matches('"').to_lowercase();
                    let shown = shown.trim_end_matches(".0");
                    assert!(line.to_lowercase().contains(shown), "{line}");
                    assert!(line.contains("; it can be from "), "{line}");
                }
            }
        }
    }

    /// Whoever adds a number or a length of time says what it can be, or here that it can be any.
    #[test]
    fn no_number_and_no_length_of_time_is_without_limits() {
        const ANY: [&str; 2] = ["watch.scan_margin", "watch.mapped_within"];
        let mut section = String::new();
        for line in all_on().lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                name.trim_matches(['[', ']']).clone_into(&mut section);
            }
            let Some((key, value)) = line.split_once(" = ") else {
                continue;
            };
            let value = value.split(" #").next().unwrap_or_default().trim();
            let bare = value.trim_matches('"');
            let is_span = value.starts_with('"') && bare.ends_with(['s', 'm', 'h', 'd']);
            let is_span = is_span && bare.starts_with(|c: char| c.is_ascii_digit());
            let is_number = value.parse::<f64>().is_ok();
            let place = format!("{section}.{key}");
            if !(is_span || is_number) || ANY.contains(&place.as_str()) {
                continue;
            }
            let is_told = CANNOT_WORK.iter().any(|(name, keys)| {
                // Both sides have the same keys for their calls.
                let same = ["box.calls", "salesforce.calls"];
                let is_it =
                    *name == section || (same.contains(name) && section.ends_with(".calls"));
                is_it && keys.iter().any(|(it, _)| *it == key)
            });
            let is_of_rule = section.starts_with("rules");
            assert!(is_told || is_of_rule, "nothing limits {place}");
        }
    }
}
