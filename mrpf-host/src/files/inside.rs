//! Files inside a run or comparison directory. The directory itself may be a link that the user named; what lies in it is ours, so a link
//! in it was put there by somebody else and would lead our writing elsewhere.

use mrpf_api::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::file_type::refused;
use super::{UNFINISHED, failed};

/// Writes a whole file inside a run or comparison directory. A reader sees the old file or the new one, never half of it.
///
/// # Errors
/// [`ErrorKind::Io`] with the path and the system's reason, also where something stands that is no file; whatever stood there before
/// still does.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    file_or_nothing(path).and_then(|()| replace(path, contents)).map_err(|error| failed("write", path, &error))
}

/// Opens a file inside a run or comparison directory, where it is appended to or locked.
///
/// # Errors
/// [`ErrorKind::Io`] with the path and the system's reason, also where a link, a device or a pipe stands.
pub fn open_inside(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let mut open = || {
        file_or_nothing(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // What has been put there since is not followed either, and a pipe that nobody reads does not make us wait.
            options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        }
        let file = options.open(path)?;
        match file.metadata()? {
            found if found.is_file() => Ok(file),
            found => Err(refused(found.file_type(), "a file")),
        }
    };
    open().map_err(|error| failed("write", path, &error))
}

/// Refuses a place where something stands that is no file.
///
/// # Errors
/// [`ErrorKind::Io`] with what stands there.
pub fn refuse_special(path: &Path) -> Result<()> {
    file_or_nothing(path).map_err(|error| failed("write", path, &error))
}

fn file_or_nothing(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(refused(found.file_type(), "a file")),
        // Nothing is there, or the system says why when it is opened.
        _ => Ok(()),
    }
}

/// Refuses a run or comparison directory that has symbolic links in it, before anything is written there.
///
/// # Errors
/// [`ErrorKind::Io`] naming the first link, or the folder that cannot be read.
pub fn refuse_links(directory: &Path) -> Result<()> {
    let unreadable = |error: io::Error| failed("read", directory, &error);
    let mut entries: Vec<_> = match std::fs::read_dir(directory) {
        // It has been removed since, or belongs to somebody else, as `lost+found` does: nothing is written there.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(());
        }
        found => found.and_then(Iterator::collect).map_err(unreadable)?,
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_symlink() {
            let message = format!("{} is a symbolic link, and mrpf writes through none", entry.path().display());
            return Err(Error::new(ErrorKind::Io, message)
                .hint("put what it points to in its place, remove it, or name another directory with --out"));
        }
        if kind.is_dir() {
            refuse_links(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes beside and renames. A file that is replaced keeps its permissions; a new one gets those of any other new file.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut beside = tempfile::Builder::new();
    beside.prefix(UNFINISHED);
    #[cfg(unix)]
    let open_to_others = {
        use std::os::unix::fs::PermissionsExt;
        std::fs::Permissions::from_mode(0o666)
    };
    #[cfg(unix)]
    beside.permissions(open_to_others);
    let mut file = beside.tempfile_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    if let Ok(old) = std::fs::symlink_metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    type Tested = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn nothing_is_written_through_a_link() -> Tested {
        let folder = tempfile::tempdir()?;
        let [mine, link, pipe] = ["mine", "link", "pipe"].map(|name| folder.path().join(name));
        std::fs::write(&mine, "mine")?;
        symlink(&mine, &link)?;
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for (path, what) in [(&link, "a symbolic link"), (&pipe, "a named pipe")] {
            let options = || File::options().create(true).append(true).to_owned();
            let told = [write_atomically(path, b"x"), open_inside(path, &mut options()).map(drop)];
            for error in told.map(|told| told.expect_err(what)) {
                assert!(error.to_string().contains(&format!("{}: it is {what}", path.display())), "{error}");
            }
        }
        assert_eq!(std::fs::read(&mine)?, b"mine");
        let error = refuse_links(folder.path()).expect_err("a link");
        assert!(error.to_string().contains("link is a symbolic link"), "{error}");
        std::fs::remove_file(&link)?;
        refuse_links(folder.path())?;
        std::fs::create_dir_all(folder.path().join("deeper/er"))?;
        symlink("/", folder.path().join("deeper/er/root"))?;
        let error = refuse_links(folder.path()).expect_err("a link below");
        assert!(error.to_string().contains("deeper/er/root is"), "{error}");
        Ok(())
    }

    #[test]
    fn a_directory_that_the_user_named_by_a_link_is_written_into() -> Tested {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("real"))?;
        let named = folder.path().join("named");
        symlink("real", &named)?;
        refuse_links(&named)?;
        write_atomically(&named.join("networks/a"), b"x")?;
        open_inside(&named.join("log"), File::options().create(true).append(true))?.write_all(b"y")?;
        assert_eq!(std::fs::read(folder.path().join("real/networks/a"))?, b"x");
        assert_eq!(std::fs::read(folder.path().join("real/log"))?, b"y");
        Ok(())
    }
}
