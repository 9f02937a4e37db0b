//! What can be known before anything is computed is told then: radii that cannot be meant, combinations of attack, norm and classes,
//! numbers without an end. And that no default of an option counts more than a setting.

use crate::support::{Playground, quick};
use image::{Rgb, RgbImage};

const MODEL: &str = "run/networks/dense.safetensors";

/// A directory with a saved network in it, [`MODEL`].
fn trained() -> Playground {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "run"])).ok();
    ground
}

/// The arguments that choose pictures in so many classes.
fn pictures(ground: &Playground, classes: usize) -> Vec<&'static str> {
    for class in 0..classes {
        let folder = ground.path(&format!("pictures/class{class}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        for at in 0..24u8 {
            let shade = (40 + 80 * class) as u8 + at;
            RgbImage::from_pixel(8, 8, Rgb([shade, 255 - shade, at]))
                .save(folder.join(format!("{at}.png")))
                .expect("a file");
        }
    }
    vec!["--data", "image-folder", "--data-dir", "pictures", "--set", "data.name.size=8"]
}

fn dense_row(ground: &Playground, results: &str) -> serde_json::Value {
    ground.json(results)["rows"][0].clone()
}

#[test]
fn a_radius_of_8_is_not_taken_for_8_255ths() {
    let ground = Playground::new();
    for setting in [
        "evaluate.threat.epsilon=8",
        "pretrain.trainer.epsilon=8",
        "finetune.trainer.epsilon=8",
        "finetune.trainer.step_size=8",
        "prune.sensitivity.epsilon=8",
        "pretrain.validation.epsilon=8",
    ] {
        ground
            .mrpf(&["run", "--set", setting, "--out", "out"])
            .fails(2, &["8, expected a length below 1", "did you mean 8/255?"]);
        assert!(!ground.path("out").exists(), "{setting}");
    }
    // An L2 ball of radius 8 holds every 8x8 digit.
    let l2 = ["--set", "evaluate.threat={ norm = \"l2\", epsilon = 8 }"];
    ground
        .mrpf(&[&["train", "--out", "l2"], l2.as_slice()].concat())
        .fails(2, &["a black to a white image in l2", "8/255"]);
    let doubtful =
        ["train", "--out", "run", "--set", "evaluate.threat.epsilon=0.3", "--set", "pretrain.trainer.epsilon=0.3"];
    let ran = ground.mrpf(&quick(&doubtful)).ok();
    let told = format!("{}{}", ran.stdout, ran.stderr);
    for text in
        ["radius 0.3 is 30 % of the distance", "`pgd-at`: setting `epsilon`: 0.3 is 30 %", "did you mean 0.3/255?"]
    {
        assert!(told.contains(text), "`{text}` is not in\n{told}");
    }
    for (radii, text) in
        [("-0.1", "--epsilons -0.1, expected a length of at least 0"), ("8/255,8", "--epsilons 8, expected")]
    {
        ground.mrpf(&["evaluate", MODEL, "--epsilons", radii, "--out", "e"]).fails(2, &[text]);
    }
    ground.mrpf(&["evaluate", MODEL, "--epsilons", "0", "--images", "20", "--curves", "0", "--out", "nothing"]).ok();
}

#[test]
fn settings_count_more_than_defaults_and_curves_that_cannot_be_drawn_are_left_out() {
    let ground = trained();
    let mut count = 0;
    let mut evaluate = |more: &[&str]| {
        count += 1;
        let out = format!("e{count}");
        let all = [&["evaluate", MODEL, "--images", "30", "--attacks", "pgd", "--out", &out], more].concat();
        ground.mrpf(&all).ok();
        (ground.json(&format!("{out}/results.json")), ground.read(&format!("{out}/report.md")))
    };
    let drawn = |results: &serde_json::Value| results["curves"]["8/255"]["images"].as_u64();
    assert_eq!(drawn(&evaluate(&["--epsilons", "8/255"]).0), Some(30), "100, of which there are 30");
    let set = ["--epsilons", "8/255", "--set", "evaluate.curves=7"];
    assert_eq!(drawn(&evaluate(&set).0), Some(7));
    assert_eq!(drawn(&evaluate(&[set.as_slice(), &["--curves", "5"]].concat()).0), Some(5));
    assert_eq!(drawn(&evaluate(&["--epsilons", "8/255", "--set", "evaluate.curves=0"]).0), None);
    // The curves climb with PGD, which does not know L1; the evaluation does not depend on it.
    let ran = ground
        .mrpf(&[
            "evaluate",
            MODEL,
            "--images",
            "10",
            "--attacks",
            "square",
            "--set",
            "evaluate.threat={ norm = \"l1\", epsilon = 2 }",
            "--curves",
            "10",
            "--out",
            "l1",
        ])
        .ok();
    let told = "curves left out: PGD draws the curves: plain gradient ascent knows the norms linf and l2, found l1";
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(told), "{}", ran.stdout);
    let report = ground.read("l1/report.md");
    assert!(report.contains("## Not measured") && report.contains(told), "{report}");
    assert_eq!(dense_row(&ground, "l1/results.json")["left_out"][0]["what"], "curves");
}

