//! Devices, pipes and links where a file is expected; paths that are not UTF-8; inputs without an end.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Playground, Ran, quick};

fn is_device(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device())
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo is there").success());
}

#[test]
fn a_file_goes_where_it_was_named_and_replaces_no_device_or_link() {
    let ground = Playground::new();
    let sheet = |out: &str| ground.mrpf(&["data", "check", "--data", "digits", "--out", out]);
    sheet("/dev/full").fails(4, &["cannot write /dev/full: No space left"]);
    sheet("/dev/null").ok();
    assert!(is_device("/dev/full") && is_device("/dev/null"));
    sheet("sheet.png").ok();
    let expected = std::fs::read(ground.path("sheet.png")).expect("a sheet");
    std::fs::create_dir(ground.path("elsewhere")).expect("a folder");
    symlink("elsewhere/target.png", ground.path("link.png")).expect("a link");
    sheet("link.png").ok();
    assert!(ground.path("link.png").is_symlink());
    assert!(std::fs::read(ground.path("elsewhere/target.png")).expect("a sheet") == expected);
    pipe(&ground.path("pipe"));
    let reader = std::thread::spawn({
        let path = ground.path("pipe");
        move || std::fs::read(path).expect("bytes")
    });
    sheet("pipe").ok();
    assert!(reader.join().expect("a reader") == expected);
    sheet("elsewhere").fails(4, &["cannot write elsewhere: it is a directory, expected a file"]);
    // What the shell hands over: a file that holds something already, and a pipe.
    let shell = format!(
        "(echo before; '{0}' data check --data digits --json --out /dev/fd/3 3>&1 >&2) > held 2> told; \
         '{0}' data check --data digits --json --out /dev/stderr 2>&1 > told | cat > piped",
        env!("CARGO_BIN_EXE_mrpf")
    );
    let status = Command::new("bash").args(["-c", &shell]).current_dir(ground.path("")).status();
    assert!(status.expect("bash starts").success());
    assert!(std::fs::read(ground.path("held")).expect("a file") == [b"before\n".as_slice(), &expected].concat());
    assert!(std::fs::read(ground.path("piped")).expect("a file") == expected);
}

#[test]
fn nothing_is_written_through_links_in_a_run_directory() {
    let ground = Playground::new();
    let mine = ground.write("mine", "precious");
    std::fs::create_dir(ground.path("prepared")).expect("a folder");
    symlink(&mine, ground.path("prepared/.lock")).expect("a link");
    ground.mrpf(&quick(&["train", "--out", "prepared"])).fails(4, &["prepared/.lock: it is a symbolic link"]);
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    for name in ["metrics.jsonl", "experiment.toml", "results.json"] {
        let path = ground.path("run").join(name);
        let kept = ground.path("kept");
        std::fs::rename(&path, &kept).expect("a rename");
        // The settings are read through the link, but nothing goes on there.
        std::fs::copy(&kept, &mine).expect("a copy");
        symlink(&mine, &path).expect("a link");
        let before = std::fs::read(&mine).expect("a file");
        ground
            .mrpf(&["train", "--resume", "run"])
            .fails(4, &[&format!("run/{name} is a symbolic link"), "name another directory with --out"]);
        assert!(std::fs::read(&mine).expect("a file") == before, "{name}");
        std::fs::rename(&kept, &path).expect("a rename");
    }
    std::fs::rename(ground.path("run/networks"), ground.path("networks")).expect("a rename");
    symlink("../networks", ground.path("run/networks")).expect("a link");
    ground.mrpf(&["train", "--resume", "run"]).fails(4, &["run/networks is a symbolic link"]);
    std::fs::remove_file(ground.path("run/networks")).expect("removed");
    std::fs::rename(ground.path("networks"), ground.path("run/networks")).expect("a rename");
    // The directory itself may be one.
    symlink("run", ground.path("latest")).expect("a link");
    ground.mrpf(&["train", "--resume", "latest"]).ok();
}

