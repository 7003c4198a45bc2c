//! Hands bytes to `policies::properties::route_matcher`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| policies::properties::route_matcher(data));
