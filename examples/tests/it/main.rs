//! The real program, on real connections, against both fakes.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod api;
mod attach;
#[cfg(target_os = "linux")]
mod backfill;
mod backlog;
mod bad_input;
mod calls;
mod check;
#[cfg(unix)]
#[path = "../../../bridge/tests/it/cluster.rs"]
mod cluster;
mod configuration;
mod demo;
mod engagement;
mod events;
#[cfg(unix)]
mod exactly_once;
mod fakes;
mod faults;
#[cfg(unix)]
mod foretold;
#[cfg(unix)]
mod four_jobs;
#[cfg(target_os = "linux")]
mod full_disk;
mod kill;
mod lambda;
mod load;
mod login;
#[cfg(target_os = "linux")]
mod memory;
#[path = "../../../bridge/tests/it/secrets/moto.rs"]
mod moto;
mod not_there;
mod operator;
#[cfg(unix)]
mod provisioning;
#[cfg(unix)]
mod record_folders;
mod sdks;
mod secrets;
mod setting;
mod storm;
mod sync;
mod task;
#[cfg(unix)]
mod trouble;
mod watch;
mod way;
mod whole_example;
