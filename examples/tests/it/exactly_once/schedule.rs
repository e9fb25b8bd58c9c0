//! What people do and what goes wrong, and when: all of it from one seed.

use std::time::Duration;

use box_client::testing as box_side;
use fastrand::Rng;
use salesforce_client::testing as crm_side;

/// How far apart the events are, on average.
const PACE: Duration = Duration::from_millis(80);

#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) deals: usize,
    pub(crate) deeds: Vec<(Duration, Deed)>,
    pub(crate) troubles: Vec<(Duration, Trouble)>,
}

/// What a person does in Box, or in Salesforce.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Upload { deal: usize, size: usize },
    NewVersion { file: usize, size: usize },
    Lock { file: usize },
    Win { deal: usize },
}

#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    Content(box_side::Fault),
    Crm(crm_side::Fault),
    Kill {
        process: usize,
        down: Duration,
    },
    Freeze {
        process: usize,
        span: Duration,
    },
    /// The clock of one process is off by so many seconds from now on.
    Jump {
        process: usize,
        off: i64,
    },
    RestartDatabase,
}

/// What can go wrong besides the vendors' answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machines {
    pub(crate) processes: usize,
    pub(crate) lease: Duration,
    pub(crate) has_database: bool,
    /// Whether each process has a clock of its own, which can be put forward and back.
    pub(crate) has_clocks: bool,
}

impl Schedule {
    /// Everything at once, all the time.
    pub(crate) fn storm(seed: u64, events: usize, machines: Machines) -> Self {
        let mut rng = Rng::with_seed(seed);
        let deals = 2 + events / 1000;
        let deeds = deeds(&mut rng, events, deals, PACE);
        let span = PACE * u32::try_from(events).unwrap();
        let mut troubles = Vec::new();
        let mut every = |millis: u64, make: &mut dyn FnMut(&mut Rng) -> Trouble| {
            let mut at = Duration::from_millis(rng.u64(0..millis));
            while at < span {
                troubles.push((at, make(&mut rng)));
                at += Duration::from_millis(rng.u64(1..2 * millis));
            }
        };
        every(220, &mut |rng| Trouble::Content(content_fault(rng)));
        every(120, &mut |rng| Trouble::Crm(crm_fault(rng)));
        if machines.has_database {
            every(5_000, &mut |_| Trouble::RestartDatabase);
        }
        for process in 0..machines.processes {
            troubles.extend(life(&mut rng, process, machines.lease, span));
            if machines.has_clocks {
                troubles.extend(jumps(&mut rng, process, span));
            }
        }
        troubles.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            deals,
            deeds,
            troubles,
        }
    }

    /// Nothing but deaths, close together, while every write takes its time.
    pub(crate) fn kills(seed: u64, kills: usize, processes: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        // Each process lives for long enough on average to get something done.
        let pace = Duration::from_millis(600) / u32::try_from(processes).unwrap();
        let deeds = deeds(&mut rng, kills, 2, pace);
        let mut troubles = Vec::new();
        for object in ["ContentVersion", "ContentDocumentLink", "Task"] {
            let slow = crm_side::FaultEffect::DelayBefore { millis: 25 };
            let slow = crm_side::Fault::on(format!("*/sobjects/{object}"), slow);
            troubles.push((
                Duration::ZERO,
                Trouble::Crm(slow.method("POST").times(u32::MAX)),
            ));
        }
        for n in 0..u32::try_from(kills).unwrap() {
            let at = pace * n + pace.mul_f64(rng.f64());
            let process = rng.usize(0..processes);
            troubles.push((at, kill(&mut rng, process)));
        }
        Self {
            seed,
            deals: 2,
            deeds,
            troubles,
        }
    }
}

fn deeds(rng: &mut Rng, events: usize, deals: usize, pace: Duration) -> Vec<(Duration, Deed)> {
    let mut files = 0;
    let mut at = Duration::ZERO;
    let mut deeds = Vec::new();
    for _ in 0..events {
        at += pace.mul_f64(2.0 * rng.f64());
        // Most of what happens to a file happens soon after it came.
        let recent = files - rng.usize(0..=files.min(12)).min(files);
        let size = size(rng);
        deeds.push((
            at,
            match rng.u32(0..10) {
                6..=8 if recent < files => Deed::NewVersion { file: recent, size },
                9 if recent < files => Deed::Lock { file: recent },
                _ => {
                    files += 1;
                    let deal = rng.usize(0..deals);
                    Deed::Upload { deal, size }
                }
            },
        ));
    }
    deeds.push((at / 2, Deed::Win { deal: 1 }));
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

fn size(rng: &mut Rng) -> usize {
    match rng.u32(0..20) {
        0 => 0,
        1..=3 => rng.usize(100_000..400_000),
        _ => rng.usize(1..20_000),
    }
}

/// What happens to one process: now and then it dies or stands still, and between that it works.
fn life(
    rng: &mut Rng,
    process: usize,
    lease: Duration,
    span: Duration,
) -> Vec<(Duration, Trouble)> {
    let mut troubles = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(rng.u64(50..2_000));
        if at >= span {
            return troubles;
        }
        let trouble = match rng.u32(0..5) {
            0 => Trouble::Freeze {
                process,
                span: lease + Duration::from_millis(rng.u64(100..1_500)),
            },
            _ => kill(rng, process),
        };
        let away = match trouble {
            Trouble::Freeze { span, .. } => span,
            Trouble::Kill { down, .. } => down,
            _ => Duration::ZERO,
        };
        troubles.push((at, trouble));
        at += away;
    }
}

