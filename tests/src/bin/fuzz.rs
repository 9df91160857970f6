//! The engine, libFuzzer, around one target of `popmap_tests::fuzz`. `.ci/fuzz` builds this with the instrumentation that
//! coverage needs, and runs it: see there. The arguments are libFuzzer's.
//!
//! The target is chosen while this is built, by `POPMAP_FUZZ_TARGET`: after each input the engine looks at every counter
//! that is linked in, and those of all targets would cost more than most of them do.

#![no_main]
#![forbid(unsafe_code)]

use popmap_tests::fuzz::{Target, target};

const TARGET: Target = match option_env!("POPMAP_FUZZ_TARGET") {
    Some(name) => {
        target(name).expect("POPMAP_FUZZ_TARGET names no target: see TARGETS in tests/src/fuzz/mod.rs")
    }
    None => panic!("POPMAP_FUZZ_TARGET is to name a target: .ci/fuzz sets it"),
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
