//! Hands bytes to `policies::properties::canonical_path`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| policies::properties::canonical_path(data));
