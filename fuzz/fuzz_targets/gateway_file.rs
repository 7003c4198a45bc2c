//! Hands bytes to `gateway::properties::gateway_file`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::properties::gateway_file(data));
