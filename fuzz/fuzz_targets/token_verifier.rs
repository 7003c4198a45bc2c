//! Hands bytes to `identity::properties::token_verifier`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity::properties::token_verifier(data));
