use serde_json::Value;

use crate::support::{Playground, quick};

/// The rows of a run's results, by name.
fn row<'a>(results: &'a Value, name: &str) -> &'a Value {
    let rows = results["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row `{name}` in {results}"))
}

#[test]
fn a_run_leaves_a_complete_comparison() {
    let ground = Playground::new();
    let ran = ground.mrpf(&quick(&["run", "--out", "out"])).ok();
    assert!(ran.stdout.contains("[5/14] measure mrs") && ran.stdout.contains("finished in"), "{}", ran.stdout);

    let results = ground.json("out/results.json");
    let names: Vec<_> = results["rows"].as_array().expect("rows").iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["dense-standard", "dense", "mrs-l1-norm", "l1-norm-uniform", "random-uniform"].map(Some));
    let dense = row(&results, "dense");
    for name in ["mrs-l1-norm", "l1-norm-uniform", "random-uniform"] {
        let pruned = row(&results, name);
        assert_eq!((pruned["ratio_asked"].as_f64(), pruned["budget"].as_str()), (Some(0.5), Some("macs")));
        let gone = 1.0 - pruned["macs"].as_f64().expect("MACs") / dense["macs"].as_f64().expect("MACs");
        let said = pruned["ratio_achieved"].as_f64().expect("a ratio");
        assert!((gone - said).abs() < 1e-12, "{name}: {gone} gone, {said} said");
        assert!((said - 0.5).abs() <= 0.01 || pruned["shortfall"].is_string(), "{name}: {said}");
        assert_eq!(pruned["trainer"], "trades");
    }
    assert_eq!(row(&results, "mrs-l1-norm")["sensitivity"], "mrs");
    assert_eq!(row(&results, "l1-norm-uniform")["sensitivity"], Value::Null);
    for row in results["rows"].as_array().expect("rows") {
        for share in ["clean_accuracy", "robust_accuracy"] {
            assert!((0.0..=1.0).contains(&row[share].as_f64().expect("a share")), "{row}");
        }
        assert!(row["robust_accuracy"].as_f64() <= row["clean_accuracy"].as_f64(), "{row}");
        assert!(ground.path("out").join(row["model"].as_str().expect("a file")).is_file(), "{row}");
    }
    for file in [
        "report.md",
        "metrics.jsonl",
        "run.json",
        "experiment.toml",
        "evaluation/dense.parquet",
        "plans/mrs-l1-norm.json",
    ] {
        assert!(ground.path("out").join(file).is_file(), "{file}");
    }
    let outcomes = ground.json("out/evaluation/dense.json")["outcomes"].as_array().map(Vec::len);
    assert_eq!(outcomes, Some(60), "an outcome for each image");
    let events = ground.read("out/metrics.jsonl");
    let kinds: Vec<String> = events
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("a JSON object")["event"].as_str().expect("a kind").to_owned()
        })
        .collect();
    assert_eq!(
        (kinds.first().map(String::as_str), kinds.last().map(String::as_str)),
        (Some("run-started"), Some("run-finished"))
    );

    let explained = ground.mrpf(&["explain", "out", "layer1.0.conv2", "--row", "mrs-l1-norm"]).ok().stdout;
    for text in ["group `conv1`: 4 channels", "filter of `layer1.0.conv2`", "sensitivity", "scores", "asked to go"] {
        assert!(explained.contains(text), "`{text}` is not in\n{explained}");
    }
    let everything = ground.mrpf(&["explain", "out", "--row", "mrs-l1-norm"]).ok().stdout;
    assert_eq!(everything.matches("  group `").count(), 7, "one for each stage, block and the classes\n{everything}");

    let model = "out/networks/mrs-l1-norm.safetensors";
    let told: Value =
        serde_json::from_str(&ground.mrpf(&["summary", "--model", model, "--json"]).ok().stdout).expect("JSON");
    let pruned = row(&results, "mrs-l1-norm");
    assert_eq!((&told["params"], &told["macs"]), (&pruned["params"], &pruned["macs"]));
}

