use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Playground, Ran, quick, repository};

/// This test program is linked statically, as `--no-default-features` links the real one.
#[test]
fn a_static_program_opens_no_plugins_and_says_why() {
    let some_library = std::env::current_exe().expect("a program");
    let error = mrpf_host::plugin_library::open(&some_library).expect_err("nothing to share");
    assert!(
        error.to_string().ends_with("this mrpf holds mrpf-api and Candle in itself, so that no plugin can share them"),
        "{error}"
    );
    assert!(error.hint_text().is_some_and(|hint| hint.contains("default features")), "{error:?}");
    let error = mrpf_host::plugin_sdk::Sdk::locate().expect_err("nothing to compile against");
    assert!(error.to_string().contains("plugins cannot be built for it"), "{error}");
}

/// A build for the processor says what is missing and how to get it, for every command that computes.
#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_that_is_not_built_in_is_refused_before_anything_is_done() {
    let ground = Playground::new();
    for command in [
        vec!["run"],
        vec!["train"],
        vec!["compare"],
        vec!["bench"],
        vec!["evaluate", "x.safetensors"],
        vec!["prune", "x.safetensors"],
        vec!["finetune", "x.safetensors"],
        vec!["sensitivity", "x.safetensors"],
        vec!["stage", "x", "--threads", "1"],
    ] {
        let arguments = [command.as_slice(), &["--device", "cuda:1"]].concat();
        ground.mrpf(&arguments).fails(
            7,
            &[
                "--device cuda:1: this build of mrpf has no CUDA (features of devices built in: none)",
                "scripts/cuda/build.sh",
                "--features cudnn",
            ],
        );
    }
    assert!(std::fs::read_dir(ground.path(".")).expect("a folder").next().is_none(), "nothing was made");
}

