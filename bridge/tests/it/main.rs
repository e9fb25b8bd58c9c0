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
#[cfg(unix)]
mod cuts;
mod doubts;
mod engage;
mod far_sides;
mod fences;
mod file;
mod four_jobs;
mod given;
mod guarded;
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
mod streams;
mod sync;
mod sync_all;
mod sync_cascades;
mod sync_fakes;
mod sync_places;
mod templates;
mod together;
mod upgrades;
mod watching;
mod zombie;
