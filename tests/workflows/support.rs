//! A fresh directory with the real program in it; everything is printed when something fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory of its own for one test.
pub struct Playground {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    told: String,
}

impl Playground {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        Self { path: temporary.path().to_owned(), _temporary: Some(temporary) }
    }

    /// A directory of that name below the build folder, with what the last run of the tests left in it.
    #[allow(dead_code, reason = "one of the test programs that share this file has no use for it")]
    pub fn lasting(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self { path, _temporary: None }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file is written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.alone(Command::new(env!("CARGO_BIN_EXE_mrpf")), arguments)
    }

    /// The same with signals as a terminal gives them: whoever started the tests may have some of them ignored, as `nohup` does.
    #[allow(dead_code, reason = "one of the test programs that share this file has no use for it")]
    pub fn command_that_heeds_signals(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal=INT,TERM,HUP,USR1", env!("CARGO_BIN_EXE_mrpf")]);
        self.alone(command, arguments)
    }

    fn alone(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(&self.path);
        // Nothing of the user's own is seen.
        command.env("XDG_CONFIG_HOME", self.path("config")).env_remove("MRPF_PLUGIN_PATH").env_remove("RUST_BACKTRACE");
        command
    }

    /// Begins with the first arguments and, after each kill, goes on with the other ones until the program ends by itself, well.
    /// It is killed without warning after the first patience and a step more each time, at most so often; returns how often.
    #[allow(dead_code, reason = "one of the test programs that share this file has no use for it")]
    pub fn killed_on_the_way(&self, first: &[&str], again: &[&str], [patience, step]: [Duration; 2], most: u32) -> u32 {
        let (mut kills, mut arguments) = (0, first);
        loop {
            let mut command = self.command(arguments);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
            let (start, patience) = (Instant::now(), patience + step * kills);
            let ended = loop {
                if let Some(status) = child.try_wait().expect("its state is known") {
                    break Some(status);
                }
                if kills < most && start.elapsed() > patience {
                    child.kill().expect("it is stopped");
                    child.wait().expect("it ends");
                    break None;
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            arguments = again;
            if let Some(status) = ended {
                let told = child.wait_with_output().map(|output| output.stderr).unwrap_or_default();
                let told = String::from_utf8_lossy(&told).into_owned();
                // Killed at its first files, it is begun anew.
                if told.contains("nothing has been computed in") || told.contains("is no run directory") {
                    arguments = first;
                    continue;
                }
                assert!(status.success(), "{status}: {told}");
                return kills;
            }
            kills += 1;
        }
    }

    /// Runs the program with these arguments.
    pub fn mrpf(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the program starts");
        Ran::new(arguments, output)
    }
}

impl Ran {
    pub fn new(arguments: &[&str], Output { status, stdout, stderr }: Output) -> Self {
        let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let told = format!(
            "mrpf {}\nexit {:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            arguments.join(" "),
            status.code()
        );
        Self { code: status.code(), stdout, stderr, told }
    }

    /// Asserts that it ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.told);
        self
    }

    /// Asserts that it failed with this exit code and that the message holds all of these texts.
    #[track_caller]
    pub fn fails(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.told);
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in the message\n{}", self.told);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.told);
        self
    }
}

/// Settings that make a run take a second or two.
const QUICK: &[&str] = &[
    "--set",
    "data.train_images=200",
    "--set",
    "network.architecture.width=4",
    "--set",
    "pretrain.epochs=2",
    "--set",
    "pretrain.trainer.steps=2",
    "--set",
    "pretrain.validation.steps=2",
    "--set",
    "prune.sensitivity.images=40",
    "--set",
    "prune.sensitivity.steps=3",
    "--set",
    "finetune.epochs=1",
    "--set",
    "finetune.trainer.steps=2",
    "--set",
    "finetune.validation.steps=2",
    "--set",
    "evaluate.attacks.steps=3",
    "--set",
    "evaluate.images=60",
];

/// The arguments with the quick settings behind them.
pub fn quick<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    // The attack list is replaced as a whole.
    let settings = QUICK.chunks(2).filter(|pair| !pair[1].starts_with("evaluate.attacks")).flatten().copied();
    arguments
        .iter()
        .copied()
        .chain(settings)
        .chain(["--set", "evaluate.attacks=[{ name = \"pgd\", steps = 3, step_size = 0.05 }]"])
        .collect()
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
