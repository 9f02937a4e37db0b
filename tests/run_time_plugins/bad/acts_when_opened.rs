//! A plugin that does something as soon as it is opened, and does more than compute when it is called.

use mrpf_api::prelude::*;

/// Says what to do at opening: `mark:FILE`, `print` or `exit`.
const VARIABLE: &str = "MRPF_TEST_ACT";

#[used]
#[unsafe(link_section = ".init_array")]
static AT_OPENING: extern "C" fn() = act;

extern "C" fn act() {
    match std::env::var(VARIABLE).unwrap_or_default().split_once(':') {
        Some(("mark", file)) => drop(std::fs::write(file, "the plugin ran")),
        _ => match std::env::var(VARIABLE).as_deref() {
            Ok("print") => println!("printed at opening"),
            Ok("exit") => std::process::exit(0),
            _ => {}
        },
    }
}

#[derive(Default, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", rename_all = "kebab-case")]
#[schemars(crate = "mrpf_api::schemars")]
enum Way {
    #[default]
    Print,
    Exit,
    ExitInThread,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde", default)]
#[schemars(crate = "mrpf_api::schemars")]
struct Settings {
    /// What it does when it is called.
    way: Way,
}

export_plugin!();

register_plugin! {
    kind: Criterion,
    name: "acting",
    summary: "does more than to score",
    source: "own",
    settings: Settings,
    make: |settings: Settings| Ok(Box::new(Acting(settings.way))),
}

struct Acting(Way);

impl Criterion for Acting {
    fn scores(&self, _: &CallContext<'_>, _: &Network, group: &ChannelGroup) -> Result<Vec<f64>> {
        match self.0 {
            Way::Print => println!("printed while scoring"),
            Way::Exit => std::process::exit(0),
            Way::ExitInThread => drop(std::thread::spawn(|| std::process::exit(0)).join()),
        }
        Ok((0..group.channels).map(|channel| channel as f64).collect())
    }
}
