//! The suite that every adapter has to pass: each check a test of its own, with a server of its own.

use sublet_adapter::conformance;

use crate::bench::AwsBench;

#[tokio::test]
async fn unknown_leases_are_harmless() {
    conformance::unknown_leases_are_harmless(&AwsBench::new().await).await;
}

#[tokio::test]
async fn misfits_are_refused() {
    conformance::misfits_are_refused(&AwsBench::new().await).await;
}

#[tokio::test]
async fn one_lease_is_one_instance() {
    conformance::one_lease_is_one_instance(&AwsBench::new().await).await;
}

#[tokio::test]
async fn lost_memory_loses_no_machine() {
    conformance::lost_memory_loses_no_machine(&AwsBench::new().await).await;
}

#[tokio::test]
async fn leases_share_nothing() {
    conformance::leases_share_nothing(&AwsBench::new().await).await;
}

#[tokio::test]
async fn a_crash_shows_and_heals() {
    conformance::a_crash_shows_and_heals(&AwsBench::new().await).await;
}

#[tokio::test]
async fn stop_keeps_what_provision_resumes() {
    conformance::stop_keeps_what_provision_resumes(&AwsBench::new().await).await;
}

#[tokio::test]
async fn a_kept_disk_is_taken_once() {
    conformance::a_kept_disk_is_taken_once(&AwsBench::new().await).await;
}