#[test]
fn inputs_without_an_end_are_refused() {
    let ground = Playground::new();
    pipe(&ground.path("pipe"));
    for (endless, what) in [("/dev/zero", "a device"), ("pipe", "a named pipe")] {
        ground.write("extending.toml", &format!("extends = \"{endless}\""));
        for arguments in [
            vec!["train", endless, "--out", "out"],
            vec!["train", "extending.toml", "--out", "out"],
            vec!["evaluate", endless, "--out", "out"],
            vec!["summary", "--model", endless],
            vec!["import", endless, "--arch", "resnet18", "--out", "out"],
            vec!["import", "extending.toml", "--like", endless, "--out", "out"],
            vec!["bench", "--what", "conv", "--against", endless],
        ] {
            let told = format!("it is {what}, expected a file");
            ground.mrpf(&arguments).fails(4, &[&told, endless]);
        }
    }
    // What a shell hands over is read.
    let mut command = ground.command(&["train", "/dev/stdin", "--out", "out"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let text = "extends = \"built-in\"\n[data]\ntrain_images = 100\n[pretrain]\nepochs = 0\n";
    std::io::Write::write_all(&mut child.stdin.take().expect("an input"), text.as_bytes()).expect("it is read");
    Ran::new(&["train", "/dev/stdin"], child.wait_with_output().expect("it ends")).ok();
    let shell = format!("'{}' train <(cat /dev/zero) --out endless", env!("CARGO_BIN_EXE_mrpf"));
    let output = Command::new("bash").args(["-c", &shell]).current_dir(ground.path("")).output();
    Ran::new(&[&shell], output.expect("bash starts")).fails(4, &["it is larger than 16 MB"]);
}

#[test]
fn paths_need_not_be_utf_8() {
    let ground = Playground::new();
    let name = |text: &[u8]| OsStr::from_bytes(text).to_owned();
    let (folder, out, experiment) = (name(b"d\xe9"), name(b"r\xe9"), name(b"e\xe9.toml"));
    std::fs::create_dir(ground.path("").join(&folder)).expect("a folder");
    std::fs::write(ground.path("").join(&experiment), "extends = \"built-in\"").expect("a file");
    let run = |arguments: &[&OsStr]| {
        let output = ground.command(&[]).args(arguments).output().expect("the program starts");
        Ran::new(&[], output)
    };
    let train: Vec<_> =
        [OsStr::new("train"), &experiment, OsStr::new("--out"), &out, OsStr::new("--data-dir"), &folder]
            .into_iter()
            .chain(quick(&[]).into_iter().map(OsStr::new))
            .collect();
    let ran = run(&train).ok();
    assert!(ran.stdout.contains("r\u{fffd}"), "{}", ran.stdout);
    run(&[OsStr::new("train"), OsStr::new("--resume"), &out]).ok();
    let network = Path::new(&out).join("networks/dense.safetensors");
    let evaluated = name(b"v\xe9");
    run(&[OsStr::new("evaluate"), network.as_os_str(), OsStr::new("--out"), &evaluated]).ok();
    run(&[OsStr::new("evaluate"), OsStr::new("--resume"), &evaluated]).ok();
    // Where no path is asked for, the answer is one for a wrong argument.
    run(&[OsStr::new("train"), OsStr::new("--data"), &out]).fails(2, &["invalid UTF-8"]);
}

#[test]
fn help_that_cannot_be_written_is_told() {
    let ground = Playground::new();
    for arguments in [vec!["--help"], vec!["train", "--help"], vec!["--version"]] {
        let into = |path: &str| {
            let file = std::fs::OpenOptions::new().write(true).open(path).expect("a device");
            let output = ground.command(&arguments).stdout(file).output().expect("the program starts");
            Ran::new(&arguments, output)
        };
        into("/dev/full").fails(4, &["standard output cannot be written", "No space left"]);
        into("/dev/null").ok();
    }
    let shell = format!("'{}' --help | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_mrpf"));
    let output = Command::new("bash").args(["-c", &shell]).output().expect("bash starts");
    assert!(Ran::new(&[&shell], output).ok().stderr.is_empty());
    ground.mrpf(&["--hlep"]).fails(2, &["unexpected argument"]);
}

#[test]
fn a_pool_of_very_many_threads_is_not_made() {
    let ground = Playground::new();
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        let arguments = ["bench", "--what", "forward", "--arch", "resnet18", "--batch", "1", "--steps", "1", "--json"];
        let output = ground.command(&arguments).env(variable, "100000").output().expect("the program starts");
        let ran = Ran::new(&arguments, output).ok();
        assert!(ran.stderr.contains(&format!("warning: {variable} 100000 is more than")), "{}", ran.stderr);
    }
    let ran = ground.mrpf(&["doctor", "--threads", "100000"]);
    assert!(ran.stderr.contains("--threads 100000 is more than"), "{}", ran.stderr);
}

#[test]
fn names_do_not_reach_the_terminal_as_commands() {
    let ground = Playground::new();
    ground.write("hostile.toml", "extends = \"built-in\"\nname = \"a\\u001b[31m\\nb <script>x</script>\"\n");
    let arguments: Vec<_> = quick(&["train", "hostile.toml", "--out", "run"]);
    let ran = ground.mrpf(&arguments).ok();
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains("`a\\u001b[31m\\u000ab"), "{}", ran.stdout);
    let report = ground.read("run/report.md");
    let before_settings = report.split("## Settings").next().unwrap_or_default();
    assert!(!before_settings.contains("<script>") && !report.contains('\x1b'), "{report}");
    let ran = ground.mrpf(&["train", "--no\x1b[2Jsuch"]).fails(2, &["unexpected argument"]);
    assert!(!ran.stderr.contains('\x1b'), "{}", ran.stderr);
    let ran = ground.mrpf(&["explain", "no\x1b[2Jwhere"]).fails(4, &["no\\u001b[2Jwhere"]);
    assert!(!ran.stderr.contains('\x1b'), "{}", ran.stderr);
}
