#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidemill_fuzz::run("manifest", input));
