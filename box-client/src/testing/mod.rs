//! [`FakeBox`]: a strict, stateful fake of Box on loopback, for tests.
//!
//! It keeps files, folders, metadata, webhooks, collaborations, users, groups, comments, tasks,
//! sign requests, events and tokens, refuses what Box
//! refuses with Box's own status and error body, sends signed webhook deliveries, and fails on
//! demand. Any client in any language can be pointed at it: the API is under
//! `{url}/2.0`, uploads under `{url}/api/2.0`, tokens under `{url}/oauth2`. Downloads are
//! redirected to a second listener that, as Box's download host should, refuses a request that
//! carries an `Authorization` header.
//!
//! ```
//! use box_client::testing::{FakeBox, Fault, FaultEffect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fake = FakeBox::start().await?;
//! let deals = fake.create_folder("0", "Deals")?;
//! let file = fake.upload(&deals, "nda.pdf", "signed")?;
//! fake.inject(Fault::on("/2.0/files/*", FaultEffect::LostAnswer));
//!
//! let token = fake.issue_token();
//! // … point a client at `fake.url()`, then look at what it sent:
//! assert!(fake.requests().is_empty());
//! # let _ = (token, file.file_id);
//! # Ok(())
//! # }
//! ```
//!
//! Programs in other languages steer it over HTTP, on the same port:
//!
//! | request | does |
//! | --- | --- |
//! | `POST /_fake/faults` | injects one [`Fault`] or an array of them |
//! | `DELETE /_fake/faults` | clears them |
//! | `GET /_fake/requests` | what was received ([`RecordedRequest`]) |
//! | `GET /_fake/state` | everything that this Box holds, without file bytes |
//! | `POST /_fake/tokens` | `{"access_token", "refresh_token"}` |
//! | `GET /_fake/deliveries` | every attempt at a webhook delivery ([`DeliveryLog`]) |
//! | `POST /_fake/redeliver/{event_id}` | sends an event again |
//! | `POST /_fake/upload_generated` | `{"folder", "name", "size", "seed"}`: a file of any size |
//! | `POST /_fake/lock/{file_id}` | a person locks the file |
//! | `GET /_fake/violations` | what the OpenAPI document does not allow (feature `openapi`) |

mod answer;
mod authorize;
mod builder;
mod cascades;
mod clock;
mod collaborations;
mod comments;
mod content;
mod control;
mod deliver;
mod download;
mod event_log;
mod events;
mod exchange;
mod fault;
mod files;
mod folders;
mod groups;
mod handle;
mod head;
mod ids;
mod items;
#[cfg(feature = "jwt")]
mod jwt;
mod listing;
mod locks;
mod metadata;
mod metadata_query;
mod multipart;
mod names;
mod oauth;
#[cfg(feature = "openapi")]
pub mod openapi;
mod pages;
mod patch;
mod people;
mod person;
mod record;
mod reply;
mod route;
mod search;
mod server;
mod sign;
mod sign_requests;
mod state;
mod tasks;
mod template_updates;
mod templates;
mod token_store;
mod triggers;
mod upload;
mod users;
mod versions;
mod view;
mod webhooks;

pub use answer::Refused;
pub use builder::FakeBoxBuilder;
pub use deliver::{DeliveryLog, Undelivered};
pub use events::Event;
pub use fault::{Fault, FaultEffect};
pub use handle::FakeBox;
pub use person::UploadedFile;
pub use record::RecordedRequest;
pub use sign::Delivery;
pub use token_store::{token_lease_contract, token_store_contract};
