//! Settings that nobody named ask for libraries: beside a saved network, in a run to go on with. Opening one runs its code.

use std::path::{Path, PathBuf};

use crate::crates::library;
use crate::support::{Playground, Ran, quick};

/// What `sha256sum` prints of a file.
fn sha256(file: &Path) -> String {
    mrpf_host::files::sha256(&std::fs::read(file).expect("a file"))
}

/// Somebody's run, which used a plugin that leaves a mark when it is opened; and the folder of somebody else, who was given the run.
struct Given {
    reader: Playground,
    library: PathBuf,
    mark: PathBuf,
}

impl Given {
    /// The run of `command`, in the folder `run`, with a copy of the library beside it. Nothing of the maker's own goes along.
    fn run_of(command: &str) -> Self {
        let (maker, reader) = (Playground::new(), Playground::new());
        std::fs::create_dir(reader.path("run")).expect("a folder");
        let library = reader.path("run/libacts.so");
        std::fs::copy(library_file(), &library).expect("a copy");
        let path = library.display().to_string();
        let arguments = [command, "--plugin", &path, "--out", "run", "--set", "pretrain.epochs=1"];
        maker.mrpf(&quick(&arguments)).ok();
        let copied =
            std::process::Command::new("cp").arg("-r").args([maker.path("run/."), reader.path("run")]).status();
        assert!(copied.expect("cp starts").success());
        let mark = reader.path("mark");
        Self { reader, library: library.canonicalize().expect("a path"), mark }
    }

    fn mrpf(&self, arguments: &[&str]) -> Ran {
        let mut command = self.reader.command(arguments);
        let act = format!("mark:{}", self.mark.display());
        Ran::new(arguments, command.env("MRPF_TEST_ACT", act).output().expect("it starts"))
    }

    /// The command is refused, with everything that is needed to decide, and no code of the library has run.
    #[track_caller]
    fn refuses(&self, arguments: &[&str]) {
        let path = self.library.display().to_string();
        let listed = format!("\n  {path}  sha256 {}", sha256(&self.library));
        let told = ["experiment.toml asks for plugin libraries that you have not named", &listed];
        let ran = self.mrpf(arguments).fails(6, &told);
        assert!(ran.stderr.contains(&format!("add --plugin {path}\n")), "{}", ran.stderr);
        assert!(!self.mark.exists(), "the plugin ran: {arguments:?}");
    }
}

fn library_file() -> PathBuf {
    library("acts-when-opened")
}

const NETWORK: &str = "run/networks/dense.safetensors";

#[test]
fn nothing_is_opened_that_the_run_of_a_network_asks_for() {
    let given = Given::run_of("train");
    for command in [
        &["prune", NETWORK, "--dry-run"][..],
        &["prune", NETWORK],
        &["evaluate", NETWORK],
        &["finetune", NETWORK],
        &["sensitivity", NETWORK],
    ] {
        given.refuses(command);
    }
    // Settings that the user chooses instead ask for nothing.
    given.reader.write("mine.toml", "[data]\nname = \"digits\"\n");
    given.mrpf(&["prune", NETWORK, "--dry-run", "--experiment", "mine.toml"]).ok();
    assert!(!given.mark.exists());

    // The same bytes at another place are the same library.
    let copy = given.reader.path("copy.so");
    std::fs::copy(&given.library, &copy).expect("a copy");
    given.mrpf(&["prune", NETWORK, "--dry-run", "--plugin", &copy.display().to_string()]).ok();
    assert!(given.mark.exists());
    // Once opened it need not be named again, but other bytes must.
    given.mrpf(&["prune", NETWORK, "--dry-run"]).ok();
    std::fs::remove_file(&given.mark).expect("the mark");
    let other = library("redundancy");
    std::fs::copy(other, &given.library).expect("another library in its place");
    given.refuses(&["prune", NETWORK, "--dry-run"]);
}

#[test]
fn nothing_is_opened_that_a_run_to_resume_asks_for() {
    let given = Given::run_of("train");
    given.refuses(&["train", "--resume", "run"]);
    let path = given.library.display().to_string();
    given.mrpf(&["train", "--resume", "run", "--plugin", &path]).ok();
    given.mrpf(&["train", "--resume", "run"]).ok();
}

