//! What can go wrong while a job is done: told twice, told in the wrong order, answers lost after the
//! write, the process killed.
//!
//! A job is what people do, in turns, and what has to be there afterwards. It is tried in every
//! trouble, each time from the beginning.

use std::{ops::Range, time::Duration};

use box_client::testing as box_side;
use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::Value;
use tokio::time::sleep;

use crate::setting::Setting;

const OUTBOUND: &str = "[salesforce.events.outbound]\n\
    secret = { file = \"outbound.secret\" }\norganization_id = \"00D5g0000000001EAA\"\n";
const OUTBOUND_SECRET: &str = "the-secret-of-the-path";
const ACTION: &str = "04kxx0000000001AAA";
pub(crate) struct Job<'a> {
    pub(crate) rules: &'static str,
    /// What people do; all that a turn leads to is done before the next.
    pub(crate) acts: &'a [fn(&mut Deal)],
    /// What has to be there for it, once.
    pub(crate) check: fn(&Deal),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Trouble {
    ToldTwice,
    ToldBackwards,
    AnswersLost,
    Killed,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::ToldTwice,
    Trouble::ToldBackwards,
    Trouble::AnswersLost,
    Trouble::Killed,
];

impl Job<'_> {
    pub(crate) async fn in_every_trouble(&self) {
        for trouble in TROUBLES {
            eprintln!("{trouble:?}");
            self.run(trouble).await;
        }
    }

    async fn run(&self, trouble: Trouble) {
        let mut deal = Deal::up(self.rules).await;
        let mut told = 0;
        for act in self.acts {
            let messages = deal.messages.len();
            act(&mut deal);
            deal.go_wrong(trouble);
            let new = Tellings {
                events: told..deal.setting.content.events().len(),
                messages: messages..deal.messages.len(),
            };
            told = new.events.end;
            let _server = match trouble {
                Trouble::Killed => {
                    let ((), server) = tokio::join!(deal.tell(new, trouble), deal.die_often());
                    server
                }
                _ => {
                    let server = deal.setting.serve_until_ready().await;
                    deal.tell(new, trouble).await;
                    server
                }
            };
            deal.idle().await;
            // What we have written ourselves is told of as well, and leads to nothing more.
            for round in 0.. {
                let new = told..deal.setting.content.events().len();
                if new.is_empty() {
                    break;
                }
                assert!(round < 10, "it plays ping-pong");
                told = new.end;
                let messages = 0..0;
                let events = new;
                deal.tell(Tellings { events, messages }, trouble).await;
                deal.idle().await;
            }
        }
        (self.check)(&deal);
    }
}

/// Which of the events of Box and of the org's messages.
struct Tellings {
    events: Range<usize>,
    messages: Range<usize>,
}

/// The deal of a [`Setting`], and what is told of it by hand.
pub(crate) struct Deal {
    pub(crate) setting: Setting,
    http: reqwest::Client,
    messages: Vec<String>,
    /// What the job's check wants to know again.
    pub(crate) ids: Vec<String>,
}

impl Deal {
    async fn up(rules: &str) -> Self {
        let configure = |it: String| {
            let (before, _) = it.split_once("[[rules]]").unwrap();
            let before = before.replace("[worker]", &format!("{OUTBOUND}[worker]"));
            let before = match rules.contains("sync_metadata") {
                true => before.replace("[box]\n", "[box]\nmetadata_template = \"deal\"\n"),
                false => before,
            };
            before + rules
        };
        let setting = Setting::told_by_hand(configure).await;
        let secret = setting.home.path().join("outbound.secret");
        std::fs::write(secret, OUTBOUND_SECRET).unwrap();
        Self {
            setting,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            messages: Vec::new(),
            ids: Vec::new(),
        }
    }

    pub(crate) fn watch(&self, folder: &str, triggers: &[&str]) {
        let address = format!("{}/webhooks/box", self.setting.url);
        let content = &self.setting.content;
        content.create_webhook(folder, &address, triggers).unwrap();
    }

    pub(crate) fn makes(&mut self, object: &str, fields: Value) -> String {
        let id = self.setting.crm.create(object, fields).unwrap();
        self.ids.push(id.clone());
        self.is_told_of(&id);
        id
    }

