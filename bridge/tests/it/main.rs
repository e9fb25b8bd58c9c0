//! The bridge from outside, by what it promises.
#![allow(clippy::unwrap_used, clippy::panic)]

mod contracts;
mod far_sides;
mod once;
mod signatures;
