//! Thousands of events through real processes while everything goes wrong that can, all of it
//! from one seed; then everything goes well again, and what the far side holds is counted.
//!
//! `BRIDGE_SEED` is the seed and `BRIDGE_EVENTS` how many events there are; `BRIDGE_KILLS` is how
//! often a process is killed where nothing else goes wrong.

mod clock;
mod count;
mod deals;
mod fleet;
mod grants;
mod post;
mod schedule;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use self::{
    deals::Deals,
    fleet::{Fleet, Order},
    post::Post,
    schedule::{Machines, Schedule, Trouble},
};
use crate::cluster::Cluster;

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_a_file_does_everything_once_whatever_goes_wrong() {
    let machines = Machines {
        processes: 1,
        lease: LEASE,
        has_database: false,
        has_clocks: clock::IS_THERE,
    };
    let schedule = Schedule::storm(number("BRIDGE_SEED", 1), events(), machines);
    run(schedule, 1, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_on_a_database_do_everything_once_whatever_goes_wrong() {
    let machines = Machines {
        processes: 3,
        lease: LEASE,
        has_database: true,
        has_clocks: clock::IS_THERE,
    };
    let schedule = Schedule::storm(number("BRIDGE_SEED", 1), events(), machines);
    run(schedule, 3, Some(Cluster::start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_on_a_database_do_everything_once_however_often_they_are_killed() {
    let schedule = Schedule::kills(number("BRIDGE_SEED", 1), kills(), 3);
    run(schedule, 3, Some(Cluster::start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_a_file_does_everything_once_however_often_it_is_killed() {
    let schedule = Schedule::kills(number("BRIDGE_SEED", 1), kills(), 1);
    run(schedule, 1, None).await;
}

fn kills() -> usize {
    usize::try_from(number("BRIDGE_KILLS", 20)).unwrap()
}

/// Box repeats its answer where a process dies before it has stored it; Salesforce does so only
/// where the app does not rotate refresh tokens, so this one does not.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_both_grants_however_often_they_are_killed_and_tokens_end() {
    let mut schedule = Schedule::kills(number("BRIDGE_SEED", 1), kills(), 2);
    grants::end_tokens(&mut schedule);
    run_with(schedule, 2, Some(Cluster::start()), Logins::Grants).await;
}

/// How the processes log in.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Logins {
    Credentials,
    /// By refresh tokens that all of them share.
    Grants,
}

fn events() -> usize {
    usize::try_from(number("BRIDGE_EVENTS", 250)).unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect(variable))
}

async fn run(schedule: Schedule, processes: usize, cluster: Option<Cluster>) {
    run_with(schedule, processes, cluster, Logins::Credentials).await;
}

async fn run_with(schedule: Schedule, processes: usize, cluster: Option<Cluster>, logins: Logins) {
    let seed = schedule.seed;
    eprintln!(
        "BRIDGE_SEED={seed}: {} deeds, {} troubles",
        schedule.deeds.len(),
        schedule.troubles.len()
    );
    let cluster = cluster.map(Arc::new);
    let store = match &cluster {
        Some(cluster) => cluster.database(),
        None => "sqlite:bridge.db".to_owned(),
    };
    let life = match logins {
        Logins::Credentials => Duration::from_secs(20),
        // What the processes share is worth sharing.
        Logins::Grants => Duration::from_secs(3600),
    };
    let deals = Deals::up(schedule.deals, life).await;
    let home = tempfile::tempdir().unwrap();
    let configuration = |listen| match logins {
        Logins::Credentials => configuration(listen, &store, &deals),
        Logins::Grants => grants::configured(&configuration(listen, &store, &deals)),
    };
    if logins == Logins::Grants {
        grants::log_in(&store, &deals).await;
    }
    let mut fleet = Fleet::up(home.path().to_owned(), processes, configuration);
    let mut post = Post::new(&deals.content, &fleet.urls, seed);

    let start = Instant::now();
    let people = async {
        for (at, deed) in &schedule.deeds {
            sleep_until(start + *at).await;
            for event in deals.act(*deed) {
                post.deliver(&event);
            }
        }
    };
    let troubles = async {
        for (at, trouble) in &schedule.troubles {
            sleep_until(start + *at).await;
            make(trouble, &deals, &fleet, cluster.as_ref()).await;
        }
    };
    let storm = async { tokio::join!(people, troubles) };
    watching(&deals, storm).await;

    fleet.set_clocks_right();
    deals.content.clear_faults();
    deals.crm.clear_faults();
    let patience = Duration::from_secs(180) + start.elapsed();
    let sent = watching(&deals, post.all_taken(patience)).await;
    let events = deals.content.events().len();
    let (done, dead) = watching(&deals, ended(&fleet, events, patience)).await;
    fleet.stop().await;

    let mut wrong = count::wrong(&deals);
    wrong.extend(dead.iter().map(|letter| format!("dead: {letter}")));
    wrong.extend(deals.content.violations());
    if logins == Logins::Grants {
        wrong.extend(grants::wrong(&store, &deals, &schedule).await);
    }
    let log = fleet.log();
    let panics = log.lines().filter(|line| line.contains("panicked at"));
    wrong.extend(panics.map(str::to_owned));
    if done != events {
        wrong.push(format!("{done} of {events} events are done"));
    }
    if !wrong.is_empty() {
        let home = home.keep();
        panic!(
            "BRIDGE_SEED={seed}, logs in {}: {} things are wrong:\n{}",
            home.display(),
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n")
        );
    }
    eprintln!(
        "BRIDGE_SEED={seed}: {events} events of {} files, delivered in {sent} attempts, {} in \
         {:.0?}: none lost, none twice, none out of order",
        deals.files().len(),
        told(&schedule),
        start.elapsed()
    );
}

/// How often what went wrong.
fn told(schedule: &Schedule) -> String {
    let count = |is: fn(&Trouble) -> bool| {
        let troubles = schedule.troubles.iter();
        troubles.filter(|(_, trouble)| is(trouble)).count()
    };
    format!(
        "{} faults, {} kills, {} freezes, {} jumps of clocks, {} restarts of the database",
        count(|it| matches!(it, Trouble::Content(_) | Trouble::Crm(_))),
        count(|it| matches!(it, Trouble::Kill { .. })),
        count(|it| matches!(it, Trouble::Freeze { .. })),
        count(|it| matches!(it, Trouble::Jump { .. })),
        count(|it| matches!(it, Trouble::RestartDatabase)),
    )
}

async fn make(trouble: &Trouble, deals: &Deals, fleet: &Fleet, cluster: Option<&Arc<Cluster>>) {
    match trouble.clone() {
        Trouble::Content(fault) => deals.content.inject(fault),
        Trouble::Crm(fault) => deals.crm.inject(fault),
        Trouble::Kill { process, down } => fleet.order(process, Order::Kill { down }).await,
        Trouble::Freeze { process, span } => fleet.order(process, Order::Freeze { span }).await,
        Trouble::Jump { process, off } => fleet.jump(process, off),
        Trouble::RestartDatabase => {
            let cluster = Arc::clone(cluster.unwrap());
            let restart = move || cluster.control(&["restart", "--mode=immediate"]);
            tokio::task::spawn_blocking(restart).await.unwrap();
        }
    }
}

/// Keeps an eye on the deals while something else goes on.
async fn watching<T>(deals: &Deals, other: impl Future<Output = T>) -> T {
    let watch = async {
        loop {
            deals.watch();
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        done = other => done,
        never = watch => never,
    }
}

/// How many events are done once all are done or dead, or the time is over; and the dead ones.
async fn ended(
    fleet: &Fleet,
    events: usize,
    patience: Duration,
) -> (usize, Vec<serde_json::Value>) {
    let end = Instant::now() + patience;
    loop {
        let done = fleet.events("done").await.len();
        let dead = fleet.events("dead").await;
        if done + dead.len() >= events || Instant::now() > end {
            return (done, dead);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn configuration(listen: SocketAddr, store: &str, deals: &Deals) -> String {
    let (content, crm) = (deals.content.url(), deals.crm.url());
    let lease = LEASE.as_secs();
    format!(
        r#"[server]
listen = "{listen}"
[store]
url = "{store}"
connections = 8
[webhook]
primary_key = {{ env = "TEST_SIGNATURE_KEY" }}
[box]
base_url = "{content}"
auth = {{ kind = "client_credentials", client_id = "{client}", client_secret = {{ env = "TEST_BOX_SECRET" }}, enterprise_id = "12345" }}
calls = {{ first_delay = "50ms", max_delay = "500ms", deadline = "10s", idle_timeout = "2s" }}
[salesforce]
login_url = "{crm}"
auth = {{ kind = "client_credentials", client_id = "app", client_secret = {{ env = "TEST_SALESFORCE_SECRET" }} }}
upload_answer_timeout = "2s"
budget = {{ pause = "300ms" }}
calls = {{ first_delay = "50ms", max_delay = "500ms", deadline = "10s", idle_timeout = "2s" }}
[worker]
lease = "{lease}s"
poll = "20ms"
settle_after = "1500ms"
outage_pause = "300ms"
longest_outage_pause = "1s"
[retry]
base = "50ms"
jitter = "50ms"
max_delay = "1s"
max_attempts = 1000
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED"]
attach = ["opportunity", "account"]
advance_stage = "Negotiation/Review"
log_task = {{ subject = "{{file.name}} came" }}
[[rules]]
name = "locks"
triggers = ["FILE.LOCKED"]
advance_stage = "Proposal/Price Quote"
log_task = {{ subject = "{{file.name}} was locked" }}
"#,
        client = box_client::testing::FakeBox::CLIENT_ID,
    )
}
