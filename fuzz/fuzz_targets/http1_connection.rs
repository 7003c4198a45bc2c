//! Hands bytes to `gateway::properties::http1_connection`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::properties::http1_connection(data));
