//! What the client promises, held against servers that answer, break off and lie.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod bad_bytes;
mod boxed;
mod changes;
mod collaborations;
mod consumed;
mod desk;
mod download;
mod endpoints;
mod ensure_path;
mod errors;
mod events;
mod fake;
mod file_store;
mod gate;
mod gigabyte;
mod grant;
mod instances;
mod items;
mod jwt;
mod login;
mod metadata;
mod models;
mod narrowed;
#[cfg(feature = "metrics")]
mod numbers;
mod parallel_download;
mod people;
mod processes;
mod raw;
mod refused_token;
mod resume;
mod retry;
mod search;
mod secrets;
mod sign_requests;
mod spec;
mod stores;
mod templates;
mod turns;
mod upload;
mod upload_sessions;
mod vendor;
mod webhooks;
mod wire;
