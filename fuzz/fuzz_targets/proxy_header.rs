//! Hands bytes to `gateway::properties::proxy_header`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::properties::proxy_header(data));
