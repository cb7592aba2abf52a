use super::*;

fn record(byte: u8) -> Record {
    Record {
        version: RECORD_VERSION,
        lease: B256::repeat_byte(byte),
        id: "qemu-1".to_owned(),
        image: "debian-guest".to_owned(),
        unit: Resources { vcpus: 1, memory_mib: 128, disk_gib: 1, ..Resources::default() },
        units: 2,
        manifest: B256::ZERO,
        user: "root".to_owned(),
        host_key: "ssh-ed25519 AAAA".to_owned(),
        ssh_port: None,
        wanted: Wanted::Run,
        ready: false,
    }
}

fn state() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::new(dir.path().join("deep/state"));
    state.prepare().unwrap();
    (dir, state)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn records_survive_and_nobody_else_reads_them() {
    let (_dir, state) = state();
    let mut record = record(7);
    assert_eq!(state.load(record.lease).unwrap(), None);
    state.create(&record, |dir| write_private(&dir.join("hostkey"), b"secret")).unwrap();
    assert_eq!(state.load(record.lease).unwrap().as_ref(), Some(&record));
    assert_eq!(mode(state.root()), 0o700);
    assert_eq!(mode(&state.lease_dir(record.lease)), 0o700);
    assert_eq!(mode(&state.lease_dir(record.lease).join("hostkey")), 0o600);
    assert_eq!(mode(&state.lease_dir(record.lease).join(RECORD)), 0o600);

    record.ssh_port = Some(2222);
    state.save(&record).unwrap();
    assert_eq!(state.load(record.lease).unwrap(), Some(record));
}

#[test]
fn a_failed_beginning_leaves_nothing() {
    let (_dir, state) = state();
    let failed = state.create(&record(7), |_| Err(io::Error::other("no")));
    assert_eq!(failed.unwrap_err().to_string(), "no");
    assert_eq!(fs::read_dir(state.root()).unwrap().count(), 0);
}

#[test]
fn leftovers_are_no_leases_and_can_be_swept() {
    let (_dir, state) = state();
    let (b, a) = (record(9), record(3));
    state.create(&b, |_| io::Result::Ok(())).unwrap();
    state.create(&a, |_| io::Result::Ok(())).unwrap();
    fs::create_dir(state.draft_dir(B256::repeat_byte(4))).unwrap();
    fs::create_dir(state.grave_dir(B256::repeat_byte(5))).unwrap();
    fs::create_dir(state.root().join("something else")).unwrap();
    assert_eq!(state.leases().unwrap(), [a.lease, b.lease]);
    for lease in state.leftovers().unwrap() {
        state.sweep(lease).unwrap();
    }
    assert_eq!(state.leftovers().unwrap(), Vec::<B256>::new());

    state.remove(a.lease).unwrap();
    state.remove(a.lease).unwrap();
    assert_eq!(state.leases().unwrap(), [b.lease]);
}

#[test]
fn a_damaged_record_is_an_error_not_an_absence() {
    let (_dir, state) = state();
    let record = record(7);
    state.create(&record, |_| io::Result::Ok(())).unwrap();
    fs::write(state.lease_dir(record.lease).join(RECORD), b"{").unwrap();
    state.load(record.lease).unwrap_err();
    fs::remove_file(state.lease_dir(record.lease).join(RECORD)).unwrap();
    state.load(record.lease).unwrap_err();
    assert_eq!(state.leases().unwrap(), [record.lease]);
}

#[test]
fn an_open_folder_is_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    StateDir::new(dir.path().to_owned()).prepare().unwrap();
    assert_eq!(mode(dir.path()), 0o700);
}
