//! The real program, on real connections, against both fakes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod configuration;
mod demo;
mod faults;
mod kill;
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod secrets;
mod setting;
mod way;
