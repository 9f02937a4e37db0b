//! One file over HTTP, received into a `.part` file that a later attempt goes on with.

use mrpf_api::data::Download;
use mrpf_api::{Error, ErrorKind, Result};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Fetch, Patience, is_unpacked, told};
use crate::event::Event;
use crate::files::{failed, open_inside, remove_if_there};

/// Attempts in a row that bring hardly a further byte before a server is given up.
const ATTEMPTS: u32 = 4;
/// An attempt that brings fewer bytes has failed, and so has a server that sends fewer in the time of [`Patience::silence`].
const HARDLY_ANY: u64 = 16 << 10;
/// Progress is told after this many bytes.
const TELL_EVERY: u64 = 1 << 20;

/// What is said where a name leads to no address.
const UNKNOWN_HOST: &str = "the server's name is not known: is this machine online?";

/// Why a transfer stopped.
enum Stop {
    /// It makes no sense to go on anywhere: the disk is full, the user asked to stop.
    Here(Error),
    /// This server will not give the file; another may.
    Server(String),
    /// It may work the next time.
    Passing(String),
}

/// Receives the file into `part`, from the first address that gives it. Other processes are kept out of it until what is returned is
/// dropped; nothing is returned where one of them has put the whole file at `whole` or unpacked it meanwhile.
pub(super) fn receive(download: &Download, fetch: &Fetch<'_>, part: &Path, whole: &Path) -> Result<Option<File>> {
    let mut file = open(part).map_err(|error| told(error, fetch.directory))?;
    if whole.is_file() || is_unpacked(download, fetch) {
        remove_if_there(part)?;
        return Ok(None);
    }
    let agent = agent(fetch);
    let urls: Vec<String> = match fetch.mirror {
        Some(mirror) => vec![format!("{}/{}", mirror.trim_end_matches('/'), download.file)],
        None => download.urls.clone(),
    };
    let mut reasons = Vec::new();
    for url in &urls {
        match persist(&agent, url, download, fetch, &mut file, part) {
            Ok(()) => return Ok(Some(file)),
            Err(Stop::Here(error)) => return Err(error),
            Err(Stop::Server(why) | Stop::Passing(why)) => reasons.push(format!("{url}: {why}")),
        }
    }
    if length(&file, part).is_ok_and(|length| length == 0) {
        // Nothing to go on with; what cannot be removed does no harm.
        let _ = std::fs::remove_file(part);
    }
    let hint = format!(
        "check the connection and repeat the same command, which goes on where this one stopped; or put {} into {} yourself, or name another address with --from",
        download.file,
        fetch.directory.display()
    );
    Err(Error::new(ErrorKind::Io, reasons.join("; ")).hint(hint))
}

/// Opens what was received before, and keeps other processes out of it.
fn open(part: &Path) -> Result<File> {
    let refused = |error: std::io::Error| failed("write", part, &error);
    let file = open_inside(part, File::options().create(true).truncate(false).read(true).write(true))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another mrpf is receiving {}", part.display());
            Err(Error::new(ErrorKind::Io, message).hint("wait for it to end"))
        }
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

