//! Texts that people read or write: durations, resources, consoles.

use sublet_market::Resources;

/// Longer console lines are cut, so that a few lines stay a few kilobytes.
const MAX_LINE_CHARS: usize = 1000;

/// The last `lines` lines of a console's bytes, oldest first. The guest decides what is in them, so control characters
/// are stripped before anybody's terminal sees them; empty lines are left out.
#[must_use]
pub fn console_tail(bytes: &[u8], lines: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

fn clean(line: &str) -> String {
    let printable = line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control());
    printable.take(MAX_LINE_CHARS).collect::<String>().trim_end().to_owned()
}

/// Resources in words, for messages: `2 vcpus, 512 MiB, 8 GiB of disk`.
#[must_use]
pub fn resources_text(resources: &Resources) -> String {
    let Resources { vcpus, memory_mib, disk_gib, gpus, disk_iops, net_mbps } = resources;
    let mut text = format!("{vcpus} vcpus, {memory_mib} MiB, {disk_gib} GiB of disk");
    for (amount, name) in [(gpus, "gpus"), (disk_iops, "disk iops"), (net_mbps, "Mbit/s")] {
        if *amount > 0 {
            text.push_str(&format!(", {amount} {name}"));
        }
    }
    text
}

/// Durations in configuration files as people write them (`90s`, `2h`): for `#[serde(with = ...)]`.
pub mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    /// Reads the text.
    ///
    /// # Errors
    /// A text that is not a duration, with an example of one that is.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            D::Error::custom(format!("{text:?} is not a duration ({error}); write it as \"90s\""))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_clean_and_short() {
        let console = format!("one\r\n\x1b[31mtwo\x07\n\n\u{9b}th\tree\n{}", "x".repeat(5000));
        let tail = |lines| console_tail(console.as_bytes(), lines);
        assert_eq!(tail(3), ["[31mtwo", "th ree", &"x".repeat(MAX_LINE_CHARS)]);
        assert_eq!(tail(0), Vec::<String>::new());
        assert_eq!(console_tail(b"", 3), Vec::<String>::new());
    }

    #[test]
    fn resources_name_what_is_there() {
        let some = Resources { vcpus: 2, memory_mib: 512, disk_gib: 8, gpus: 1, ..Resources::default() };
        assert_eq!(resources_text(&some), "2 vcpus, 512 MiB, 8 GiB of disk, 1 gpus");
    }
}
