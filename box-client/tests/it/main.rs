//! What the client promises, held against servers that answer, break off and lie.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_bytes;
mod boxed;
mod collaborations;
mod download;
mod endpoints;
mod errors;
mod events;
mod gate;
mod grant;
mod instances;
mod items;
mod metadata;
mod models;
#[cfg(feature = "metrics")]
mod numbers;
mod people;
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
mod vendor;
mod webhooks;
mod wire;
