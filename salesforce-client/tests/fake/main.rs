//! `FakeSalesforce`, driven over HTTP as a stranger's client would.
#![cfg(feature = "testing")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod bounds;
mod bulk;
mod composite;
mod control;
mod convert;
mod custom;
#[cfg(all(feature = "bulk-v1", feature = "pubsub"))]
mod every_call;
mod external_ids;
mod faults;
mod large_files;
mod limits;
mod links;
mod many;
mod oauth;
mod objects;
mod paging;
mod records;
mod search;
mod setup;
mod soql;
mod support;
mod upload_refusals;
mod uploads;
mod visibility;

#[cfg(feature = "jwt")]
mod jwt;
