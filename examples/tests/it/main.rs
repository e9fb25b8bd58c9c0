//! The real program, on real connections, against both fakes.
#![allow(clippy::unwrap_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod backfill;
mod backlog;
mod bad_input;
mod calls;
#[cfg(unix)]
#[path = "../../../bridge/tests/it/cluster.rs"]
mod cluster;
mod configuration;
mod demo;
mod engagement;
#[cfg(unix)]
mod exactly_once;
mod faults;
#[cfg(target_os = "linux")]
mod full_disk;
mod kill;
mod load;
#[cfg(target_os = "linux")]
mod memory;
#[path = "../../../bridge/tests/it/secrets/moto.rs"]
mod moto;
mod operator;
mod sdks;
mod secrets;
mod setting;
mod storm;
mod watch;
mod way;
