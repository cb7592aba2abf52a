//! What several backends need in the same way.

mod locks;
mod ready;
mod text;

pub use locks::{LeaseGuard, LeaseLocks};
pub use ready::ssh_greeting;
pub use text::{console_tail, duration_text, resources_text};
