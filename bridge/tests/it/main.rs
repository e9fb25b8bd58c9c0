//! The bridge from outside, by what it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agree;
mod backfilling;
mod circuits;
mod clocks;
#[cfg(unix)]
mod cluster;
mod contracts;
mod crash;
mod doubts;
mod engage;
mod far_sides;
mod file;
mod occurrences;
mod once;
mod polling;
#[cfg(unix)]
mod postgres;
mod secrets;
mod setting;
mod signatures;
mod strangers;
mod together;
mod watching;
mod zombie;
