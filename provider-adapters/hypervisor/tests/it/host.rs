//! The host's side: what `check` finds, how trouble is told, and that a machine's life does not hang on the node's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::bench::{HypervisorBench, IMAGE};
use sublet_adapter::conformance::Bench;
use sublet_adapter::{Adapter, ErrorKind, InstanceState};
use sublet_adapter_hypervisor::{AccelChoice, Hypervisor, HypervisorConfig};

type Damage = fn(&mut HypervisorConfig);

async fn check(config: &HypervisorConfig) -> Result<(), sublet_adapter::AdapterError> {
    Hypervisor::new(config.clone()).unwrap().check().await
}

#[tokio::test]
async fn check_names_the_remedy_of_whatever_is_missing() {
    let bench = HypervisorBench::new();
    check(&bench.config).await.unwrap();
    let cases: [(&str, Damage, &str); 4] = [
        ("qemu", |config| config.qemu_binary = "/nonexistent/qemu".into(), "apt-get install"),
        ("qemu-img", |config| config.qemu_img_binary = "/nonexistent/qemu-img".into(), "qemu-utils"),
        ("images", |config| config.images_dir = "/nonexistent/images".into(), "guest/build.sh"),
        ("state", |config| config.state_dir = "/proc/nowhere".into(), "state_dir"),
    ];
    for (what, damage, remedy) in cases {
        let mut config = bench.config.clone();
        damage(&mut config);
        let error = check(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{what}: {error}");
        assert!(error.remedy().contains(remedy), "{what}: {error}");
    }
}

#[tokio::test]
async fn offers_name_what_the_host_really_has() {
    let bench = HypervisorBench::new();
    let adapter = bench.open();
    adapter.check().await.unwrap();
    let traits = adapter.traits();
    for fact in ["accel=tcg", "adapter=hypervisor", "arch=x86_64", &format!("image={IMAGE}")] {
        assert!(traits.iter().any(|have| have == fact), "{fact} in {traits:?}");
    }
    assert!(traits.is_sorted());
}

#[tokio::test]
async fn auto_takes_kvm_only_if_guests_boot_under_it_and_remembers() {
    let mut bench = HypervisorBench::new();
    bench.config.accel = AccelChoice::Auto;
    let adapter = bench.open();
    adapter.check().await.unwrap();
    let choice = adapter.traits().into_iter().find(|fact| fact.starts_with("accel=")).unwrap();
    let cache = bench.config.state_dir.join("accel.json");
    let kvm_opens = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    assert_eq!(cache.exists(), kvm_opens, "a probe was made only where there is something to probe");
    if kvm_opens {
        // Whatever the probe found, the next adapter believes the note, not another probe.
        let note = fs::read_to_string(&cache).unwrap();
        let works = note.contains("\"kvm_fails_with\": null");
        assert_eq!(choice, if works { "accel=kvm" } else { "accel=tcg" });
        let before = fs::metadata(&cache).unwrap().modified().unwrap();
        bench.open().check().await.unwrap();
        assert_eq!(fs::metadata(&cache).unwrap().modified().unwrap(), before);
    } else {
        assert_eq!(choice, "accel=tcg");
    }

    let order = bench.order("auto").await;
    let access = adapter.provision(&order).await.unwrap().access.unwrap();
    assert_eq!(bench.ssh(&access, "echo hello").await.unwrap(), "hello");
    adapter.deprovision(order.lease).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_never_answers_is_ended_and_told_with_its_console() {
    let mut bench = HypervisorBench::new();
    let images = tempfile::tempdir().unwrap();
    copy_image(&bench.config.images_dir.join(IMAGE), &images.path().join(IMAGE));
    let description = images.path().join(IMAGE).join("image.toml");
    let text =
        fs::read_to_string(&description).unwrap().replace("quiet panic=5", "rdinit=/bin/false panic=0");
    fs::write(&description, text).unwrap();
    bench.config.images_dir = images.path().to_owned();
    bench.config.boot_timeout = Duration::from_secs(12);

    let adapter = bench.open();
    let order = bench.order("mute").await;
    let error = adapter.provision(&order).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable);
    assert!(error.problem().contains("panic"), "the console's last lines are in it: {error}");
    assert_eq!(bench.processes(order.lease), Vec::<i32>::new());
    let seen = adapter.describe(order.lease).await.unwrap().unwrap();
    assert!(matches!(seen.state, InstanceState::Failed { .. }), "{:?}", seen.state);
    adapter.deprovision(order.lease).await.unwrap();
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
}

fn copy_image(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in ["kernel", "initrd", "base.qcow2", "image.toml"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[tokio::test]
async fn qemu_that_will_not_start_says_why() {
    let mut bench = HypervisorBench::new();
    let qemu = bench.config.state_dir.with_file_name("qemu");
    fs::write(&qemu, "#!/bin/sh\necho 'cannot set up guest memory' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    bench.config.qemu_binary = qemu;
    let order = bench.order("broken").await;
    let error = bench.open().provision(&order).await.unwrap_err();
    assert!(error.problem().contains("cannot set up guest memory"), "{error}");
    assert_eq!(bench.open().list().await.unwrap().len(), 1, "what was begun is found");
    bench.open().deprovision(order.lease).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_in_the_last_moment_is_changed_and_the_machine_is_on_its_own() {
    let mut bench = HypervisorBench::new();
    let qemu = bench.config.state_dir.with_file_name("qemu");
    // The first start meets a port that somebody has taken, as QEMU tells it; the second is the real one.
    let script = "#!/bin/sh\n[ -e tried ] && exec qemu-system-x86_64 \"$@\"\ntouch tried\n\
                  echo \"qemu: Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'\" >&2\nexit 1\n";
    fs::write(&qemu, script).unwrap();
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
    bench.config.qemu_binary = qemu;
    let adapter = bench.open();
    let order = bench.order("taken").await;
    assert!(adapter.provision(&order).await.unwrap().is_running());

    let pid = bench.processes(order.lease)[0];
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, pid.to_string(), "it leads a session of its own, so ours may end");
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let names: Vec<_> =
        environment.split('\0').filter_map(|pair| pair.split_once('=')).map(|pair| pair.0).collect();
    assert!(names.iter().all(|name| ["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
    adapter.deprovision(order.lease).await.unwrap();
}

#[tokio::test]
async fn callers_who_give_up_and_damaged_records_leave_nothing_that_cannot_be_ended() {
    let bench = HypervisorBench::new();
    let adapter = bench.open();
    let order = bench.order("given-up").await;
    // The caller goes away as soon as the lease is on disk.
    tokio::select! {
        _ = adapter.provision(&order) => {}
        () = async { while !bench.lease_dir(order.lease).exists() { tokio::task::yield_now().await } } => {}
    }
    let finished = adapter.provision(&order).await.unwrap();
    assert!(finished.is_running());
    assert_eq!(bench.processes(order.lease).len(), 1);

    fs::write(bench.lease_dir(order.lease).join("instance.json"), "not json").unwrap();
    let reopened = bench.open();
    let listed = reopened.list().await.unwrap();
    assert!(matches!(&listed[0].state, InstanceState::Failed { reason } if reason.contains("deprovision")));
    reopened.deprovision(order.lease).await.unwrap();
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
}

#[tokio::test]
async fn check_sweeps_what_an_interrupted_node_left() {
    let bench = HypervisorBench::new();
    bench.open().check().await.unwrap();
    let lease = "ab".repeat(32);
    for prefix in [".new-", ".gone-"] {
        fs::create_dir(bench.config.state_dir.join(format!("{prefix}{lease}"))).unwrap();
    }
    bench.open().check().await.unwrap();
    assert_eq!(fs::read_dir(&bench.config.state_dir).unwrap().count(), 0);
}
