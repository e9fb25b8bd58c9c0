//! An operator's text for Tasks is a template or a reason.
#![no_main]

use bridge::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = text.parse::<Template>();
});