    pub(crate) fn changes(&mut self, id: &str, fields: Value) {
        self.setting.crm.update(id, fields).unwrap();
        self.is_told_of(id);
    }

    pub(crate) fn is_told_of(&mut self, id: &str) {
        let message = self.setting.crm.outbound_message(ACTION, &[id], &[]);
        self.messages.push(message.unwrap());
    }

    fn go_wrong(&self, trouble: Trouble) {
        let (content, crm) = (&self.setting.content, &self.setting.crm);
        content.clear_faults();
        crm.clear_faults();
        let crm_writes = [
            ("POST", "*/sobjects/*"),
            ("POST", "*/composite/*"),
            ("PATCH", "*/sobjects/*"),
        ];
        match trouble {
            Trouble::ToldTwice | Trouble::ToldBackwards => {}
            Trouble::AnswersLost => {
                for n in 0..6 {
                    for (method, path) in crm_writes {
                        let lost = Fault::on(path, FaultEffect::LostAnswer);
                        crm.inject(lost.method(method).skip(n * 2));
                    }
                    for method in ["POST", "PUT"] {
                        let lost = box_side::FaultEffect::LostAnswer;
                        let lost = box_side::Fault::on("/2.0/*", lost);
                        content.inject(lost.method(method).skip(n * 3));
                    }
                }
            }
            Trouble::Killed => {
                for (method, path) in crm_writes {
                    let slow = FaultEffect::DelayBefore { millis: 25 };
                    crm.inject(Fault::on(path, slow).method(method).times(u32::MAX));
                }
            }
        }
    }

    /// Kills the service again and again, and leaves one that lives.
    async fn die_often(&self) -> tokio::process::Child {
        for _ in 0..6 {
            let mut server = self.setting.serve();
            sleep(Duration::from_millis(fastrand::u64(150..700))).await;
            server.kill().await.unwrap();
        }
        self.setting.serve_until_ready().await
    }

    async fn tell(&self, which: Tellings, trouble: Trouble) {
        let events = self.setting.content.events();
        let events = events[which.events].iter().map(|it| Telling::Box(&it.id));
        let messages = self.messages[which.messages].iter();
        let messages = messages.map(|it| Telling::Org(it));
        let mut tellings: Vec<_> = events.chain(messages).collect();
        match trouble {
            Trouble::ToldTwice => tellings.extend_from_within(..),
            Trouble::ToldBackwards => tellings.reverse(),
            Trouble::AnswersLost | Trouble::Killed => {}
        }
        for telling in tellings {
            let is_taken = async || self.is_taken(telling).await;
            self.setting.until("an event to be taken", is_taken).await;
        }
    }

    async fn is_taken(&self, telling: Telling<'_>) -> bool {
        let url = &self.setting.url;
        match telling {
            Telling::Box(event) => {
                let delivery = self.setting.content.delivery(event).unwrap();
                let mut request = self.http.post(format!("{url}/webhooks/box"));
                for (name, value) in &delivery.headers {
                    request = request.header(name, value);
                }
                let answer = request.body(delivery.body).send().await;
                answer.is_ok_and(|it| it.status() == 200)
            }
            Telling::Org(message) => {
                let url = format!("{url}/webhooks/salesforce/{OUTBOUND_SECRET}");
                let answer = self.setting.crm.deliver(&url, message).await;
                answer.is_ok_and(|it| it.acknowledged)
            }
        }
    }

    /// Until there is nothing to do; nothing may have been given up.
    async fn idle(&self) {
        let all = ["list", "--limit", "10000", "--json"];
        let is_idle = async || {
            // In one look: a job in hand can wait again a moment later.
            let jobs = self.setting.queue(&all).await;
            let is_dead = |job: &&Value| job["state"] == "dead";
            let dead = jobs.iter().find(is_dead);
            assert!(dead.is_none(), "{dead:?}\n{}", self.setting.log());
            jobs.iter().all(|job| job["state"] == "done")
        };
        self.setting.until("the end of all work", is_idle).await;
    }
}

#[derive(Clone, Copy)]
enum Telling<'a> {
    /// A webhook's delivery.
    Box(&'a str),
    /// An outbound message.
    Org(&'a str),
}
