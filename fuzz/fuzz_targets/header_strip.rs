//! Hands bytes to `gateway::properties::header_strip`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::properties::header_strip(data));
