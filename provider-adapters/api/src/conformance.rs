//! What every backend has to do, as tests: a backend's own tests implement [`Bench`] and call [`run`], or each check
//! as a test of its own where machines are slow.
//!
//! Each check is a function of its own, takes a bench without machines and leaves it so. A check panics when
//! the backend misbehaves, as a test does.

#![expect(clippy::expect_used, reason = "this module is test code that lives beside the trait it tests")]

use std::sync::Arc;

use alloy_primitives::{Address, B256, keccak256};
use async_trait::async_trait;
use sublet_market::{Manifest, Resources, Spec, Traits};

use crate::{Adapter, ErrorKind, Instance, InstanceState, KeptDisk, LeaseOrder};

/// A well-formed public key whose private half nobody has.
const SOME_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl nobody@example.org";

/// What the suite's leases cost, in base units: 0.9 CTK.
const COST: u128 = 900_000_000_000_000_000;

/// Who leases the suite's machines out.
pub const PROVIDER: Address = Address::repeat_byte(0x5b);

/// A host with a backend, as the suite sees it.
#[async_trait]
pub trait Bench: Send + Sync {
    /// A new adapter on the same host that remembers nothing of earlier ones.
    fn open(&self) -> Arc<dyn Adapter>;

    /// Ends a lease's machine behind the adapter's back and returns once it is gone.
    async fn crash(&self, lease: B256);

    /// All that the host still holds for a lease (files, processes), each with a word that a reader understands.
    async fn leftovers(&self, lease: B256) -> Vec<String>;

    /// The name of an image that the host has.
    fn image(&self) -> String;

    /// A unit of which the host's capacity holds exactly two.
    fn unit(&self) -> Resources;
}

/// Runs the whole suite. The bench must have no machines.
///
/// # Panics
/// With the first rule that the backend breaks.
pub async fn run(bench: &dyn Bench) {
    bench.open().check().await.expect("the bench's host can run machines");
    unknown_leases_are_harmless(bench).await;
    misfits_are_refused(bench).await;
    one_lease_is_one_instance(bench).await;
    lost_memory_loses_no_machine(bench).await;
    leases_share_nothing(bench).await;
    a_crash_shows_and_heals(bench).await;
    stop_keeps_what_provision_resumes(bench).await;
    a_kept_disk_is_taken_once(bench).await;
}

/// Asking about, stopping and deprovisioning what never was.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn unknown_leases_are_harmless(bench: &dyn Bench) {
    let adapter = bench.open();
    let lease = lease("unknown");
    assert_eq!(adapter.describe(lease).await.expect("describe"), None);
    adapter.stop(lease).await.expect("stop of an unknown lease is fine");
    adapter.deprovision(lease).await.expect("deprovision of an unknown lease is fine");
    let error = adapter.logs(lease, 10).await.expect_err("logs of an unknown lease");
    assert_eq!(error.kind(), ErrorKind::Permanent);
    let error = adapter.resume(lease).await.expect_err("resume of an unknown lease");
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert_eq!(adapter.list().await.expect("list"), Vec::new());
}

/// Orders that the host cannot carry out: refused before anything is begun, by `validate` and by `provision`.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn misfits_are_refused(bench: &dyn Bench) {
    let adapter = bench.open();
    let good = order(bench, "misfit");
    let manifest = |image: &str| Manifest { image: image.to_owned(), ..good.manifest.clone() };
    let unit = |unit: Resources| LeaseOrder { unit, ..good.clone() };
    let misfits = [
        ("gpus", unit(Resources { gpus: 1, ..good.unit })),
        ("no vcpus", unit(Resources { vcpus: 0, ..good.unit })),
        ("no memory", unit(Resources { memory_mib: 0, ..good.unit })),
        ("no units", LeaseOrder { units: 0, ..good.clone() }),
        ("too many units", LeaseOrder { units: 3, ..good.clone() }),
        ("units that overflow", LeaseOrder { units: u32::MAX, ..good.clone() }),
        ("no such image", LeaseOrder { manifest: manifest("no-such-image"), ..good.clone() }),
        ("a path for an image", LeaseOrder { manifest: manifest(".."), ..good.clone() }),
    ];
    for (what, order) in misfits {
        let error = adapter.validate(&spec(&order), &order.manifest).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{what}: {error}");
        let error = adapter.provision(&order).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Permanent, "{what}: {error}");
        assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new(), "{what}");
    }
    adapter.validate(&spec(&good), &good.manifest).await.expect("a fitting order");
}

