//! Provider adapter: one QEMU machine per lease, on this Linux host.
//!
//! ```text
//!   provision ─▶ validate ─▶ capacity? ─▶ folder on disk ─▶ qemu ─▶ ssh greets ─▶ Running
//!                                         (state.rs)        (qemu.rs, machine.rs)
//!   list, describe ◀─ folders + the kernel's list of processes + QMP       nothing is remembered in memory
//!   stop ─▶ power button, then quit, then kill          deprovision ─▶ the same without waiting, folder removed
//! ```
//!
//! QEMU runs detached: the node may end and come back, and finds its machines again. Isolation of the tenant
//! is QEMU's, with its seccomp filter, and user-mode networking with `restrict=on`: the guest reaches neither
//! the host (its loopback would be 10.0.2.2) nor any network; the one way in is its ssh port, forwarded from
//! a port of the host. Guests have no outbound network for now, and `net_mbps` is not shaped.

mod accel;
mod adapter;
mod capacity;
mod config;
mod console;
mod disk;
mod host;
mod hostkey;
mod image;
mod look;
mod machine;
mod process;
mod qemu;
mod qmp;
mod shared;
mod state;

pub use adapter::Hypervisor;
pub use config::{AccelChoice, HypervisorConfig};
