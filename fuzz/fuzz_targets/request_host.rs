//! Hands bytes to `gateway::properties::request_host`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::properties::request_host(data));
