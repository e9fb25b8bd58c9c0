//! Nothing signs an outbound message: it is one or a reason, and what is read is never more than
//! what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use salesforce_client::{OutboundReader, RecordId};

fuzz_target!(|body: &[u8]| {
    let org = RecordId::new("00Dxx0000001gPLEAY").expect("an id");
    let Ok(message) = OutboundReader::new(&org).read(body) else {
        return;
    };
    assert_eq!(message.organization_id, org);
    assert!((1..=100).contains(&message.notifications.len()));
    let fields = message.notifications.iter().flat_map(|it| &it.fields);
    let lengths = fields.map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len));
    assert!(lengths.sum::<usize>() <= body.len());
    let _ = message.access_token();
});
