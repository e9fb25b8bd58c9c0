//! `FakeBox`, driven over HTTP as a stranger's client would.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod assertions;
mod collaborations;
mod control;
mod deliveries;
mod downloads;
mod faults;
mod files;
mod folders;
mod metadata;
mod oauth;
mod openapi;
mod people;
mod support;
mod trash;
mod upload_sessions;
mod uploads;
mod webhooks;
