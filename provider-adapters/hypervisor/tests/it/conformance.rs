//! The suite that every adapter has to pass, with real machines: each check a test of its own, so that a slow host
//! shows which one it was.

use sublet_adapter::conformance;

use crate::bench::HypervisorBench;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_leases_are_harmless() {
    conformance::unknown_leases_are_harmless(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misfits_are_refused() {
    conformance::misfits_are_refused(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lease_is_one_instance() {
    conformance::one_lease_is_one_instance(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_memory_loses_no_machine() {
    conformance::lost_memory_loses_no_machine(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_share_nothing() {
    conformance::leases_share_nothing(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_shows_and_heals() {
    conformance::a_crash_shows_and_heals(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stop_keeps_what_provision_resumes() {
    conformance::stop_keeps_what_provision_resumes(&HypervisorBench::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_disk_is_taken_once() {
    conformance::a_kept_disk_is_taken_once(&HypervisorBench::new()).await;
}
