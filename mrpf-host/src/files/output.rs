//! Files that a user named, such as `--out FILE`.

use mrpf_api::Result;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::failed;
use super::file_type::{is_open_file, is_stream, refused};
use super::inside::replace;

/// The most links that are followed, as many as Linux follows.
const MOST_LINKS: usize = 40;

/// Where the bytes go.
enum Place {
    /// A file, there or not: it is written beside and renamed.
    File(PathBuf),
    /// A device, a pipe, or an open file such as `/dev/stdout`: it takes the bytes as they come.
    Stream(PathBuf),
}

/// Writes a file that the user named. A reader sees the old file or the new one, never half of it. Symbolic links are followed and stay;
/// devices, pipes and `/dev/stdout` are written to and stay.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] with the path and the system's reason, also for a directory, a disk or a socket; a file that stood
/// there before still does.
pub fn write_output(path: &Path, contents: &[u8]) -> Result<()> {
    let write = || match place(path)? {
        Place::File(target) => replace(&target, contents),
        Place::Stream(target) => {
            // Appending, because an open file may hold something already.
            let mut stream = std::fs::File::options().append(true).open(target)?;
            stream.write_all(contents)?;
            stream.flush()
        }
    };
    write().map_err(|error| failed("write", path, &error))
}

/// Whether something stands at `path` that a new file would replace: anything but a device or a pipe, which stay.
pub fn is_taken(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !is_stream(found.file_type()) && !is_open_file(path))
}

fn place(path: &Path) -> io::Result<Place> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let kind = match std::fs::symlink_metadata(&path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::File(path)),
            Err(error) => return Err(error),
        };
        if kind.is_file() {
            return Ok(Place::File(path));
        } else if is_stream(kind) {
            return Ok(Place::Stream(path));
        } else if !kind.is_symlink() {
            return Err(refused(kind, "a file"));
        } else if is_open_file(&path) {
            return Ok(Place::Stream(path));
        }
        let target = std::fs::read_link(&path)?;
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    type Tested = std::result::Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn links_are_followed_and_stay() -> Tested {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real"))?;
        std::fs::write(at("real/old"), "old")?;
        symlink("real/old", at("old"))?;
        symlink("old", at("twice"))?;
        symlink("real/new", at("new"))?;
        for (link, target) in [("twice", "real/old"), ("new", "real/new")] {
            write_output(&at(link), b"x")?;
            assert!(std::fs::symlink_metadata(at(link))?.is_symlink(), "{link}");
            assert_eq!(std::fs::read(at(target))?, b"x", "{target}");
        }
        symlink("b", at("a"))?;
        symlink("a", at("b"))?;
        let error = write_output(&at("a"), b"x").expect_err("a circle");
        assert!(error.to_string().contains("links lead in a circle"), "{error}");
        Ok(())
    }

    #[test]
    fn devices_and_pipes_are_written_to_and_stay() -> Tested {
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe)
        });
        write_output(&pipe, b"through")?;
        assert_eq!(reader.join().map_err(|_| "a panic")??, b"through");
        assert!(std::fs::symlink_metadata(&pipe)?.file_type().is_fifo());
        write_output(Path::new("/dev/null"), b"x")?;
        let null = std::fs::symlink_metadata("/dev/null")?;
        assert!(null.file_type().is_char_device());
        #[cfg(target_os = "linux")]
        {
            let error = write_output(Path::new("/dev/full"), b"x").expect_err("a full device");
            assert!(error.to_string().contains("cannot write /dev/full: No space left"), "{error}");
        }
        assert!(!is_taken(&pipe) && !is_taken(Path::new("/dev/null")) && is_taken(folder.path()));
        Ok(())
    }

    #[test]
    fn a_directory_and_a_socket_are_refused_by_name() -> Tested {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("socket");
        let _open = std::os::unix::net::UnixListener::bind(&socket)?;
        for (path, what) in [(folder.path(), "a directory"), (&socket, "a socket")] {
            let error = write_output(path, b"x").expect_err(what);
            assert!(error.to_string().ends_with(&format!("it is {what}, expected a file")), "{error}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_replaced_stays_as_private_as_it_was() -> Tested {
        let folder = tempfile::tempdir()?;
        let mode = |path: &Path| std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        let path = folder.path().join("private");
        std::fs::write(&path, "old")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        write_output(&path, b"new")?;
        assert_eq!(mode(&path)?, 0o600);
        // A new file is as open as the system makes any other.
        let [ours, other] = ["ours", "other"].map(|name| folder.path().join(name));
        write_output(&ours, b"x")?;
        std::fs::write(&other, "x")?;
        assert_eq!(mode(&ours)?, mode(&other)?);
        Ok(())
    }
}
