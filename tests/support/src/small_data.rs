//! Images for tests that measure something on a data set.

use mrpf_api::prelude::*;

use crate::IMAGE;

/// 40 training and 20 test images of the shape that the recorded ResNet-8 takes, in its ten classes: noise around a brightness that
/// is the class.
pub fn small_data() -> Result<LoadedData> {
    let set = |name: &str, count: usize| {
        let mut stream = Streams::new(7).child(name).stream();
        let pixel = |image: usize, noise: f64| (20.0 * (image % 10) as f64 + 60.0 * noise) as u8;
        let pixels = (0..count * IMAGE.len()).map(|at| pixel(at / IMAGE.len(), stream.unit())).collect();
        ImageSet::new(IMAGE, pixels, 255, (0..count).map(|image| (image % 10) as u32).collect(), 10)
    };
    Ok(LoadedData {
        train: set("train", 40)?,
        test: set("test", 20)?,
        class_names: (0..10).map(|class| class.to_string()).collect(),
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
        mirror_keeps_class: true,
    })
}