/// However often and however concurrently a lease is provisioned, it has one instance; another order under
/// its id is refused.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn one_lease_is_one_instance(bench: &dyn Bench) {
    let adapter = bench.open();
    let order = order(bench, "one");
    let (a, b, c) =
        tokio::join!(adapter.provision(&order), adapter.provision(&order), adapter.provision(&order));
    let instance = running(a.expect("first of three"));
    assert_eq!(b.expect("second of three"), instance);
    assert_eq!(c.expect("third of three"), instance);
    assert_eq!(adapter.provision(&order).await.expect("once more"), instance);
    assert_eq!(adapter.list().await.expect("list"), vec![instance]);

    let other = LeaseOrder { units: 2, ..order.clone() };
    let error = adapter.provision(&other).await.expect_err("another order under the same lease id");
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    remove(bench, &*adapter, order.lease).await;
}

/// A node that has lost everything still finds its machines, knows what they hold, and can start and end them.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn lost_memory_loses_no_machine(bench: &dyn Bench) {
    let order = order(bench, "lost");
    let instance = running(bench.open().provision(&order).await.expect("provision"));

    let reopened = bench.open();
    assert_eq!(reopened.list().await.expect("list"), vec![instance.clone()]);
    assert_eq!(reopened.describe(order.lease).await.expect("describe"), Some(instance.clone()));
    assert_eq!(reopened.provision(&order).await.expect("provision again"), instance);
    assert!(!reopened.logs(order.lease, 5).await.expect("logs").is_empty(), "the console is still there");

    let reopened = bench.open();
    assert_eq!(Some(instance.total), order.total(), "what it holds is known");
    bench.crash(order.lease).await;
    assert_same_machine(&instance, &running(reopened.resume(order.lease).await.expect("resume")));
    reopened.stop(order.lease).await.expect("stop");
    assert_same_machine(&instance, &running(reopened.resume(order.lease).await.expect("resume again")));
    remove(bench, &*reopened, order.lease).await;
}

/// Two leases have nothing in common, a third one does not fit, and room is free again when one ends.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn leases_share_nothing(bench: &dyn Bench) {
    let adapter = bench.open();
    let (left, right, third) = (order(bench, "left"), order(bench, "right"), order(bench, "third"));
    let (a, b) = tokio::join!(adapter.provision(&left), adapter.provision(&right));
    let (a, b) = (running(a.expect("left")), running(b.expect("right")));
    assert_ne!(a.id, b.id);
    let (door_a, door_b) = (a.access.expect("access"), b.access.expect("access"));
    assert_ne!(door_a.host_key, door_b.host_key, "each machine has a host key of its own");
    assert_ne!((door_a.host, door_a.port), (door_b.host, door_b.port));
    assert_eq!(adapter.list().await.expect("list").len(), 2);

    let error = adapter.provision(&third).await.expect_err("a full host");
    assert_eq!(error.kind(), ErrorKind::Quota, "{error}");
    assert_eq!(bench.leftovers(third.lease).await, Vec::<String>::new());

    remove(bench, &*adapter, left.lease).await;
    assert!(
        running(adapter.describe(right.lease).await.expect("describe").expect("right is there")).is_running()
    );
    running(adapter.provision(&third).await.expect("the freed room"));
    remove(bench, &*adapter, third.lease).await;
    remove(bench, &*adapter, right.lease).await;
}

/// A machine that dies is seen to be gone, and provisioning brings the same one back.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn a_crash_shows_and_heals(bench: &dyn Bench) {
    let adapter = bench.open();
    let order = order(bench, "crash");
    let before = running(adapter.provision(&order).await.expect("provision"));
    bench.crash(order.lease).await;

    for adapter in [adapter.clone(), bench.open()] {
        let seen = adapter.describe(order.lease).await.expect("describe").expect("still known");
        assert!(
            matches!(seen.state, InstanceState::Failed { .. } | InstanceState::Stopped),
            "{:?}",
            seen.state
        );
    }
    let after = running(adapter.provision(&order).await.expect("provision again"));
    assert_same_machine(&before, &after);
    bench.crash(order.lease).await;
    remove(bench, &*adapter, order.lease).await;
}

/// Stop twice, look, resume: the same machine.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn stop_keeps_what_provision_resumes(bench: &dyn Bench) {
    let adapter = bench.open();
    let order = order(bench, "stop");
    let before = running(adapter.provision(&order).await.expect("provision"));
    adapter.stop(order.lease).await.expect("stop");
    adapter.stop(order.lease).await.expect("stop again");
    let seen = bench.open().describe(order.lease).await.expect("describe").expect("still known");
    assert_eq!(seen.state, InstanceState::Stopped);

    let after = running(adapter.provision(&order).await.expect("resume"));
    assert_same_machine(&before, &after);
    remove(bench, &*adapter, order.lease).await;
}

