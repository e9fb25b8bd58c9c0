//! The bridge from outside, by what it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agree;
mod api;
#[cfg(unix)]
mod cluster;
mod commands;
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
mod stateless;
mod zombie;