#[test]
fn the_steps_work_on_saved_files() {
    let ground = Playground::new();
    ground.mrpf(&quick(&["train", "--out", "dense"])).ok();
    let model = "dense/networks/dense.safetensors";
    ground.mrpf(&quick(&["sensitivity", model, "--out", "sensitivity"])).ok();
    let measured = ground.json("sensitivity/sensitivity/mrs.json");
    assert_eq!(measured.as_array().map(Vec::len), Some(10), "{measured}");

    let given = [
        "prune",
        model,
        "--sensitivity",
        "sensitivity/sensitivity/mrs.json",
        "--out",
        "pruned",
        "--set",
        "prune.ratio=0.6",
    ];
    ground.mrpf(&quick(&given)).ok();
    let pruned = ground.json("pruned/results.json");
    let cut = row(&pruned, "mrs-l1-norm");
    assert_eq!((cut["ratio_asked"].as_f64(), cut["criterion"].as_str()), (Some(0.6), Some("l1-norm")));

    let small = format!("pruned/{}", cut["model"].as_str().expect("a file"));
    ground.mrpf(&quick(&["finetune", &small, "--out", "tuned"])).ok();
    let tuned = ground.json("tuned/results.json");
    assert_eq!(row(&tuned, "finetuned")["macs"], cut["macs"]);

    let tuned_model = "tuned/networks/finetuned.safetensors";
    let ran = [
        "evaluate",
        tuned_model,
        "--attacks",
        "fgsm,pgd",
        "--epsilons",
        "0,8/255",
        "--images",
        "40",
        "--out",
        "attacked",
    ];
    ground.mrpf(&ran).ok();
    let attacked = ground.json("attacked/results.json");
    let (nowhere, near) = (row(&attacked, "epsilon 0"), row(&attacked, "epsilon 8/255"));
    assert_eq!(nowhere["robust_accuracy"], nowhere["clean_accuracy"]);
    assert_eq!((near["images"].as_u64(), near["epsilon"].as_str()), (Some(40), Some("8/255")));
    assert!(near["attacks"]["fgsm"].is_object() && near["attacks"]["pgd"].is_object());
}

#[test]
fn pruning_in_rounds_ends_at_the_ratio() {
    let ground = Playground::new();
    let rounds = ["--set", "prune.schedule=cubic", "--set", "prune.rounds=3", "--set", "finetune.epochs=4"];
    let arguments =
        [&["run", "--out", "out", "--set", "compare=[]", "--set", "standard_baseline=false"], &rounds[..]].concat();
    // What is given last wins, so the quick settings come first.
    let arguments: Vec<&str> = quick(&["run"]).into_iter().chain(arguments[1..].iter().copied()).collect();
    ground.mrpf(&arguments).ok();
    let plan = ground.json("out/plans/mrs-l1-norm.json");
    let asked: Vec<f64> =
        plan["rounds"].as_array().expect("rounds").iter().filter_map(|round| round["ratio_asked"].as_f64()).collect();
    assert_eq!(asked.len(), 3);
    assert!(asked.is_sorted() && asked[2] == 0.5, "{asked:?}");
    let results = ground.json("out/results.json");
    let said = row(&results, "mrs-l1-norm")["ratio_achieved"].as_f64().expect("a ratio");
    assert!((said - 0.5).abs() < 0.05, "{said}");
}

#[test]
fn json_output_is_one_object_a_line_and_quiet_is_silent() {
    let ground = Playground::new();
    let told = ground.mrpf(&quick(&["train", "--json", "--out", "a"])).ok().stdout;
    assert!(
        told.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|value| value["event"].is_string())),
        "{told}"
    );
    assert!(told.contains("\"event\":\"progress\"") && told.contains("images_per_s"));
    assert_eq!(ground.mrpf(&quick(&["train", "--quiet", "--out", "b"])).ok().stdout, "");
}

#[test]
fn help_and_listings() {
    let ground = Playground::new();
    let help = ground.mrpf(&["--help"]).ok().stdout;
    for text in ["run", "train", "sensitivity", "prune", "finetune", "evaluate", "plugins", "explain", "Exit codes:"] {
        assert!(help.contains(text), "{help}");
    }
    insta::assert_snapshot!("plugins_list", ground.mrpf(&["plugins", "list"]).ok().stdout);
    insta::assert_snapshot!("plugins_show_trades", ground.mrpf(&["plugins", "show", "trades"]).ok().stdout);
    insta::assert_snapshot!("plugins_show_mrs", ground.mrpf(&["plugins", "show", "mrs"]).ok().stdout);
    insta::assert_snapshot!("run_help", ground.mrpf(&["run", "--help"]).ok().stdout);
    let listed: Value =
        serde_json::from_str(&ground.mrpf(&["plugins", "list", "--kind", "trainer", "--json"]).ok().stdout)
            .expect("JSON");
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|plugin| plugin["name"].as_str()).collect();
    let known = ["awp", "distill", "fgsm-rs", "free-at", "mart", "pgd-at", "slimming", "standard", "trades"];
    assert_eq!(names, known.map(Some));
}

#[test]
fn every_trainer_fine_tunes_in_a_run_and_a_saved_network_can_teach() {
    let ground = Playground::new();
    let trainers = ["standard", "pgd-at", "mart", "awp", "fgsm-rs", "free-at", "distill", "slimming"];
    let rows = trainers.map(|name| format!("{{ name = \"{name}\", trainer = \"{name}\" }}")).join(", ");
    let compare = format!("compare=[{rows}]");
    let settings = ["--set", "standard_baseline=false", "--set", &compare];
    ground.mrpf(&quick(&["run", "--out", "out"]).into_iter().chain(settings).collect::<Vec<_>>()).ok();
    let results = ground.json("out/results.json");
    for name in trainers {
        assert_eq!(row(&results, name)["trainer"], name);
        assert!(row(&results, name)["robust_accuracy"].is_number());
    }
    let teacher = "finetune.teacher=out/networks/dense.safetensors";
    let distill = ["--set", "finetune.trainer=distill", "--set", teacher, "--out", "taught"];
    let arguments = ["finetune", "out/networks/mart.safetensors"].into_iter().chain(distill).collect::<Vec<_>>();
    ground.mrpf(&quick(&arguments)).ok();
    assert_eq!(row(&ground.json("taught/results.json"), "finetuned")["trainer"], "distill");
    ground.mrpf(&quick(&arguments[..4])).fails(2, &["trainer `distill` learns from a teacher, and there is none"]);
}

