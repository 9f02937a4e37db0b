//! The libraries that the user has opened before, by their SHA-256, in the user's own configuration folder.
//!
//! Who opened a library once has run its code; the same bytes run nothing new. So settings that nobody named may ask for them again.
//! The file has a line for each, as `sha256sum` prints it.

use mrpf_api::registry::PluginLibrary;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::ownership;

/// The file.
fn place() -> Option<PathBuf> {
    dirs::config_dir().map(|folder| folder.join("mrpf").join("opened-plugins"))
}

/// Notes that the user had this library opened, or built it. Where that cannot be written it has to be named again next time.
pub fn remember(sha256: &str, path: &Path) {
    if let Some(place) = place().filter(|place| !is_in(place, sha256)) {
        let _ = append(&place, sha256, path);
    }
}

/// Notes several.
pub(super) fn remember_all(libraries: &[&PluginLibrary]) {
    libraries.iter().for_each(|library| remember(&library.sha256, &library.path));
}

/// Whether the user had a library with this SHA-256 opened before.
pub(super) fn is_known(sha256: &str) -> bool {
    place().is_some_and(|place| is_in(&place, sha256))
}

fn append(place: &Path, sha256: &str, path: &Path) -> std::io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // One call, so that lines of several processes do not mix. Whatever the path holds, it stays on its line.
    let line = format!("{sha256}  {}\n", path.display().to_string().escape_debug());
    options.open(place)?.write_all(line.as_bytes())
}

/// A list that others can write to says nothing.
fn is_in(place: &Path, sha256: &str) -> bool {
    let read = || -> Option<String> {
        let mut file = File::open(place).ok()?;
        ownership::check(place, &file.metadata().ok()?).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let digest = |line: &str| line.split(' ').next() == Some(sha256);
    !sha256.is_empty() && read().is_some_and(|text| text.lines().any(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("mrpf/opened-plugins");
        let [mine, other] = ["ab".repeat(32), "cd".repeat(32)];
        assert!(!is_in(&place, &mine));
        append(&place, &mine, Path::new(&format!("a\n{other}  b.so"))).expect("it is written");
        assert!(is_in(&place, &mine) && !is_in(&place, &other) && !is_in(&place, ""));
    }

    #[cfg(all(unix, feature = "dynamic-plugins"))]
    #[test]
    fn a_list_that_others_can_write_to_says_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (place, mine) = (folder.path().join("opened-plugins"), "ab".repeat(32));
        append(&place, &mine, Path::new("a.so")).expect("it is written");
        assert!(is_in(&place, &mine));
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666)).expect("a mode");
        assert!(!is_in(&place, &mine));
    }
}