/// What such settings name may be anything.
#[test]
fn nothing_large_or_endless_is_read() {
    let given = Given::run_of("train");
    std::fs::remove_file(&given.library).expect("it is removed");
    std::fs::File::create(&given.library).and_then(|file| file.set_len(1 << 40)).expect("a file of holes");
    given.mrpf(&["train", "--resume", "run"]).fails(6, &["it has 1099511627776 bytes, expected 1073741824 at most"]);
    std::fs::remove_file(&given.library).expect("it is removed");
    assert!(std::process::Command::new("mkfifo").arg(&given.library).status().expect("mkfifo starts").success());
    given.mrpf(&["train", "--resume", "run"]).fails(4, &["found a device, pipe or socket, expected a regular file"]);
}

#[test]
fn a_library_that_is_named_may_have_moved_since_the_run() {
    let given = Given::run_of("train");
    let elsewhere = given.reader.path("elsewhere.so");
    std::fs::rename(&given.library, &elsewhere).expect("it is moved");
    given.mrpf(&["train", "--resume", "run"]).fails(4, &["libacts.so: cannot be read", "experiment.toml asks for it"]);
    given.mrpf(&["train", "--resume", "run", "--plugin", &elsewhere.display().to_string()]).ok();
}

#[test]
fn who_runs_and_resumes_names_a_library_once() {
    let playground = Playground::new();
    let path = library_file().display().to_string();
    playground.mrpf(&quick(&["train", "--plugin", &path, "--out", "run", "--set", "pretrain.epochs=1"])).ok();
    playground.mrpf(&["train", "--resume", "run"]).ok();
    playground.mrpf(&["prune", NETWORK, "--dry-run"]).ok();
    let noted = playground.read("config/mrpf/opened-plugins");
    assert_eq!(noted, format!("{}  {path}\n", sha256(Path::new(&path))));
}

#[test]
fn the_stages_of_a_comparison_are_told_what_the_user_named() {
    let playground = Playground::new();
    // The folder of the stages' processes remembers nothing: a file is where the list would be.
    std::fs::create_dir_all(playground.path("config/mrpf/opened-plugins")).expect("a folder");
    // They are also told that others may change it.
    let open = playground.path("open");
    std::fs::create_dir(&open).expect("a folder");
    std::fs::copy(library_file(), open.join("libacts.so")).expect("a copy");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&open, everybody).expect("a mode");
    let grid = "name = \"grid\"\nplugins = [\"open/libacts.so\"]\n[data]\nname = \"digits\"\n\
                [network]\narchitecture = { name = \"resnet\", depth = 8 }\n[[compare]]\ncriterion = \"acting\"\n";
    playground.write("grid.toml", grid);
    playground.mrpf(&["compare", "grid.toml", "--dry-run"]).fails(4, &["open can be changed by every user"]);
    playground.mrpf(&quick(&["compare", "grid.toml", "--out", "out", "--allow-writable-plugins"])).ok();
    // A stage that is started by itself, as if its directory came from somebody else, opens nothing.
    let stages = std::fs::read_dir(playground.path("out/stages")).expect("stages");
    let stage = stages.flatten().next().expect("a stage").path();
    let ran = playground.mrpf(&["stage", &stage.display().to_string(), "--threads", "1", "--device", "cpu"]);
    ran.fails(6, &["asks for plugin libraries that you have not named"]);
}

/// What a file says is not taken for what the terminal shows.
#[test]
fn names_from_a_file_do_not_disturb_the_message() {
    let given = Given::run_of("train");
    let odd = given.reader.path("run/it's \u{1b}[2Jodd.so");
    std::fs::rename(&given.library, &odd).expect("it is renamed");
    let settings = given.reader.read("run/experiment.toml");
    let before = format!("\"{}\"", given.library.display());
    assert!(settings.contains(&before), "{settings}");
    let after = serde_json::to_string(&odd.canonicalize().expect("a path").display().to_string()).expect("text");
    given.reader.write("run/experiment.toml", &settings.replace(&before, &after));
    let ran = given.mrpf(&["prune", NETWORK, "--dry-run"]).fails(6, &["it\\'s \\u{1b}[2Jodd.so", "--plugin FILE"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    assert!(!given.mark.exists());
}
