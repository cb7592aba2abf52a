//! The memory that a target may take. Whoever sends a few bytes must not make us reserve many: a claimed length is not
//! a length.

use std::{alloc::System, panic, sync::Once};

use cap::Cap;

/// Counts, and refuses what is too much; the standard library then ends the process with a message.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A panic may take what it needs to say where it happened.
static LIFTED_BY_PANICS: Once = Once::new();

/// Runs `action` with at most `bytes` more memory than there is now, of all threads together.
pub fn within<R>(bytes: usize, action: impl FnOnce() -> R) -> R {
    /// Takes the limit away again, also on the way of a panic.
    struct Free;
    impl Drop for Free {
        fn drop(&mut self) {
            // More than now: nothing that could be refused.
            let _ = ALLOCATOR.set_limit(usize::MAX);
        }
    }
    LIFTED_BY_PANICS.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            drop(Free);
            report(info);
        }));
    });
    let _free = Free;
    // A limit below what is in use is refused; this one is above it.
    let _ = ALLOCATOR.set_limit(ALLOCATOR.allocated().saturating_add(bytes));
    action()
}