/// Puts the clock of one process forward and back by minutes and by hours, and now and then right.
fn jumps(rng: &mut Rng, process: usize, span: Duration) -> Vec<(Duration, Trouble)> {
    let mut jumps = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(rng.u64(200..3_000));
        if at >= span {
            return jumps;
        }
        let off = match rng.u32(0..5) {
            0 | 1 => rng.i64(-540..540),
            2 => rng.i64(-6 * 3600..6 * 3600),
            _ => 0,
        };
        jumps.push((at, Trouble::Jump { process, off }));
    }
}

fn kill(rng: &mut Rng, process: usize) -> Trouble {
    let down = match rng.u32(0..4) {
        0 => rng.u64(500..2_000),
        _ => rng.u64(0..100),
    };
    Trouble::Kill {
        process,
        down: Duration::from_millis(down),
    }
}

fn content_fault(rng: &mut Rng) -> box_side::Fault {
    use box_side::{Fault, FaultEffect};
    let download = |effect| Fault::on("/dl/*", effect);
    let api = |effect| Fault::on("/2.0/*", effect);
    let status = |status: u16| FaultEffect::Status {
        status,
        headers: Default::default(),
        body: String::new(),
    };
    let after = rng.bool().then_some(1);
    let fault = match rng.u32(0..12) {
        0 | 1 => download(FaultEffect::TruncateBody {
            after: rng.u64(0..5_000),
        }),
        2 | 3 => download(FaultEffect::CorruptBody {
            at: rng.u64(0..5_000),
        }),
        4 => download(FaultEffect::Reset),
        5 => download(FaultEffect::Delay {
            millis: rng.u64(500..3_000),
        }),
        6 => download(status(503)),
        7 => Fault::on(
            "/2.0/files/*/content",
            FaultEffect::NotReady { retry_after: after },
        ),
        8 => api(FaultEffect::RateLimit {
            retry_after: after.map(|seconds| seconds.to_string()),
        }),
        9 => api(FaultEffect::ExpireSession),
        10 => api(status([500, 502, 503][rng.usize(0..3)])),
        _ => Fault::on(
            "/oauth2/token",
            [FaultEffect::Reset, status(503)][rng.usize(0..2)].clone(),
        ),
    };
    fault.skip(rng.u32(0..4)).times(rng.u32(1..3))
}

/// Every answer can be lost; what is still given is true, or no look would tell anything.
fn crm_fault(rng: &mut Rng) -> crm_side::Fault {
    use crm_side::{Fault, FaultEffect};
    let refusal = |rng: &mut Rng| match rng.u32(0..8) {
        0 => FaultEffect::Reset,
        1 => FaultEffect::Unavailable,
        2 => FaultEffect::ExpireSession,
        3 => FaultEffect::ConcurrentLimit,
        4 => FaultEffect::DailyLimit,
        5 => FaultEffect::RowLock,
        6 => FaultEffect::RateLimit {
            retry_after: rng.bool().then(|| "1".to_owned()),
        },
        _ => FaultEffect::Status {
            status: [500, 502, 504][rng.usize(0..3)],
            headers: Default::default(),
            body: "<html>".to_owned(),
        },
    };
    let lost = |rng: &mut Rng| match rng.u32(0..6) {
        0 | 1 => FaultEffect::LostAnswer,
        2 | 3 => FaultEffect::LostAnswerLate {
            millis: rng.u64(1..150),
        },
        4 => FaultEffect::TruncateBody {
            after: rng.u64(0..10),
        },
        _ => FaultEffect::Delay {
            millis: rng.u64(100..3_000),
        },
    };
    let fault = match rng.u32(0..10) {
        0 => Fault::on(
            "*/oauth2/token",
            [FaultEffect::Reset, FaultEffect::Unavailable][rng.usize(0..2)].clone(),
        ),
        1 => Fault::on("*/query*", refusal(rng)).method("GET"),
        2 => {
            let effect = FaultEffect::TruncateBody {
                after: rng.u64(0..200),
            };
            Fault::on("*/query*", effect).method("GET")
        }
        which => {
            let (path, method) = [
                ("*/sobjects/ContentVersion", "POST"),
                ("*/sobjects/ContentDocumentLink", "POST"),
                ("*/composite", "POST"),
                ("*/composite/sobjects", "POST"),
                ("*/sobjects/Task", "POST"),
                ("*/sobjects/Opportunity/*", "PATCH"),
            ][rng.usize(0..6)];
            let effect = match which {
                3..=6 => lost(rng),
                _ => refusal(rng),
            };
            Fault::on(path, effect).method(method)
        }
    };
    fault.skip(rng.u32(0..3)).times(rng.u32(1..3))
}
