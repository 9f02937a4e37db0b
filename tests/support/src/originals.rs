//! The architectures that `tests/fixtures/architectures.py` recorded.

use mrpf_api::prelude::*;
use mrpf_api::registry::make;
use mrpf_api::serde_json::{self, Map, Value};

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2470, 0.2435, 0.2616];

/// An architecture of which something is recorded.
#[derive(Deserialize)]
#[serde(crate = "mrpf_api::serde")]
pub struct Original {
    /// The plugin's name.
    pub architecture: String,
    /// Its settings.
    pub settings: Map<String, Value>,
    /// Height and width of the images.
    pub size: usize,
    /// Parameters as PyTorch counts them.
    pub params: u64,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// The name under which its outputs are recorded, if they are.
    pub recorded: Option<String>,
}

impl Original {
    /// The network for ten classes; the plugin must be linked.
    pub fn declaration(&self) -> Result<Declaration> {
        let input = ImageShape { channels: 3, height: self.size, width: self.size };
        let request = ArchitectureRequest { input, classes: 10, mean: MEAN.into(), std: STD.into() };
        let settings = Value::Object(self.settings.clone());
        make::<dyn Architecture>(&self.architecture, settings)?.declare(&request)
    }
}

/// All of them.
pub fn originals() -> Result<Vec<Original>> {
    let wrong = |error: serde_json::Error| Error::new(ErrorKind::Data, format!("architectures.json: {error}"));
    serde_json::from_str(include_str!("../../fixtures/architectures.json")).map_err(wrong)
}
