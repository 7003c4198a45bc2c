//! Hands bytes to `policies::properties::policy_files`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| policies::properties::policy_files(data));
