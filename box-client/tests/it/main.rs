//! What the client promises, held against servers that answer, break off and lie.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_bytes;
mod boxed;
mod changes;
mod download;
mod ensure_path;
mod errors;
mod grant;
mod items;
mod metadata;
mod parallel_download;
mod raw;
mod refused_token;
mod resume;
mod retry;
mod secrets;
mod spec;
mod stores;
mod upload;
mod upload_sessions;
mod vendor;
mod webhooks;
mod wire;