#[test]
fn every_architecture_goes_through_a_whole_run() {
    let ground = Playground::new();
    for (name, settings, known) in [
        ("resnet-14", "width = 4", "layer3.1.conv2"),
        ("resnet-50", "width = 2, form = \"imagenet\"", "layer1.0.conv3"),
        ("preact-resnet-18", "width = 4", "layer2.0.shortcut.0"),
        ("wide-resnet-10-2", "width = 3", "block1.layer.0.convShortcut"),
        ("vgg-11", "width = 4, head = \"three-layer\"", "classifier.2"),
        ("mobilenet-v2", "width = 0.1, divisor = 1", "features.2.conv.1.0"),
        ("mobilevit-xs", "width = 0.1", "stages.2.1.transformer.0.attn.query"),
        ("densenet-16-4", "compression = 0.5", "trans1.conv1"),
    ] {
        let choice = format!("network.architecture={{ name = \"{name}\", {settings} }}");
        let only = ["--set", "compare=[]", "--set", "standard_baseline=false", "--set", choice.as_str(), "--out", name];
        let arguments: Vec<&str> = quick(&["run"]).into_iter().chain(only).collect();
        ground.mrpf(&arguments).ok();
        let results = ground.json(&format!("{name}/results.json"));
        let said = row(&results, "mrs-l1-norm")["ratio_achieved"].as_f64().expect("a ratio");
        assert!((said - 0.5).abs() < 0.05, "{name}: {said}");
        let explained = ground.mrpf(&["explain", name, known]).ok().stdout;
        assert!(explained.contains(&format!("`{known}`")), "{explained}");
    }
}

#[test]
fn a_network_is_summarised() {
    let ground = Playground::new();
    let small = ["summary", "--arch", "resnet8", "--set", "width=4", "--input", "1x8x8"];
    insta::assert_snapshot!("summary_resnet8", ground.mrpf(&small).ok().stdout);
    for (name, params) in [
        ("resnet20", 272_474),
        ("resnet-56", 855_770),
        ("resnet18", 11_173_962),
        ("preact-resnet-18", 11_172_170),
        ("wide-resnet-34-10", 46_160_474),
        ("densenet-100-12", 769_162),
        ("mobilenet-v2", 2_236_682),
        ("mobilevit-xxs", 954_234),
        ("mobilevit-s-imagenet", 4_944_042),
        ("resnet-50-imagenet", 23_528_522),
    ] {
        let told = ground.mrpf(&["summary", "--arch", name, "--json"]).ok().stdout;
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["params"].as_u64(), Some(params), "{name}");
        assert!(told["macs"].is_u64() && told["layers"].is_array() && told["groups"].is_array(), "{name}");
    }
}

#[test]
fn every_piece_of_work_is_measured_and_compared() {
    let ground = Playground::new();
    let small = ["--arch", "resnet20", "--batch", "2", "--steps", "1", "--warmup", "0", "--attack-steps", "1"];
    for what in ["conv", "forward", "attack", "train_step", "mrs", "cut"] {
        let mut arguments = vec!["bench", "--what", what, "--json", "--images", "2", "--epochs", "1", "--threads", "1"];
        arguments.extend(small);
        let lines = ground.mrpf(&arguments).ok().stdout;
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
            assert_eq!((&line["what"], &line["batch"], &line["threads"]), (&what.into(), &2.into(), &1.into()));
            assert!(line["median"].as_f64().is_some_and(|median| median > 0.0), "{line}");
        }
        ground.write("lines.json", &lines);
        arguments.extend(["--against", "lines.json"]);
        let again = ground.mrpf(&arguments).ok().stdout;
        assert!(again.lines().all(|line| line.contains("\"ratio\":")), "{again}");
    }
    let table = ground.mrpf(&["bench", "--what", "forward", "--arch", "resnet20", "--batch", "2", "--steps", "1"]).ok();
    assert!(
        table.stdout.contains("forward, resnet20, batch 2, ") && table.stdout.contains("images/s"),
        "{}",
        table.stdout
    );
    ground.mrpf(&["bench", "--batch", "0"]).fails(2, &["batch 0, steps 3", "expected at least 1 of each"]);
    ground
        .mrpf(&["bench", "--arch", "resnext18"])
        .fails(2, &["unknown architecture `resnext`", "did you mean `resnet`?"]);
    ground.mrpf(&["bench", "--against", "nowhere"]).fails(4, &["cannot read the measurements nowhere"]);
}