#[test]
fn wrong_names_and_values_are_answered_before_anything_is_done() {
    let ground = Playground::new();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["--set", "prune.criterion=l1norm"],
            2,
            &["setting `prune.criterion`: unknown criterion `l1norm`", "did you mean `l1-norm`?"],
        ),
        (&["--set", "prune.sensitivity=mrss"], 2, &["unknown sensitivity metric `mrss`", "did you mean `mrs`?"]),
        (&["--set", "finetune.trainer=trade"], 2, &["unknown trainer `trade`", "`trades`"]),
        (&["--set", "finetune.trainer.betta=1"], 2, &["unknown setting `betta`", "did you mean `beta`?"]),
        (&["--set", "finetune.trainer.beta=many"], 2, &["setting `beta`", "many"]),
        (&["--set", "finetune.trainer.epsilon=eight"], 2, &["setting `epsilon`", "`eight` is no number"]),
        (
            &["--set", "pretrain.trainer=distill"],
            2,
            &["setting `pretrain.trainer`: trainer `distill` learns from a teacher", "`teacher` setting"],
        ),
        (
            &["--set", "finetune.teacher=nowhere"],
            2,
            &["setting `finetune.teacher`", "nowhere, expected the file of a saved network"],
        ),
        (&["--set", "prune.ratoi=0.5"], 2, &["unknown setting `prune.ratoi`", "did you mean `prune.ratio`?"]),
        (&["--set", "prune.ratio=half"], 2, &["setting `prune.ratio`", "half"]),
        (&["--set", "prune.ratio=1.0"], 2, &["setting `prune.ratio`: found 1, expected the share to remove"]),
        (&["--set", "prune.ratio=-0.1"], 2, &["setting `prune.ratio`: found -0.1"]),
        (&["--set", "prune.budget=flops"], 2, &["setting `prune.budget`", "flops", "macs"]),
        (
            &["--set", "prune.constraints.multiple=0"],
            2,
            &["setting `prune.constraints`: multiple 0, expected at least 1"],
        ),
        (&["--set", "prune.constraints.flor=0.5"], 2, &["unknown setting", "did you mean `prune.constraints.floor`?"]),
        (
            &["--set", "prune.constraints.keep=layer1.*,layr2.0.conv1"],
            2,
            &["unknown layer with channels `layr2.0.conv1`", "did you mean `layer2.0.conv1`?"],
        ),
        (&["--set", "pretrain.batch=1"], 2, &["setting `pretrain.batch`: found 1, expected 2 to"]),
        (&["--set", "network.architecture.depth=19"], 2, &["depth 19, expected one of 8, 14, 18"]),
        (
            &["--set", "compare=[{ name = \"dense\", criterion = \"random\" }]"],
            2,
            &["setting `compare.name`: found `dense`"],
        ),
        (&["--seed", "9223372036854775808"], 2, &["setting `seed`: found 9223372036854775808", "9223372036854775807"]),
        (&["--set", "seed"], 2, &["`seed` is no assignment, expected key=value"]),
        (&["--data", "cifar11"], 2, &["unknown data set `cifar11`", "did you mean `cifar10`?"]),
        (&["--data", "cifar10"], 3, &["needs the folder that holds `cifar-10-batches-bin`", "--data-dir"]),
        (&["--data", "cifar10", "--data-dir", "."], 3, &["expected `cifar-10-batches-bin` in it"]),
        (&["missing.toml"], 4, &["cannot read the experiment file missing.toml"]),
        (&["--threads", "0"], 2, &["--threads 0, expected at least 1"]),
        (&["--device", "gpu"], 2, &["expected cpu, cuda, cuda:N with the number of a GPU, metal or auto"]),
        (
            &["--device", "cuda:0,cuda:1"],
            7,
            &["--device cuda:0,cuda:1: only `mrpf compare` computes on several devices"],
        ),
        (&["--device", "cuda:1,cuda:1"], 2, &["found cuda:1 twice"]),
        (&["--device", "cuda:0,cpu"], 2, &["found `cpu` in a list"]),
        (&["--resume", "nowhere"], 4, &["nowhere is no run directory: it does not exist"]),
    ];
    for (arguments, code, texts) in cases {
        let arguments = [&["run"], *arguments].concat();
        ground.mrpf(&arguments).fails(*code, texts);
    }
    let summaries: &[(&[&str], i32, &[&str])] = &[
        (&["--arch", "resnest18"], 2, &["unknown architecture `resnest`", "did you mean `resnet`?"]),
        (&["--arch", "resnet-18-4"], 2, &["found 2 numbers behind `resnet`, expected depth"]),
        (&["--arch", "resnet19"], 2, &["architecture `resnet`: depth 19, expected one of 8, 14"]),
        (&["--arch", "resnet", "--set", "widht=4"], 2, &["unknown setting `widht`", "did you mean `width`?"]),
        (&["--arch", "vgg", "--input", "3x32"], 2, &["--input 3x32, expected channels, height and width"]),
        (&["--arch", "vgg", "--input", "3x0x32"], 2, &["--input 3x0x32, expected"]),
        (&["--arch", "vgg", "--classes", "0"], 2, &["--classes 0, expected at least 1"]),
        (
            &["--arch", "densenet", "--input", "3x2x2"],
            2,
            &["architecture `densenet`: layer `block3", "`trans2.pool`: kernel 2 with stride 2 on a side of 1"],
        ),
        (&["--model", "nowhere.safetensors"], 4, &["reading the network nowhere.safetensors: cannot be read"]),
        (&["--arch", "vgg", "--model", "a"], 2, &["cannot be used with"]),
        (&[], 2, &["--arch <NAME>"]),
    ];
    for (arguments, code, texts) in summaries {
        ground.mrpf(&[&["summary"], *arguments].concat()).fails(*code, texts);
    }
    let run = ["run", "--set", "network.architecture=resnest18"];
    ground.mrpf(&run).fails(2, &["setting `network.architecture`: unknown architecture `resnest`"]);
    ground.mrpf(&["plugins", "show", "trade"]).fails(2, &["unknown plugin `trade`", "did you mean `trades`?"]);
    ground.mrpf(&["plugins", "list", "--kind", "trainr"]).fails(2, &["unknown kind of plugin `trainr`", "`trainer`"]);
}

#[test]
fn an_experiment_file_that_is_wrong_is_named() {
    let ground = Playground::new();
    ground.write("broken.toml", "seed = \n");
    ground.mrpf(&["run", "broken.toml"]).fails(2, &["reading broken.toml: not valid TOML"]);
    ground.write("typo.toml", "[prune]\ncriterio = \"random\"\n");
    ground
        .mrpf(&["run", "typo.toml"])
        .fails(2, &["reading typo.toml: unknown setting `prune.criterio`", "`prune.criterion`"]);
    ground.write("row.toml", "[[compare]]\ncriterion = \"random\"\nalocation = \"uniform\"\n");
    ground
        .mrpf(&["run", "row.toml"])
        .fails(2, &["unknown setting `compare[0].alocation`", "did you mean `compare[0].allocation`?"]);
    ground.write("row.toml", "[[compare]]\ncriterion = \"rnadom\"\n");
    ground
        .mrpf(&["run", "row.toml"])
        .fails(2, &["setting `compare[0].criterion`: unknown criterion `rnadom`", "did you mean `random`?"]);
}

