//! A schedule whose settings cannot be made.

use mrpf_api::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(crate = "mrpf_api::serde")]
#[schemars(crate = "mrpf_api::schemars")]
struct Unready {
    value: f64,
}

impl Default for Unready {
    fn default() -> Self {
        panic!("the defaults are not known yet")
    }
}

export_plugin!();

register_plugin! {
    kind: Schedule,
    name: "panics-in-registration",
    summary: "cannot say what its settings are",
    source: "own",
    settings: Unready,
    make: |settings| Ok(Box::new(Never { value: settings.value })),
}

struct Never {
    value: f64,
}

impl PruningSchedule for Never {
    fn ratio(&self, _progress: f64, _final_ratio: f64) -> f64 {
        self.value
    }
}
