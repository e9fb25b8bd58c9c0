//! What the client promises, held against servers that answer, break off and lie.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_bytes;
mod download;
mod errors;
mod fake;
mod file_store;
mod grant;
mod items;
mod jwt;
mod login;
mod metadata;
mod narrowed;
mod processes;
mod raw;
mod refused_token;
mod resume;
mod retry;
mod secrets;
mod spec;
mod stores;
mod turns;
mod vendor;
mod webhooks;
mod wire;
