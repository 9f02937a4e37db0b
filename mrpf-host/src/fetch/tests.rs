mod archives;

use super::*;
use mrpf_api::context::Unwatched;
use mrpf_api::data::Checksum;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

/// Long enough for a server on this machine, however busy that is.
const SHORT: Patience = Patience { connect: Duration::from_secs(20), silence: Duration::from_secs(2) };

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// Not at all.
    Good,
    /// Breaks every connection after this many bytes.
    Breaks(usize),
    /// Always sends the whole file, and breaks the first connection.
    WithoutRanges(usize),
    /// Answers with this status.
    Status(u16),
    /// Does not say how long the file is, and goes on for ever.
    Endless,
    /// Takes connections and never answers.
    Silent,
    /// Falls silent in each answer after this many bytes.
    Stalls(usize),
    /// Sends a byte now and then.
    Trickles,
    /// Gives a range other than the one that was asked for, once.
    WrongRange,
}

/// Serves one file on this machine until the test ends; the ranges that were asked for are kept.
struct Served {
    url: String,
    ranges: Arc<Mutex<Vec<Option<usize>>>>,
}

fn serve(bytes: Vec<u8>, how: Server) -> std::io::Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/file.bin", listener.local_addr()?);
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let kept = ranges.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A silent answer must not keep the next connection waiting.
            let (bytes, kept) = (bytes.clone(), kept.clone());
            std::thread::spawn(move || {
                let _ = answer(stream, &bytes, how, &kept);
            });
        }
    });
    Ok(Served { url, ranges })
}