#[test]
fn a_budget_that_cannot_be_met_says_what_can() {
    let ground = Playground::new();
    let hard = ["run", "--out", "out", "--set", "prune.ratio=0.9999"];
    let ran =
        ground.mrpf(&quick(&hard)).fails(5, &["the budget asks to remove 100.0 % of the macs, at most", "max_ratio"]);
    // What was done before is kept, and the run can be taken up with other settings from the saved network.
    assert!(ground.path("out/networks/dense.safetensors").is_file(), "{}", ran.stdout);
}

#[test]
fn a_directory_that_is_taken_is_left_alone() {
    let ground = Playground::new();
    std::fs::create_dir(ground.path("out")).expect("a directory");
    ground.write("out/precious.txt", "mine");
    ground.mrpf(&quick(&["run", "--out", "out"])).fails(4, &["out exists already and is not empty", "--out"]);
    assert_eq!(ground.read("out/precious.txt"), "mine");
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    ground.mrpf(&quick(&["train", "--out", "run"])).fails(4, &["run holds a run already", "--resume run"]);
}

#[test]
fn files_that_are_no_networks_of_this_data_are_refused() {
    let ground = Playground::new();
    ground
        .mrpf(&["evaluate", "none.safetensors", "--out", "a"])
        .fails(4, &["reading the network none.safetensors: cannot be read"]);
    ground.write("text.safetensors", "this is no network");
    ground
        .mrpf(&["evaluate", "text.safetensors", "--out", "a"])
        .fails(4, &["it is text that begins with `this is no network`, expected a safetensors file"]);
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    let whole = std::fs::read(ground.path("run/networks/dense.safetensors")).expect("a network");
    std::fs::write(ground.path("cut.safetensors"), &whole[..whole.len() - 100]).expect("a file");
    ground.mrpf(&["evaluate", "cut.safetensors", "--out", "a"]).fails(4, &["not a complete safetensors file"]);
    // Recorded tensors of another program: a safetensors file without a declaration.
    let foreign = repository("tests/fixtures/sgd.safetensors");
    ground
        .mrpf(&["evaluate", &foreign.to_string_lossy(), "--out", "a"])
        .fails(4, &["the file carries no network declaration"]);
    assert!(!ground.path("a").exists(), "nothing is made for a network that cannot be read");
    let cifar = repository("../shared/data/cifar10");
    match cifar.is_dir() {
        true => {
            let path = cifar.to_string_lossy();
            let arguments =
                ["evaluate", "run/networks/dense.safetensors", "--data", "cifar10", "--data-dir", &path, "--out", "b"];
            ground
                .mrpf(&arguments)
                .fails(4, &["the network takes images of shape [1, 8, 8] in 10 classes", "[3, 32, 32]"]);
        }
        false => println!("skipped: no CIFAR-10 images at hand"),
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    // As if the training had been stopped and its settings edited behind its back.
    let checkpoint = ground.path("run/checkpoints/dense.safetensors");
    std::fs::create_dir_all(ground.path("run/checkpoints")).expect("a directory");
    std::fs::rename(ground.path("run/networks/dense.safetensors"), &checkpoint).expect("a rename");
    ground
        .mrpf(&["train", "--resume", "run"])
        .fails(4, &["reading the checkpoint", "it holds no training state", "remove the file"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_write_that_fails_is_told_and_the_run_goes_on_when_there_is_room() {
    let ground = Playground::new();
    let arguments = quick(&["train", "--out", "run"]);
    // As good as a full disk: no file may grow beyond 48 KB, which settings do not need and a checkpoint does.
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 48; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mrpf")]);
    let output = limited.args(&arguments).current_dir(ground.path("")).env_remove("RUST_BACKTRACE").output();
    let ran = Ran::new(&arguments, output.expect("bash starts"));
    ran.fails(4, &["train dense: cannot write run/checkpoints/dense.safetensors: File too large"]);
    ground.mrpf(&["train", "--resume", "run"]).ok();
    assert!(ground.path("run/networks/dense.safetensors").is_file());

    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"));
    let told = mrpf_host::files::failed("write", &ground.path("x"), &full.expect_err("the device is always full"));
    assert!(
        told.to_string().contains("No space left") && told.hint_text().is_some_and(|hint| hint.contains("--resume")),
        "{told}"
    );
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_was_done_and_the_run_goes_on_from_there() {
    let ground = Playground::new();
    let arguments = quick(&["train", "--out", "run"]);
    let arguments: Vec<&str> = arguments.into_iter().chain(["--set", "pretrain.epochs=400"]).collect();
    let child = ground
        .command_that_heeds_signals(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let checkpoint = ground.path("run/checkpoints/dense.safetensors");
    let start = Instant::now();
    while !checkpoint.is_file() {
        assert!(start.elapsed() < Duration::from_secs(60), "no epoch has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let stopped = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(stopped.expect("kill is there").success());
    let ran = Ran::new(&arguments, child.wait_with_output().expect("it ends"));
    ran.fails(130, &["stopped on request; epoch", "of 400 is kept in run/checkpoints/dense.safetensors"]);
    assert!(checkpoint.is_file());

    // Fewer epochs than were asked for cannot be had from it, but the same settings go on.
    let resumed = ground
        .command_that_heeds_signals(&["train", "--resume", "run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let resumed = resumed.expect("the program starts");
    std::thread::sleep(Duration::from_millis(1500));
    let stopped = std::process::Command::new("kill").args(["-TERM", &resumed.id().to_string()]).status();
    assert!(stopped.expect("kill is there").success());
    let ran = Ran::new(&["train", "--resume", "run"], resumed.wait_with_output().expect("it ends"));
    assert!(ran.stdout.contains("going on with") && !ran.stdout.contains("epoch   1/400"), "{}", ran.stdout);
}

#[test]
fn two_at_once_do_not_share_a_directory() {
    let ground = Playground::new();
    let arguments = quick(&["train", "--out", "run"]);
    let arguments: Vec<&str> = arguments.into_iter().chain(["--set", "pretrain.epochs=400"]).collect();
    let mut child =
        ground.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let start = Instant::now();
    while !ground.path("run/metrics.jsonl").is_file() {
        assert!(start.elapsed() < Duration::from_secs(60), "the run has not begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = ground.mrpf(&["train", "--resume", "run"]);
    child.kill().expect("it is stopped");
    child.wait().expect("it ends");
    second.fails(4, &["another mrpf is working in run"]);
}

#[test]
fn sensitivities_of_another_network_are_refused() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    let model = "run/networks/dense.safetensors";
    ground.mrpf(&quick(&["sensitivity", model, "--out", "measured"])).ok();
    let measured = ground.read("measured/sensitivity/mrs.json");
    let refused = |name: &str, text: &str, told: &str| {
        ground.write(name, text);
        for dry in [None, Some("--dry-run")] {
            let arguments: Vec<&str> =
                ["prune", model, "--sensitivity", name, "--out", "pruned"].into_iter().chain(dry).collect();
            ground.mrpf(&arguments).fails(4, &[told, "measure those of this one by `mrpf sensitivity`"]);
        }
    };
    refused("other.json", &measured.replace("layer2.0.conv1", "features.3"), "has a value for module `features.3`");
    refused("twice.json", &measured.replace("layer2.0.conv1", "conv1"), "lacks a value for module `layer2.0.conv1`");
    let doubled = measured.replacen('[', "[{\"module\": \"conv1\", \"value\": 1.0},", 1);
    refused("double.json", &doubled, "has two values for the same module");
    assert!(!ground.path("pruned").exists(), "nothing is made for what cannot be done");
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_is_lost_is_told() {
    let ground = Playground::new();
    let into = |path: &str, arguments: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open(path).expect("a device");
        let output = ground.command(arguments).stdout(full).output().expect("the program starts");
        Ran::new(arguments, output)
    };
    for arguments in [vec!["plugins", "list"], vec!["plugins", "show", "mrs", "--json"]] {
        into("/dev/full", &arguments).fails(4, &["standard output cannot be written", "No space left"]);
        into("/dev/null", &arguments).ok();
    }
    // A training goes on all the same, and what it made is there.
    into("/dev/full", &quick(&["train", "--out", "run"])).fails(4, &["part of it is lost"]);
    assert!(ground.path("run/networks/dense.safetensors").is_file() && ground.path("run/results.json").is_file());
}
