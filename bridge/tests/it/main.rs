//! The bridge from outside, by what it promises.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod agree;
#[cfg(unix)]
mod cluster;
mod contracts;
mod crash;
mod doubts;
mod engage;
mod far_sides;
mod file;
mod once;
#[cfg(unix)]
mod postgres;
mod secrets;
mod setting;
mod signatures;
mod together;
mod zombie;
