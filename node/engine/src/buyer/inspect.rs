//! Whether a machine is what is paid for: the node logs in with the key of its home, and reads how many CPUs,
//! how much memory and how much disk there is. ssh checks the host key on the way.
//!
//! Only a finding counts. A machine that does not let this node in (the owner's image may know other keys),
//! or says nothing of the kind, passes: its owner sees for himself.

use std::{process::Stdio, time::Duration};

use alloy_primitives::B256;
use sublet_base::{home::Home, ssh};
use sublet_market::{Access, Resources};
use tokio::{io::AsyncReadExt as _, process::Command};

/// What runs in the machine. All of it works for any user and on the smallest Linux.
const QUESTION: &str =
    "grep -c ^processor /proc/cpuinfo; grep ^MemTotal: /proc/meminfo; cat /proc/partitions";
/// A login takes seconds where the CPU is emulated.
const LIMIT: Duration = Duration::from_secs(30);
/// The answer has a line for each disk and partition.
const MOST_ANSWERED: u64 = 16 * 1024;
/// The kernel keeps a part of a machine's memory to itself, more of it in small ones: this many hundredths
/// must be left.
const LEAST_MEMORY: u64 = 75;
/// Disks are sold in round numbers.
const LEAST_DISK: u64 = 95;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// All that is paid for is there.
    Right,
    /// It is not what is paid for, and why.
    Wrong(String),
    /// It could not be seen, and why.
    Unknown(String),
}

impl Finding {
    /// For how long it counts: after that the machine is looked at again.
    pub(super) fn counts_for(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Right => 600,
            Self::Wrong(_) => 15,
            Self::Unknown(_) => 60,
        })
    }
}

