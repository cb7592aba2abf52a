//! Guest images: folders under `images_dir`, each with a description in `image.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sublet_adapter::AdapterError;

const DESCRIPTION: &str = "image.toml";

/// One image, with absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) base: PathBuf,
    pub(crate) cmdline: String,
    /// Who the keys of the manifest log in as.
    pub(crate) user: String,
    pub(crate) min_memory_mib: u32,
    pub(crate) min_disk_gib: u32,
    /// How the console line begins that tells that the guest is up.
    pub(crate) ready_line: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    kernel: String,
    initrd: String,
    base: String,
    cmdline: String,
    user: String,
    min_memory_mib: u32,
    min_disk_gib: u32,
    ready_line: String,
}

/// The names of all images that can be loaded, sorted.
pub(crate) fn names(images_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(images_dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| load(images_dir, name).is_ok())
        .collect();
    names.sort();
    names
}

/// At least one image, or the remedy.
pub(crate) fn check(images_dir: &Path) -> Result<(), AdapterError> {
    let remedy = || format!("build one: guest/build.sh {}", images_dir.join("debian-guest").display());
    if !images_dir.is_dir() {
        let problem = format!("images_dir {} does not exist", images_dir.display());
        return Err(AdapterError::configuration(problem, remedy()));
    }
    if names(images_dir).is_empty() {
        let problem = format!("images_dir {} has no complete image", images_dir.display());
        return Err(AdapterError::configuration(problem, remedy()));
    }
    Ok(())
}

/// Reads an image's description.
///
/// A name comes from a buyer, so it is looked at before it becomes part of a path. One that is not there is the order's
/// fault; one that is broken is the provider's.
pub(crate) fn load(images_dir: &Path, name: &str) -> Result<Image, AdapterError> {
    let dir = images_dir.join(name);
    if !is_name(name) || !dir.join(DESCRIPTION).is_file() {
        let problem = format!("there is no image {name:?} here");
        return Err(AdapterError::permanent(problem, "choose one that the offer names (image=…)"));
    }
    let broken = |why: String| {
        let problem = format!("the image in {} cannot be used: {why}", dir.display());
        AdapterError::configuration(problem, format!("build it again: guest/build.sh {}", dir.display()))
    };
    let text = fs::read_to_string(dir.join(DESCRIPTION)).map_err(|error| broken(error.to_string()))?;
    let description: Description =
        toml::from_str(&text).map_err(|error| broken(format!("{DESCRIPTION}: {}", error.message())))?;
    let file = |name: &str| dir.join(name).canonicalize().map_err(|error| broken(format!("{name}: {error}")));
    Ok(Image {
        kernel: file(&description.kernel)?,
        initrd: file(&description.initrd)?,
        base: file(&description.base)?,
        cmdline: description.cmdline,
        user: description.user,
        min_memory_mib: description.min_memory_mib,
        min_disk_gib: description.min_disk_gib,
        ready_line: description.ready_line,
    })
}

/// `[a-z0-9.-]{1,64}` as in a manifest, and no hidden or parent folder.
fn is_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-';
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(fits)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sublet_adapter::ErrorKind;

    /// A folder that looks like an image; nothing in it boots.
    pub(crate) fn write_image(images_dir: &Path, name: &str) {
        let dir = images_dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        for file in ["kernel", "initrd", "base.qcow2"] {
            fs::write(dir.join(file), file).unwrap();
        }
        let text = "kernel = \"kernel\"\ninitrd = \"initrd\"\nbase = \"base.qcow2\"\ncmdline = \"quiet\"\n\
                    user = \"root\"\nmin_memory_mib = 96\nmin_disk_gib = 1\nready_line = \"ready\"\n";
        fs::write(dir.join(DESCRIPTION), text).unwrap();
    }

    #[test]
    fn names_are_those_that_load() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path()).unwrap_err().kind(), ErrorKind::Configuration);
        write_image(dir.path(), "b-1.2");
        write_image(dir.path(), "a");
        write_image(dir.path(), "broken");
        fs::remove_file(dir.path().join("broken/initrd")).unwrap();
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert_eq!(names(dir.path()), ["a", "b-1.2"]);
        check(dir.path()).unwrap();
        assert_eq!(load(dir.path(), "broken").unwrap_err().kind(), ErrorKind::Configuration);
    }

    #[test]
    fn a_name_never_leads_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), "a");
        write_image(&dir.path().join("a"), "inner");
        for name in ["..", ".", "", "a/inner", "../a", "A", "a\0"] {
            let error = load(dir.path(), name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permanent, "{name:?}: {error}");
        }
    }

    #[test]
    fn a_missing_folder_comes_with_the_command() {
        let error = check(Path::new("/nonexistent/images")).unwrap_err();
        assert!(error.remedy().contains("guest/build.sh"), "{error}");
    }
}
