//! Where events come from that nobody delivers.

pub mod poll;