/// Looks at the machine of `lease`, which is to have `paid`.
pub(super) async fn inspect(home: &Home, lease: B256, access: &Access, paid: &Resources) -> Finding {
    let arguments = match ssh::arguments(home, lease, access) {
        Ok(arguments) => arguments,
        Err(error) => return Finding::Unknown(error.to_string()),
    };
    let mut program = Command::new(ssh::PROGRAM);
    program.args(["-oBatchMode=yes", "-T"]).args(arguments).arg(QUESTION);
    match tokio::time::timeout(LIMIT, answer(program)).await {
        Ok(Ok((true, said, _))) => judge(&said, paid),
        Ok(Ok((false, _, why))) if why.contains("Host key verification failed") => Finding::Wrong(format!(
            "the server at {}:{} does not have the host key that the provider named",
            access.host, access.port
        )),
        Ok(Ok((false, _, why))) => Finding::Unknown(format!("ssh: {}", why.trim())),
        Ok(Err(error)) => Finding::Unknown(format!("{}: {error}", ssh::MISSING)),
        Err(_) => Finding::Unknown(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Whether it went well, and what came out of it.
async fn answer(mut program: Command) -> std::io::Result<(bool, String, String)> {
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = program.spawn()?;
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (out, errors) = (child.stdout.take(), child.stderr.take());
    // A machine that talks for ever is cut off, and ssh ends as its pipe is closed.
    let read_out = async {
        if let Some(out) = out {
            out.take(MOST_ANSWERED).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let read_errors = async {
        if let Some(errors) = errors {
            errors.take(MOST_ANSWERED).read_to_end(&mut complained).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::try_join!(read_out, read_errors)?;
    let ended = child.wait().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((ended.success(), text(&said), text(&complained)))
}

fn judge(said: &str, paid: &Resources) -> Finding {
    let Some((vcpus, memory_kib, disk_kib)) = parse(said) else {
        return Finding::Unknown("the machine does not report its size".to_owned());
    };
    let memory_mib = memory_kib / 1024;
    let disk_gib = disk_kib / (1024 * 1024);
    let short = |has: u64, paid: u64, least: u64| has.saturating_mul(100) < paid.saturating_mul(least);
    let wrong =
        |has: String, paid: String| Finding::Wrong(format!("the machine has {has}, {paid} are paid for"));
    if vcpus < u64::from(paid.vcpus) {
        wrong(format!("{vcpus} vCPU"), paid.vcpus.to_string())
    } else if short(memory_kib, u64::from(paid.memory_mib) * 1024, LEAST_MEMORY) {
        wrong(format!("{memory_mib} MiB of memory"), format!("{} MiB", paid.memory_mib))
    } else if short(disk_kib, u64::from(paid.disk_gib) * 1024 * 1024, LEAST_DISK) {
        wrong(format!("{disk_gib} GiB of disk"), format!("{} GiB", paid.disk_gib))
    } else {
        Finding::Right
    }
}

/// CPUs, KiB of memory, KiB of disk.
fn parse(said: &str) -> Option<(u64, u64, u64)> {
    let mut lines = said.lines();
    let vcpus = lines.next()?.trim().parse().ok()?;
    let memory = lines.next()?.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    let disks: Vec<(&str, u64)> = lines.filter_map(disk).collect();
    if disks.is_empty() {
        return None;
    }
    // A partition has the name of its disk and more: vda and vda1, nvme0n1 and nvme0n1p1.
    let is_part = |name: &str| disks.iter().any(|(other, _)| *other != name && name.starts_with(other));
    let whole = disks.iter().filter(|(name, _)| !is_part(name));
    Some((vcpus, memory, whole.fold(0, |sum, (_, size)| sum.saturating_add(*size))))
}

/// A line of /proc/partitions: numbers of the device, KiB, name. Those in memory and on loops do not count.
fn disk(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let (size, name) = (fields.next()?.parse().ok()?, fields.next()?);
    let real = !["ram", "zram", "loop", "sr", "fd"].iter().any(|other| name.starts_with(other));
    real.then_some((name, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAID: Resources =
        Resources { vcpus: 2, memory_mib: 512, disk_gib: 10, gpus: 0, disk_iops: 0, net_mbps: 0 };

    fn said(vcpus: u64, memory_kib: u64, disks: &str) -> String {
        format!("{vcpus}\nMemTotal:  {memory_kib} kB\nmajor minor  #blocks  name\n\n{disks}")
    }

    const DISK: &str =
        " 254   0   10485760 vda\n 254   1   10484736 vda1\n   7   0   99999999 loop0\n 251  0 99999 zram0\n";

    #[test]
    fn what_is_paid_for_must_be_there() {
        let kib = 512 * 1024;
        assert_eq!(judge(&said(2, kib * 80 / 100, DISK), &PAID), Finding::Right);
        assert_eq!(judge(&said(4, kib * 2, DISK), &PAID), Finding::Right);
        let wrong = |vcpus, memory, disks: &str| match judge(&said(vcpus, memory, disks), &PAID) {
            Finding::Wrong(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(1, kib, DISK), "the machine has 1 vCPU, 2 are paid for");
        assert_eq!(wrong(2, kib / 2, DISK), "the machine has 256 MiB of memory, 512 MiB are paid for");
        let half = " 8 0 5242880 sda\n 8 1 5242000 sda1\n";
        assert_eq!(wrong(2, kib, half), "the machine has 5 GiB of disk, 10 GiB are paid for");
    }

    #[test]
    fn two_disks_count_together_and_partitions_not_twice() {
        let two = " 259 0 5242880 nvme0n1\n 259 1 5242879 nvme0n1p1\n 259 2 5242880 nvme1n1\n";
        assert_eq!(parse(&said(1, 1, two)), Some((1, 1, 2 * 5_242_880)));
    }

    #[test]
    fn what_makes_no_sense_is_no_finding() {
        for said in
            ["", "2\n", "two\nMemTotal: 1 kB\n 8 0 1 sda\n", "2\nMemTotal: much\n", "2\nMemTotal: 1 kB\n"]
        {
            assert!(matches!(judge(said, &PAID), Finding::Unknown(_)), "{said:?}");
        }
    }
}
