//! Checks that nothing is left behind: no process that names a folder, no folder.

use std::path::Path;

/// Processes whose command line names `dir`, as `pid command`.
pub fn processes_naming(dir: &Path) -> anyhow::Result<Vec<String>> {
    let needle = dir.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == std::process::id().to_string() {
            continue;
        }
        // A process that ends while we look is what we want.
        let Ok(cmdline) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        if cmdline.contains(&needle) {
            found.push(format!("{name} {cmdline}"));
        }
    }
    Ok(found)
}

/// Fails when a process names `dir`, or `dir` is still there.
pub fn assert_gone(dir: &Path) -> anyhow::Result<()> {
    let processes = processes_naming(dir)?;
    anyhow::ensure!(processes.is_empty(), "left behind: {}", processes.join("; "));
    anyhow::ensure!(!dir.exists(), "left behind: {}", dir.display());
    Ok(())
}