fn agent(fetch: &Fetch<'_>) -> ureq::Agent {
    let Patience { connect, silence } = fetch.patience;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("mrpf/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_send_request(Some(silence))
        .timeout_recv_response(Some(silence))
        .timeout_per_read(Some(silence));
    match fetch.proxy {
        true => config.build().into(),
        false => config.proxy(None).build().into(),
    }
}

/// Tries one address until it gives the whole file, or gives nothing for several attempts.
fn persist(
    agent: &ureq::Agent,
    url: &str,
    download: &Download,
    fetch: &Fetch<'_>,
    file: &mut File,
    part: &Path,
) -> std::result::Result<(), Stop> {
    let (mut pause, mut failures) = (fetch.pause, 0);
    // A server that begins anew each time gets no further, however many bytes it sends.
    let mut furthest = length(file, part)?;
    loop {
        if length(file, part)? == download.bytes {
            return Ok(());
        }
        match attempt(agent, url, download, fetch, file, part) {
            Ok(()) => return Ok(()),
            Err(Stop::Passing(why)) => {
                let now = length(file, part)?;
                let further = now >= furthest.saturating_add(HARDLY_ANY);
                furthest = furthest.max(now);
                (failures, pause) = if further { (0, fetch.pause) } else { (failures + 1, pause * 2) };
                if failures >= ATTEMPTS {
                    return Err(Stop::Passing(format!("{why} ({ATTEMPTS} attempts)")));
                }
                let message = format!("{why}; going on from byte {now}");
                fetch.events.send(Event::Warning { about: download.file.clone(), message });
            }
            Err(stop) => return Err(stop),
        }
        sleep(pause, fetch)?;
    }
}

/// One request: the rest of the file, or the whole of it where the server cannot begin in the middle.
fn attempt(
    agent: &ureq::Agent,
    url: &str,
    download: &Download,
    fetch: &Fetch<'_>,
    file: &mut File,
    part: &Path,
) -> std::result::Result<(), Stop> {
    let mut have = length(file, part)?;
    if have > download.bytes {
        have = restart(file, part)?;
    }
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(refused)?;
    let status = response.status().as_u16();
    match status {
        200 if have > 0 => {
            let message = "the server cannot go on in the middle of a file, it is received from the start".to_owned();
            fetch.events.send(Event::Warning { about: download.file.clone(), message });
            have = restart(file, part)?;
        }
        200 => {}
        206 => {
            let range =
                response.headers().get("content-range").and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !range.trim_start_matches("bytes ").starts_with(&format!("{have}-")) {
                restart(file, part)?;
                return Err(Stop::Passing(format!("asked for bytes from {have} on, the server gave `{range}`")));
            }
        }
        // What was received before is not what the server has.
        416 => {
            restart(file, part)?;
            return Err(Stop::Passing(format!("the server has no bytes from {have} on")));
        }
        408 | 429 | 500.. => return Err(Stop::Passing(format!("the server answers with status {status}"))),
        _ => return Err(Stop::Server(format!("the server answers with status {status}"))),
    }
    let (_, body) = response.into_parts();
    if let Some(rest) = body.content_length()
        && have.saturating_add(rest) != download.bytes
    {
        let total = have.saturating_add(rest);
        return Err(Stop::Server(format!("the server has a file of {total} bytes, {} are published", download.bytes)));
    }
    copy(&mut body.into_reader(), have, download, fetch, file, part)
}

/// Receives until the published size is reached; a server that sends more is cut off.
fn copy(
    from: &mut dyn Read,
    mut have: u64,
    download: &Download,
    fetch: &Fetch<'_>,
    file: &mut File,
    part: &Path,
) -> std::result::Result<(), Stop> {
    let total = download.bytes;
    let tell = |bytes: u64| {
        let file = download.file.clone();
        fetch.events.send(Event::Downloading { file, bytes, total });
    };
    let (mut chunk, mut told_at) = (vec![0; 64 << 10], 0);
    let (mut since, mut had) = (Instant::now(), have);
    file.seek(SeekFrom::Start(have)).map_err(|error| Stop::Here(failed("write", part, &error)))?;
    loop {
        if fetch.watcher.interrupted() {
            let message = format!("stopped on request; {have} of {total} bytes are kept, fetch again to go on");
            return Err(Stop::Here(Error::new(ErrorKind::Interrupted, message)));
        }
        let count = match from.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let timed_out = error.get_ref().and_then(|error| error.downcast_ref::<ureq::Error>());
                let how = match timed_out {
                    Some(ureq::Error::Timeout(_)) => "the server is silent",
                    _ => "the connection broke",
                };
                let why = format!("{how} after {have} of {total} bytes: {error}");
                return Err(Stop::Passing(why));
            }
        };
        if count == 0 {
            return match have == total {
                true => Ok(()),
                false => Err(Stop::Passing(format!("the connection ended after {have} of {total} bytes"))),
            };
        }
        if have + count as u64 > total {
            restart(file, part)?;
            return Err(Stop::Server(format!("the server sends more than the {total} bytes that are published")));
        }
        let written = file.write_all(&chunk[..count]);
        written.map_err(|error| Stop::Here(told(failed("write", part, &error), fetch.directory)))?;
        have += count as u64;
        if since.elapsed() > fetch.patience.silence {
            if have - had < HARDLY_ANY && have < total {
                let (bytes, seconds) = (have - had, since.elapsed().as_secs());
                return Err(Stop::Passing(format!(
                    "the server sent {bytes} bytes in {seconds} seconds, after {have} of {total} bytes"
                )));
            }
            (since, had) = (Instant::now(), have);
        }
        if have - told_at >= TELL_EVERY || have == total {
            told_at = have;
            tell(have);
        }
    }
}

fn refused(error: ureq::Error) -> Stop {
    match error {
        ureq::Error::HostNotFound => Stop::Server(UNKNOWN_HOST.into()),
        // The standard library has no kind for this failure, only these words.
        ureq::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
            Stop::Server(UNKNOWN_HOST.into())
        }
        ureq::Error::BadUri(why) => Stop::Server(format!("no address: {why}")),
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Stop::Server("the connection is refused".into())
        }
        error @ (ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_)) => {
            Stop::Passing(error.to_string())
        }
        error => Stop::Server(error.to_string()),
    }
}

fn length(file: &File, part: &Path) -> std::result::Result<u64, Stop> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| Stop::Here(failed("read", part, &error)))
}

/// Forgets what was received.
fn restart(file: &mut File, part: &Path) -> std::result::Result<u64, Stop> {
    file.set_len(0).map_err(|error| Stop::Here(failed("write", part, &error)))?;
    Ok(0)
}

/// Waits, but not for long when the user asks to stop.
fn sleep(pause: Duration, fetch: &Fetch<'_>) -> std::result::Result<(), Stop> {
    let step = Duration::from_millis(100).min(pause);
    let mut left = pause;
    while !left.is_zero() {
        if fetch.watcher.interrupted() {
            return Err(Stop::Here(Error::new(ErrorKind::Interrupted, "stopped on request")));
        }
        std::thread::sleep(step);
        left = left.saturating_sub(step);
    }
    Ok(())
}
