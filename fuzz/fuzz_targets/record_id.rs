//! Whatever is taken for an id has 18 characters and is the same id again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use salesforce_client::RecordId;

fuzz_target!(|text: &str| {
    if let Ok(id) = RecordId::new(text) {
        assert_eq!(id.as_str().len(), 18);
        assert_eq!(RecordId::new(id.as_str()).as_ref(), Ok(&id));
        assert_eq!(RecordId::new(&id.as_str()[..15]).as_ref(), Ok(&id));
    }
});