/// A disk that outlives its machine goes to the next order that names it, and to no other.
///
/// # Panics
/// When the backend breaks the rule.
pub async fn a_kept_disk_is_taken_once(bench: &dyn Bench) {
    let adapter = bench.open();
    let first = order(bench, "first life");
    running(adapter.provision(&first).await.expect("provision"));
    adapter.retire(first.lease).await.expect("retire");
    adapter.retire(first.lease).await.expect("retire again");
    assert_eq!(adapter.describe(first.lease).await.expect("describe"), None, "the machine is gone");
    if !adapter.keeps_disks() {
        assert_eq!(bench.leftovers(first.lease).await, Vec::<String>::new());
        return;
    }
    let disk = KeptDisk { lease: first.lease, image: bench.image(), disk_gib: first.unit.disk_gib };
    assert_eq!(bench.open().kept().await.expect("kept"), std::slice::from_ref(&disk));
    // The end of a lease may be taken back: it goes on with its own disk.
    running(adapter.provision(&first).await.expect("provision after all"));
    assert_eq!(adapter.kept().await.expect("kept"), []);
    adapter.retire(first.lease).await.expect("retire once more");
    assert_eq!(adapter.kept().await.expect("kept"), [disk]);
    let mut second = order(bench, "second life");
    second.manifest.disk_of = Some(first.lease);
    let alive = running(adapter.provision(&second).await.expect("provision with the old disk"));
    assert_eq!(running(bench.open().provision(&second).await.expect("the same again")).id, alive.id);
    assert_eq!(adapter.kept().await.expect("kept"), []);
    assert_eq!(bench.leftovers(first.lease).await, Vec::<String>::new());
    let mut third = order(bench, "third life");
    third.manifest.disk_of = Some(first.lease);
    let error = adapter.provision(&third).await.expect_err("the disk is another's by now");
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");

    adapter.retire(second.lease).await.expect("retire");
    adapter.deprovision(second.lease).await.expect("deprovision");
    assert_eq!(adapter.kept().await.expect("kept"), [], "removed with all else");
    remove(bench, &*adapter, second.lease).await;
    remove(bench, &*adapter, third.lease).await;
}

/// An order of one unit that fits the bench. The name decides the lease's id.
#[must_use]
pub fn order(bench: &dyn Bench, name: &str) -> LeaseOrder {
    let manifest = Manifest {
        salt: keccak256(b"conformance salt"),
        image: bench.image(),
        ssh_authorized_keys: vec![SOME_KEY.to_owned()],
        disk_of: None,
    };
    LeaseOrder { lease: lease(name), unit: bench.unit(), units: 1, manifest, cost: COST, provider: PROVIDER }
}

/// The lease id that goes by a name in this suite.
#[must_use]
pub fn lease(name: &str) -> B256 {
    keccak256(format!("conformance lease {name}"))
}

/// The spec that an order would come from.
#[must_use]
pub fn spec(order: &LeaseOrder) -> Spec {
    // A malformed manifest has no hash; it is refused before the hash is looked at.
    let manifest = order.manifest.hash().unwrap_or_default();
    Spec { unit: order.unit, units: order.units, traits: Traits::default(), manifest }
}

async fn remove(bench: &dyn Bench, adapter: &dyn Adapter, lease: B256) {
    adapter.deprovision(lease).await.expect("deprovision");
    assert_eq!(adapter.describe(lease).await.expect("describe"), None);
    assert_eq!(bench.leftovers(lease).await, Vec::<String>::new());
    adapter.deprovision(lease).await.expect("deprovision again");
}

fn running(instance: Instance) -> Instance {
    assert_eq!(instance.state, InstanceState::Running);
    assert!(instance.access.is_some(), "a running machine has a way in");
    instance
}

fn assert_same_machine(before: &Instance, after: &Instance) {
    assert_eq!(before.id, after.id);
    let key = |instance: &Instance| instance.access.as_ref().map(|access| access.host_key.clone());
    assert_eq!(key(before), key(after), "the host key outlives a restart");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FAKE_IMAGE, FakeAdapter, FakeHost};

    struct FakeBench(FakeHost);

    #[async_trait]
    impl Bench for FakeBench {
        fn open(&self) -> Arc<dyn Adapter> {
            Arc::new(FakeAdapter::on(self.0.clone()))
        }

        async fn crash(&self, lease: B256) {
            self.0.crash(lease);
        }

        async fn leftovers(&self, lease: B256) -> Vec<String> {
            let left = FakeAdapter::on(self.0.clone()).describe(lease).await.expect("describe");
            left.into_iter().map(|instance| instance.id).collect()
        }

        fn image(&self) -> String {
            FAKE_IMAGE.to_owned()
        }

        fn unit(&self) -> Resources {
            Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() }
        }
    }

    #[tokio::test]
    async fn the_fake_adapter_conforms() {
        let capacity = Resources { vcpus: 2, memory_mib: 512, disk_gib: 2, ..Resources::default() };
        run(&FakeBench(FakeHost::new(capacity))).await;
    }
}