#[test]
fn what_attacks_refuse_they_refuse_before_the_training() {
    let ground = Playground::new();
    let l1 = "evaluate.threat={ norm = \"l1\", epsilon = 2 }";
    let l2 = "evaluate.threat={ norm = \"l2\", epsilon = 0.5 }";
    for (attack, threat, text) in [
        ("pgd", l1, "knows the norms linf and l2, found l1"),
        ("deepfool", l1, "`deepfool` knows the norms l2 and linf, found l1"),
        ("cw-linf", l2, "`cw-linf` knows the norm linf, found l2"),
    ] {
        let attacks = format!("evaluate.attacks={attack}");
        for command in ["run", "train", "compare"] {
            let out = format!("{command}-{attack}");
            let settings = ["--set", &attacks, "--set", threat, "--out", &out];
            let ran = ground.mrpf(&[&[command], settings.as_slice()].concat());
            assert!(!ran.stdout.contains("epoch"), "{}", ran.stdout);
            ran.fails(2, &[text, "evaluate.attacks"]);
        }
    }
    let classes = pictures(&ground, 3);
    let three = [&["run", "--out", "t", "--set", "evaluate.attacks=apgd-t"], classes.as_slice()].concat();
    let ran = ground.mrpf(&three);
    assert!(!ran.stdout.contains("epoch"), "{}", ran.stdout);
    ran.fails(2, &["`apgd-t` needs 4 classes at least, found 3"]);
}

#[test]
fn autoattack_takes_the_version_for_few_classes_and_says_so() {
    let ground = Playground::new();
    let classes = pictures(&ground, 3);
    let attack = "evaluate.attacks=[{ name = \"autoattack\", steps = 5, queries = 10 }]";
    let mut arguments = quick(&[&["train", "--out", "run"], classes.as_slice()].concat());
    arguments.extend(["--set", attack, "--set", "evaluate.images=12", "--set", "data.train_images=40"]);
    let ran = ground.mrpf(&arguments).ok();
    let told = "there are 3: version few-classes runs in place of standard";
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains(told), "{}", ran.stdout);
    let report = ground.read("run/report.md");
    assert!(report.contains(told), "{report}");
    let attack = &dense_row(&ground, "run/results.json")["attacks"]["autoattack"];
    let parts = attack["parts"].as_array().expect("parts");
    let parts: Vec<&str> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    assert_eq!(parts, ["apgd-ce", "apgd-dlr", "fab", "square"]);
}

#[test]
fn pruning_without_fine_tuning_has_no_such_stage_and_attacks_once() {
    let ground = trained();
    let ran = ground
        .mrpf(&["prune", MODEL, "--set", "finetune.epochs=9", "--set", "prune.sensitivity.images=40", "--out", "p"])
        .ok();
    assert!(!ran.stdout.contains("finetune"), "{}", ran.stdout);
    assert!(ran.stdout.contains("[3/3]") || ran.stdout.contains("3/3"), "{}", ran.stdout);
    let row = dense_row(&ground, "p/results.json");
    assert!(row["robust_accuracy_pruned"].is_null(), "{row}");
    assert!(row["robust_accuracy"].is_number());
    assert!(
        !std::fs::read_dir(ground.path("p/evaluation"))
            .expect("a folder")
            .any(|file| { file.expect("a file").file_name().to_string_lossy().contains("cut") })
    );
    assert!(ground.read("p/report.md").contains("a dash for networks that were not fine-tuned"));
    // The same in a run and in a comparison whose fine-tuning has no epoch.
    let none = ["--set", "finetune.epochs=0", "--set", "compare=[]"];
    let mut run = quick(&["run", "--out", "r"]);
    run.extend(none);
    let ran = ground.mrpf(&run).ok();
    assert!(!ran.stdout.contains("finetune"), "{}", ran.stdout);
    let mut compare = quick(&["compare", "--out", "c"]);
    compare.extend(none);
    ground.mrpf(&compare).ok();
}

#[test]
fn numbers_without_an_end_are_refused() {
    let ground = Playground::new();
    for (setting, text) in [
        ("pretrain.trainer.steps=1000000000", "setting `steps`: found 1000000000, expected 0 to 10000"),
        ("prune.sensitivity.steps=1000000000", "setting `steps`: found 1000000000"),
        ("evaluate.attacks=[{ name = \"pgd\", restarts = 1000000000 }]", "setting `restarts`: found 1000000000"),
        ("pretrain.epochs=1000000000", "setting `pretrain.epochs`: found 1000000000, expected 0 to 100000"),
        ("prune.rounds=1000000000", "setting `prune.rounds`: found 1000000000, expected 1 to 1000"),
        ("evaluate.batch=1000000000", "setting `evaluate.batch`: found 1000000000"),
        ("evaluate.images=nan", "evaluate.images"),
        ("network.architecture=resnet99999999999999999999", "the number 99999999999999999999 behind `resnet`"),
    ] {
        ground.mrpf(&["run", "--set", setting, "--out", "out"]).fails(2, &[text]);
    }
    for key in ["data.train_images", "data.split_seed", "evaluate.curves", "evaluate.images"] {
        ground.write("nan.toml", &format!("extends = \"built-in\"\n{key} = nan\n"));
        ground.mrpf(&["run", "nan.toml", "--out", "out"]).fails(2, &[key, "found NaN, expected a finite number"]);
    }
    ground
        .mrpf(&["bench", "--batch", "1000000000"])
        .fails(2, &["--batch 1000000000 takes 274432.0 GB of memory at least"]);
    assert!(!ground.path("out").exists());
}
