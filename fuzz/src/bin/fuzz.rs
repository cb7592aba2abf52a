//! One target under libFuzzer, whose options are the arguments; the target's name is in SUBLET_FUZZ_TARGET.
//! `make fuzz` builds and calls it.

#![no_main]

use std::sync::OnceLock;

use sublet_fuzz::Target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var("SUBLET_FUZZ_TARGET").unwrap_or_default();
    sublet_fuzz::find(&name)
        .unwrap_or_else(|| panic!("SUBLET_FUZZ_TARGET={name} is no target: see docs/fuzzing.md"))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    TARGET.get_or_init(chosen).run(bytes);
});
