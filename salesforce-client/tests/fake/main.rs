//! `FakeSalesforce`, driven over HTTP as a stranger's client would.
#![cfg(feature = "testing")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod bulk;
mod composite;
mod control;
mod convert;
mod custom;
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
mod soql;
mod support;
mod upload_refusals;
mod uploads;
mod visibility;

#[cfg(feature = "jwt")]
mod jwt;
