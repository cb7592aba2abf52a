//! What a tenant gets, seen from inside the machine and from its ssh client.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bench::HypervisorBench;
use sublet_adapter::conformance::Bench;
use sublet_adapter::{Adapter, LeaseOrder};
use sublet_market::{Access, Resources};
use tokio::net::TcpListener;

async fn start(adapter: &dyn Adapter, order: &LeaseOrder) -> Access {
    adapter.provision(order).await.unwrap().access.unwrap()
}

#[tokio::test]
async fn the_tenant_logs_in_at_once_and_finds_what_was_ordered() {
    let bench = HypervisorBench::new();
    let adapter = bench.open();
    let order = LeaseOrder { units: 2, ..bench.order("tenant").await };
    let access = start(&*adapter, &order).await;
    assert_eq!(bench.ssh(&access, "id -un; nproc").await.unwrap(), "root\n2");

    let memory_kib: u64 =
        bench.ssh(&access, "awk '/MemTotal/ { print $2 }' /proc/meminfo").await.unwrap().parse().unwrap();
    assert!(
        (160 * 1024..256 * 1024).contains(&memory_kib),
        "{memory_kib} KiB of 2 × 128 MiB, less the kernel"
    );
    let disk_kib: u64 =
        bench.ssh(&access, "df -k /data | awk 'END { print $2 }'").await.unwrap().parse().unwrap();
    assert!(disk_kib > 3700 * 1024, "{disk_kib} KiB of 2 × 2 GiB, less the file system's own");

    let wrong = Access { host_key: other_key(&access.host_key), ..access.clone() };
    let refused = bench.ssh(&wrong, "true").await.unwrap_err();
    assert!(refused.contains("Host key verification failed"), "{refused}");
    adapter.deprovision(order.lease).await.unwrap();
}

/// The same key with one bit changed.
fn other_key(line: &str) -> String {
    let (head, last) = line.split_at(line.len() - 1);
    format!("{head}{}", if last == "A" { "B" } else { "A" })
}

#[tokio::test]
async fn data_is_the_leases_own_and_survives_stop_and_crash() {
    let bench = HypervisorBench::new();
    let adapter = bench.open();
    let (left, right) = (bench.order("left").await, bench.order("right").await);
    let (a, b) = tokio::join!(start(&*adapter, &left), start(&*adapter, &right));
    bench.ssh(&a, "echo mine > /data/note && sync").await.unwrap();
    assert_eq!(bench.ssh(&b, "ls /data | grep -v lost").await.unwrap_err(), "", "the other disk is empty");

    adapter.stop(left.lease).await.unwrap();
    let log = adapter.logs(left.lease, 20).await.unwrap();
    assert!(log.iter().any(|line| line.contains("power button")), "it was asked politely: {log:?}");
    let a = start(&*adapter, &left).await;
    assert_eq!(bench.ssh(&a, "cat /data/note; mount | grep -c ' /data .*rw'").await.unwrap(), "mine\n1");

    bench.crash(left.lease).await;
    let a = start(&*adapter, &left).await;
    assert_eq!(bench.ssh(&a, "cat /data/note").await.unwrap(), "mine");
    for lease in [left.lease, right.lease] {
        adapter.deprovision(lease).await.unwrap();
    }
}

#[tokio::test]
async fn the_guest_does_not_reach_the_hosts_loopback() {
    let bench = HypervisorBench::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = visits.clone();
    let server = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    drop(tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    while visits.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }

    let adapter = bench.open();
    let order = bench.order("isolated").await;
    let access = start(&*adapter, &order).await;
    for address in ["10.0.2.2", "127.0.0.1"] {
        let visit = format!("nc -w 5 {address} {port} </dev/null && echo reached || echo refused");
        assert_eq!(bench.ssh(&access, &visit).await.unwrap(), "refused", "{address}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 1, "only the test's own visit");
    server.abort();
    adapter.deprovision(order.lease).await.unwrap();
}

#[tokio::test]
async fn the_least_machine_boots_in_a_folder_with_a_very_long_name() {
    let mut bench = HypervisorBench::new();
    bench.config.state_dir = bench.config.state_dir.join("a,long name/".repeat(12));
    let adapter = bench.open();
    let unit = Resources { vcpus: 1, memory_mib: 96, disk_gib: 1, disk_iops: 1000, ..Resources::default() };
    let order = LeaseOrder { unit, ..bench.order("least").await };
    let access = start(&*adapter, &order).await;
    assert_eq!(
        bench.ssh(&access, "hostname").await.unwrap(),
        format!("sublet-{}", &format!("{:x}", order.lease)[..8])
    );
    adapter.stop(order.lease).await.unwrap();
    let log = adapter.logs(order.lease, 5).await.unwrap();
    assert!(log.iter().any(|line| line.contains("power button")), "qmp works there too: {log:?}");
    adapter.deprovision(order.lease).await.unwrap();
}
