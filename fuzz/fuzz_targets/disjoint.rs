#![no_main]
#![expect(missing_docs, reason = "a program of one line")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| webhook_fuzz::disjoint::run(data));
