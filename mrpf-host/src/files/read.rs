//! Reading whole files, of which none is larger than it may be.

use mrpf_api::Result;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failed;
use super::file_type::{is_open_file, refused};

/// The most bytes of a file of settings.
pub const SETTINGS: u64 = 16 << 20;
/// The most bytes of a JSON file.
pub const JSON: u64 = 256 << 20;

/// Reads a whole regular file of any size, such as a network.
///
/// # Errors
/// The system's reason, or what stands there in place of a file.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let (file, length) = open_regular(path)?;
    // No more than there was, should the file grow.
    read_up_to(file, length)
}

/// Reads a text of at most so many bytes: a regular file, or what a shell hands over as `/dev/stdin` or `/dev/fd/3`.
///
/// # Errors
/// The system's reason, what stands there in place of a file, or that the text is too long or not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let file = if is_open_file(path) { File::open(path)? } else { open_regular(path)?.0 };
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(refused(found.file_type(), "a file"));
    }
    let bytes = read_up_to(file, most + 1)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MB", most >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// Reads a whole regular file; `None` if there is nothing.
///
/// # Errors
/// [`mrpf_api::ErrorKind::Io`] with the path and the system's reason.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe that nobody writes into is refused, and not waited for.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found.len())),
        false => Err(refused(found.file_type(), "a file")),
    }
}

fn read_up_to(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let expected = file.metadata()?.len().min(most);
    bytes.try_reserve_exact(usize::try_from(expected).unwrap_or(usize::MAX)).map_err(|_| {
        io::Error::new(io::ErrorKind::OutOfMemory, format!("its {} MB are more than fit into memory", expected >> 20))
    })?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
        for (path, what) in
            [(pipe.as_path(), "a named pipe"), (Path::new("/dev/zero"), "a device"), (folder.path(), "a directory")]
        {
            let told = [read_regular(path).map(drop), read_text(path, SETTINGS).map(drop)];
            for error in told.map(|told| told.expect_err(what)) {
                assert_eq!(error.to_string(), format!("it is {what}, expected a file"));
            }
            assert!(read_if_there(path).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_text_has_a_largest_size() -> std::result::Result<(), Box<dyn std::error::Error>> {
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().set_len(3 << 20)?;
        assert_eq!(read_text(file.path(), 3 << 20)?.len(), 3 << 20);
        let error = read_text(file.path(), (3 << 20) - 1).expect_err("too large");
        assert_eq!(error.to_string(), "it is larger than 2 MB");
        Ok(())
    }
}
