//! The suite that every adapter has to pass, with real machines.

use crate::bench::HypervisorBench;
use sublet_adapter::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hypervisor_conforms() {
    conformance::run(&HypervisorBench::new()).await;
}
