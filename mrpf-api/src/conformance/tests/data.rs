//! Broken data sets are found out.

use std::path::Path;

use super::*;

impl DataSource for Broken {
    fn load(&self, directory: Option<&Path>) -> Result<LoadedData> {
        if self.is("needs a folder") && directory.is_none() {
            return Err(Error::new(ErrorKind::Data, "name a folder"));
        }
        let set = |count: usize, classes: usize, shift: u64| {
            let shape = ImageShape { channels: 1, height: 2, width: 2 };
            let pixels = (0..4 * count).map(|at| ((at as u64 + shift) % 200) as u8).collect();
            ImageSet::new(shape, pixels, 255, (0..count).map(|at| (at % 2) as u32).collect(), classes)
        };
        let classes = if self.is("a class without images") { 3 } else { 2 };
        let test_classes = if self.is("other classes") { 4 } else { classes };
        let shift = if self.is("unseeded") { self.number } else { 0 };
        Ok(LoadedData {
            train: set(if self.is("nothing to train") { 0 } else { 6 }, classes, shift)?,
            test: set(4, test_classes, 0)?,
            class_names: ["a", "b", "c"][..classes].iter().map(|name| (*name).to_owned()).collect(),
            mean: vec![0.5],
            std: vec![if self.is("no deviation") { 0.0 } else { 0.25 }],
            mirror_keeps_class: false,
        })
    }
}

#[test]
fn data_sets() -> Result<()> {
    let agree = "it has images to train and to test with, of one shape and the same classes";
    let occur = "every class has a name and occurs in the training images";
    assert_broken(
        Kind::DataSet,
        "broken-data",
        &[
            ("other classes", &[agree]),
            ("nothing to train", &[agree, occur]),
            ("a class without images", &[occur]),
            ("no deviation", &["there is a mean and a positive deviation for each channel"]),
            ("unseeded", &["loading it twice gives the same images"]),
            ("needs a folder", &[]),
        ],
    )
}
