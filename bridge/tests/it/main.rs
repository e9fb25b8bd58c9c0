//! The bridge from outside, by what it promises.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod agree;
mod api;
mod backfilling;
mod box_folders;
mod circuits;
mod clocks;
#[cfg(unix)]
mod cluster;
mod commands;
mod contracts;
mod crash;
mod doubts;
mod engage;
mod far_sides;
mod fences;
mod file;
mod folder_sides;
mod occurrences;
mod once;
mod people;
#[cfg(unix)]
mod postgres;
mod provision;
mod secrets;
mod setting;
mod signatures;
mod sources;
mod stateless;
mod strangers;
mod sync;
mod sync_fakes;
mod together;
mod watching;
mod zombie;
