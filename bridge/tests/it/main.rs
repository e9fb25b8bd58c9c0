//! The bridge from outside, by what it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agree;
mod box_folders;
#[cfg(unix)]
mod cluster;
mod contracts;
mod crash;
mod doubts;
mod far_sides;
mod file;
mod folder_sides;
mod once;
#[cfg(unix)]
mod postgres;
mod provision;
mod secrets;
mod setting;
mod signatures;
mod zombie;
