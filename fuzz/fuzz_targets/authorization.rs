//! Hands bytes to `identity::properties::authorization`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| identity::properties::authorization(data));
