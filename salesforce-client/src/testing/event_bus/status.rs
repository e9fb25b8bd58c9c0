//! What the bus says no with.

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};

use super::bus::BadPlace;

/// An error with a code of Salesforce's own in its trailer.
pub(super) fn coded(code: Code, error_code: &str, message: &str) -> Status {
    let mut metadata = MetadataMap::new();
    if let Ok(value) = AsciiMetadataValue::try_from(error_code) {
        metadata.insert("error-code", value);
    }
    if let Ok(value) = AsciiMetadataValue::try_from(rpc_id()) {
        metadata.insert("rpc-id", value);
    }
    Status::with_metadata(code, message, metadata)
}

pub(super) fn rpc_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

pub(super) fn bad_auth() -> Status {
    coded(
        Code::Unauthenticated,
        "sfdc.platform.eventbus.grpc.service.auth.error",
        "An authentication exception occurred: provide a valid session token, instance URL and \
         tenant id",
    )
}

pub(super) fn unknown_topic(topic: &str) -> Status {
    Status::not_found(format!("there is no topic {topic}"))
}

pub(super) fn bad_place(place: BadPlace) -> Status {
    let (code, message) = match place {
        BadPlace::Corrupted => ("corrupted", "The replay id is no id of this org"),
        BadPlace::Gone => (
            "validation.failed",
            "The replay id is older than the events that are kept",
        ),
    };
    let code = format!("sfdc.platform.eventbus.grpc.subscription.fetch.replayid.{code}");
    coded(Code::InvalidArgument, &code, message)
}

pub(super) fn bad_request(message: &str) -> Status {
    let code = "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid";
    coded(Code::InvalidArgument, code, message)
}

pub(super) fn unavailable() -> Status {
    let code = "sfdc.platform.eventbus.grpc.service.unavailable";
    coded(Code::Unavailable, code, "The service is going down")
}