fn answer(mut stream: TcpStream, bytes: &[u8], how: Server, kept: &Mutex<Vec<Option<usize>>>) -> std::io::Result<()> {
    let (mut range, mut line) = (None, String::new());
    let mut reader = BufReader::new(stream.try_clone()?);
    while reader.read_line(&mut line)? > 2 {
        if let Some(from) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = from.trim_end().trim_end_matches('-').parse::<usize>().ok();
        }
        line.clear();
    }
    let (first, first_range) = {
        let mut ranges = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ranges.push(range);
        (ranges.len() == 1, ranges.iter().flatten().count() == 1)
    };
    let silence = || std::thread::sleep(Duration::from_secs(60));
    let from = if matches!(how, Server::WithoutRanges(_)) { 0 } else { range.unwrap_or(0) };
    match how {
        Server::Status(status) => {
            return write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Server::Silent => {
            silence();
            return Ok(());
        }
        Server::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[7; 4096])?;
            }
        }
        Server::WrongRange if range.is_some() && first_range => {
            return write!(
                stream,
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes 1-2/3\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
            );
        }
        _ => {}
    }
    if from >= bytes.len() {
        return write!(stream, "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let (rest, total) = (&bytes[from..], bytes.len());
    match from {
        0 => write!(stream, "HTTP/1.1 200 OK\r\n")?,
        _ => write!(stream, "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{total}\r\n", total - 1)?,
    }
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len())?;
    let sent = match how {
        Server::Breaks(after) | Server::Stalls(after) => after.min(rest.len()),
        Server::Trickles => 0,
        Server::WithoutRanges(after) if first => after,
        _ => rest.len(),
    };
    stream.write_all(&rest[..sent])?;
    match how {
        Server::Stalls(_) => silence(),
        Server::Trickles => {
            for byte in rest {
                stream.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        _ => {}
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn download(url: &str, bytes: &[u8]) -> Download {
    Download {
        file: "file.bin".into(),
        urls: vec![url.into()],
        bytes: bytes.len() as u64,
        checksum: Checksum::Sha256(sha256(bytes)),
        unpack: Unpack::Keep,
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl EventSink for Kept {
    fn send(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}

fn run(downloads: &[Download], directory: &Path, events: &Kept) -> Result<()> {
    let pause = Duration::from_millis(1);
    let with = Fetch { directory, mirror: None, pause, patience: SHORT, proxy: false, events, watcher: &Unwatched };
    fetch(downloads, &with)
}

fn bytes() -> Vec<u8> {
    (0..3_000_000u32).map(|at| (at % 251) as u8).collect()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_received_checked_and_told_of() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes(), Server::Good)?;
    let directory = folder.path().join("new/folder");
    for there in [false, true] {
        run(&[download(&served.url, &bytes())], &directory, &events)?;
        let (file, path) = ("file.bin".to_owned(), directory.join("file.bin"));
        assert_eq!(std::fs::read(&path)?, bytes());
        let kept = events.0.lock().expect("the events");
        assert_eq!(kept.last(), Some(&Event::Fetched { file, path, there }));
        let told =
            kept.iter().any(|event| matches!(event, Event::Downloading { bytes: 3_000_000, total: 3_000_000, .. }));
        assert!(told);
    }
    assert_eq!((names(&directory), served.ranges.lock().expect("the ranges").len()), (vec!["file.bin".to_owned()], 1));
    Ok(())
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes(), Server::Breaks(1_000_000))?;
    run(&[download(&served.url, &bytes())], folder.path(), &events)?;
    assert_eq!(std::fs::read(folder.path().join("file.bin"))?, bytes());
    let ranges = served.ranges.lock().expect("the ranges").clone();
    assert_eq!(ranges[0], None);
    assert!(ranges.len() >= 3 && ranges[1..].iter().all(|range| range.is_some_and(|from| from > 0)), "{ranges:?}");
    Ok(())
}

#[test]
fn a_later_call_goes_on_with_what_was_received() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    for (kept, range) in [(bytes()[..2_000_000].to_vec(), Some(2_000_000)), (bytes(), None), (vec![0; 4_000_000], None)]
    {
        let _ = std::fs::remove_file(folder.path().join("file.bin"));
        std::fs::write(folder.path().join("file.bin.part"), &kept)?;
        let served = serve(bytes(), Server::Good)?;
        run(&[download(&served.url, &bytes())], folder.path(), &events)?;
        assert_eq!(std::fs::read(folder.path().join("file.bin"))?, bytes());
        let ranges = served.ranges.lock().expect("the ranges").clone();
        // A part that is complete needs no server at all.
        let expected = if kept.len() == 3_000_000 { vec![] } else { vec![range] };
        assert_eq!(ranges, expected);
    }
    Ok(())
}

#[test]
fn a_server_without_ranges_starts_over() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes(), Server::WithoutRanges(500_000))?;
    run(&[download(&served.url, &bytes())], folder.path(), &events)?;
    assert_eq!(std::fs::read(folder.path().join("file.bin"))?, bytes());
    let warned = |event: &Event| matches!(event, Event::Warning { message, .. } if message.starts_with("the server cannot go on"));
    assert!(events.0.lock().expect("the events").iter().any(warned));
    let served = serve(bytes(), Server::WrongRange)?;
    std::fs::remove_file(folder.path().join("file.bin"))?;
    std::fs::write(folder.path().join("file.bin.part"), &bytes()[..100])?;
    run(&[download(&served.url, &bytes())], folder.path(), &events)?;
    assert_eq!(std::fs::read(folder.path().join("file.bin"))?, bytes());
    Ok(())
}

#[test]
fn a_server_that_falls_silent_is_tried_again_and_given_up() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes(), Server::Stalls(1_600_000))?;
    run(&[download(&served.url, &bytes())], folder.path(), &events)?;
    assert_eq!(std::fs::read(folder.path().join("file.bin"))?, bytes());
    assert_eq!(*served.ranges.lock().expect("the ranges"), [None, Some(1_600_000)]);
    let warned = |event: &Event| {
        matches!(event, Event::Warning { message, .. }
            if message.starts_with("the server is silent after 1600000 of 3000000 bytes")
                && message.ends_with("going on from byte 1600000"))
    };
    assert!(events.0.lock().expect("the events").iter().any(warned), "{:?}", events.0);
    for (how, kept) in [(Server::Silent, 0), (Server::Stalls(0), 0), (Server::Trickles, 1)] {
        let (folder, events) = (tempfile::tempdir()?, Kept::default());
        let served = serve(bytes(), how)?;
        let error = run(&[download(&served.url, &bytes())], folder.path(), &events).expect_err("it gives nothing");
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().ends_with("(4 attempts)"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("repeat the same command")), "{error:?}");
        let part = std::fs::metadata(folder.path().join("file.bin.part")).map_or(0, |metadata| metadata.len());
        assert!(part >= kept, "what was received is kept");
    }
    Ok(())
}

#[test]
fn wrong_bytes_are_refused_and_not_gone_on_with() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let mut wrong = bytes();
    wrong[7] ^= 1;
    let served = serve(wrong.clone(), Server::Good)?;
    let error = run(&[download(&served.url, &bytes())], folder.path(), &events).expect_err("one bit is wrong");
    assert_eq!(error.kind(), ErrorKind::Data);
    let (found, published) = (sha256(&wrong), sha256(&bytes()));
    assert!(error.to_string().starts_with("fetching file.bin: "), "{error}");
    assert!(error.to_string().ends_with(&format!("has the SHA-256 {found}, {published} is published")), "{error}");
    assert!(names(folder.path()).is_empty());
    // A file of that name that is there already is never overwritten.
    std::fs::write(folder.path().join("file.bin"), "mine")?;
    let error = run(&[download(&served.url, &bytes())], folder.path(), &events).expect_err("another file");
    assert!(error.to_string().ends_with("file.bin has 4 bytes, 3000000 are published"), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("fetch it again, or name another folder")));
    assert_eq!(std::fs::read(folder.path().join("file.bin"))?, b"mine");
    Ok(())
}

