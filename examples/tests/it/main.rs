//! The real program, on real connections, against both fakes.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod backlog;
mod bad_input;
mod calls;
#[cfg(unix)]
#[path = "../../../bridge/tests/it/cluster.rs"]
mod cluster;
mod configuration;
mod demo;
#[cfg(unix)]
mod exactly_once;
mod faults;
#[cfg(target_os = "linux")]
mod full_disk;
mod kill;
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod sdks;
mod secrets;
mod setting;
mod storm;
mod way;
