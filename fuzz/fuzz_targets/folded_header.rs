//! Hands bytes to `policies::properties::folded_header`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| policies::properties::folded_header(data));