#[test]
fn servers_that_fail_are_told_with_what_helps() -> Outcome {
    for (how, message) in [
        (Server::Status(404), "the server answers with status 404"),
        (Server::Status(503), "the server answers with status 503 (4 attempts)"),
        (Server::Endless, "the server sends more than the 3000000 bytes that are published"),
        (Server::Breaks(0), "after 0 of 3000000 bytes"),
    ] {
        let (folder, events) = (tempfile::tempdir()?, Kept::default());
        let served = serve(bytes(), how)?;
        let error = run(&[download(&served.url, &bytes())], folder.path(), &events).expect_err(message);
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.starts_with("check the connection")), "{error:?}");
    }
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes()[..10].to_vec(), Server::Good)?;
    let error = run(&[download(&served.url, &bytes())], folder.path(), &events).expect_err("another size");
    assert!(error.to_string().contains("the server has a file of 10 bytes, 3000000 are published"), "{error}");
    // Nobody listens on a port that was just given back.
    let nobody = format!("http://{}/file.bin", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let mut one = download(&nobody, &bytes());
    let error = run(&[one.clone()], folder.path(), &events).expect_err("nobody is there");
    assert!(error.to_string().contains("the connection is refused"), "{error}");
    // The next address is asked then.
    let served = serve(bytes(), Server::Good)?;
    one.urls.push(served.url);
    run(&[one], folder.path(), &events)?;
    assert!(folder.path().join("file.bin").is_file());
    Ok(())
}

struct Stopping;

impl Watcher for Stopping {
    fn progress(&self, _: &str, _: usize, _: usize) {}

    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn a_request_to_stop_keeps_what_was_received() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    std::fs::write(folder.path().join("file.bin.part"), &bytes()[..1000])?;
    let served = serve(bytes(), Server::Good)?;
    let pause = Duration::from_millis(1);
    let with = Fetch {
        directory: folder.path(),
        mirror: None,
        pause,
        patience: SHORT,
        proxy: false,
        events: &events,
        watcher: &Stopping,
    };
    let error = fetch(&[download(&served.url, &bytes())], &with).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(error.to_string().contains("1000 of 3000000 bytes are kept"), "{error}");
    assert_eq!(std::fs::read(folder.path().join("file.bin.part"))?, &bytes()[..1000]);
    Ok(())
}

#[test]
fn two_at_once_do_not_mix_their_bytes() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let part = std::fs::File::create(folder.path().join("file.bin.part"))?;
    part.try_lock()?;
    let error = run(&[download("http://127.0.0.1:9/", &bytes())], folder.path(), &events).expect_err("it is held");
    assert!(error.to_string().contains("another mrpf is receiving"), "{error}");
    Ok(())
}

#[test]
#[cfg(unix)]
fn nothing_is_received_through_a_link() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let mine = folder.path().join("mine");
    std::fs::write(&mine, "mine")?;
    for name in ["file.bin.part", "file.bin"] {
        let link = folder.path().join(name);
        let target = if name == "file.bin" { folder.path().join("nowhere") } else { mine.clone() };
        std::os::unix::fs::symlink(target, &link)?;
        let error = run(&[download("http://127.0.0.1:9/", &bytes())], folder.path(), &events).expect_err("a link");
        assert!(error.to_string().contains(&format!("{name}: it is a symbolic link")), "{error}");
        std::fs::remove_file(&link)?;
    }
    assert_eq!(std::fs::read(&mine)?, b"mine");
    Ok(())
}

#[test]
fn a_mirror_is_asked_in_place_of_the_official_server() -> Outcome {
    let (folder, events) = (tempfile::tempdir()?, Kept::default());
    let served = serve(bytes(), Server::Good)?;
    let mirror = served.url.trim_end_matches("file.bin").to_owned();
    let pause = Duration::from_millis(1);
    let with = Fetch {
        directory: folder.path(),
        mirror: Some(&mirror),
        pause,
        patience: SHORT,
        proxy: false,
        events: &events,
        watcher: &Unwatched,
    };
    fetch(&[download("http://127.0.0.1:9/file.bin", &bytes())], &with)?;
    assert!(folder.path().join("file.bin").is_file());
    Ok(())
}
