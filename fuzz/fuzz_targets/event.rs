//! A signed body can be anything: it is an event or a reason, never a panic.
#![no_main]

use bridge::webhook::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(event) = Event::parse(body) {
        assert!(!event.id.is_empty());
        assert!(!event.ordering_key().is_empty());
    }
});
