//! Holds training images out, to choose the best epoch without looking at the test images.

use mrpf_api::data::LoadedData;
use mrpf_api::random::Streams;
use mrpf_api::{Error, ErrorKind, Result};

/// Which training images are trained on, and which only choose the best epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Indices of the images trained on, ascending.
    pub train: Vec<usize>,
    /// Indices of the held-out images, ascending and class-balanced.
    pub holdout: Vec<usize>,
}

/// Classes count as equally large when the largest has at most this many times the images of the smallest.
const NEARLY_EQUAL: f64 = 1.25;

impl Split {
    /// Takes `images` training images (all when not given), class-balanced, and holds the share `holdout` of each class out.
    ///
    /// Classes of nearly the same size give equally many images, so that each weighs the same when the best epoch is chosen. An
    /// image of each class is left to train on, whatever the share.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if fewer than two images are left to train on, or the share is positive and no image is held out.
    pub fn new(data: &LoadedData, holdout: f64, images: Option<usize>, streams: &Streams) -> Result<Self> {
        let used = data.train.balanced_subset(images.unwrap_or(usize::MAX), &streams.child("used"));
        let set = data.train.subset(&used);
        let counts = held_out_of(&set.class_counts(), holdout);
        let held = set.drawn_by_class(&counts, &streams.child("held-out"));
        let holdout_images: Vec<usize> = held.iter().map(|&at| used[at]).collect();
        let train: Vec<usize> = used.iter().copied().filter(|at| holdout_images.binary_search(at).is_err()).collect();
        if train.len() < 2 || (holdout > 0.0 && holdout_images.is_empty()) {
            let message = format!(
                "{} training images with a share of {holdout} held out leave {} to train on and {} held out",
                used.len(),
                train.len(),
                holdout_images.len()
            );
            let hint = "raise data.train_images or change data.holdout; each class keeps an image to train on";
            return Err(Error::new(ErrorKind::Data, message).hint(hint));
        }
        Ok(Self { train, holdout: holdout_images })
    }

    /// What the user should know of classes that are left without images: a sentence each.
    pub fn warnings(&self, data: &LoadedData) -> Vec<String> {
        let there = data.train.class_counts();
        let used = data.train.subset(&self.train).class_counts();
        let of = |without: &dyn Fn(usize) -> bool| {
            let names = data.class_names.iter().enumerate().filter(|(class, _)| without(*class));
            names.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
        };
        let test = data.test.class_counts();
        let lost = of(&|class| there[class] > 0 && used[class] == 0);
        [
            classes_without("training images", &of(&|class| there[class] == 0)),
            classes_without("images to train on, because data.train_images is below the number of classes", &lost),
            classes_without("test images", &of(&|class| test[class] == 0)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Says which classes have none of `what`; nothing where all have some.
pub fn classes_without(what: &str, names: &[&str]) -> Option<String> {
    /// As many are named.
    const NAMED: usize = 5;
    let named: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMED);
    match (named.as_slice(), more) {
        ([], _) => None,
        ([one], _) => Some(format!("class {one} has no {what}")),
        (_, 0) => Some(format!("{} classes have no {what}: {}", names.len(), named.join(", "))),
        _ => Some(format!("{} classes have no {what}: {} and {more} more", names.len(), named.join(", "))),
    }
}

/// How many images of each class are held out, where `there` are so many: rounded so that their sum is the share of the sum.
fn held_out_of(there: &[usize], share: f64) -> Vec<usize> {
    // A class keeps one image to train on, so that one of a single image gives none.
    let giving = || there.iter().copied().filter(|&count| count > 1);
    let (smallest, largest) = (giving().min().unwrap_or(0), giving().max().unwrap_or(0));
    let total = (giving().sum::<usize>() as f64 * share).round();
    let equal = (largest as f64 <= NEARLY_EQUAL * smallest as f64).then(|| total / giving().count().max(1) as f64);
    let most: Vec<usize> = there.iter().map(|&count| count.saturating_sub(1)).collect();
    let wanted: Vec<f64> = there.iter().map(|&count| equal.unwrap_or(count as f64 * share)).collect();
    let mut held: Vec<usize> = wanted.iter().zip(&most).map(|(&wanted, &most)| (wanted as usize).min(most)).collect();
    // What rounding down left goes to those that lost most by it, one image each a turn, the lowest label first among equals.
    let mut order: Vec<usize> = (0..there.len()).collect();
    order.sort_by(|&a, &b| wanted[b].fract().total_cmp(&wanted[a].fract()).then(a.cmp(&b)));
    let mut left = (total as usize).saturating_sub(held.iter().sum());
    while left > 0 && held.iter().zip(&most).any(|(held, most)| held < most) {
        for &class in &order {
            if held[class] < most[class] && left > 0 {
                held[class] += 1;
                left -= 1;
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::data::{ImageSet, ImageShape};
    use proptest::prelude::*;

    /// Training images of so many of each class, in turn, and one test image of each class.
    fn data(counts: &[usize]) -> Result<LoadedData> {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let turns = 0..counts.iter().copied().max().unwrap_or(0);
        let labels = turns.flat_map(|turn| (0..counts.len()).filter(move |&class| turn < counts[class]));
        let labels: Vec<u32> = labels.map(|class| class as u32).collect();
        let classes = counts.len();
        let test = (0..classes as u32).collect();
        Ok(LoadedData {
            train: ImageSet::new(shape, vec![0; labels.len()], 255, labels, classes)?,
            test: ImageSet::new(shape, vec![0; classes], 255, test, classes)?,
            class_names: (0..classes).map(|class| format!("c{class}")).collect(),
            mean: vec![0.0],
            std: vec![1.0],
            mirror_keeps_class: true,
        })
    }

    /// Images of each class that are trained on and held out.
    fn counts(split: &Split, data: &LoadedData) -> [Vec<usize>; 2] {
        [&split.train, &split.holdout].map(|part| data.train.subset(part).class_counts())
    }

    #[test]
    fn the_parts_are_apart_balanced_and_the_same_for_a_seed() -> Result<()> {
        let (data, streams) = (data(&[20; 3])?, Streams::new(4));
        let split = Split::new(&data, 0.2, Some(45), &streams)?;
        assert_eq!((split.train.len(), split.holdout.len()), (36, 9));
        assert!(split.train.iter().all(|at| !split.holdout.contains(at)));
        assert_eq!(counts(&split, &data), [vec![12; 3], vec![3; 3]]);
        assert_eq!(split, Split::new(&data, 0.2, Some(45), &streams)?);
        assert_ne!(split, Split::new(&data, 0.2, Some(45), &Streams::new(5))?);
        Ok(())
    }

    #[test]
    fn a_rare_class_gives_its_share_and_keeps_an_image() -> Result<()> {
        let rare = data(&[160, 80, 8])?;
        let split = Split::new(&rare, 0.1, None, &Streams::new(0))?;
        assert_eq!(counts(&split, &rare), [vec![144, 72, 7], vec![16, 8, 1]]);
        let alone = data(&[100, 1, 2])?;
        let split = Split::new(&alone, 0.5, None, &Streams::new(0))?;
        assert_eq!(counts(&split, &alone), [vec![50, 1, 1], vec![50, 0, 1]]);
        assert!(split.warnings(&alone).is_empty());
        Ok(())
    }

    #[test]
    fn classes_without_images_are_told() -> Result<()> {
        let mut some = data(&[9, 0, 9, 9, 9, 9, 9, 9])?;
        some.test = some.test.subset(&[0, 1, 2, 3, 4, 5, 6]);
        let split = Split::new(&some, 0.0, None, &Streams::new(0))?;
        assert_eq!(split.warnings(&some), ["class `c1` has no training images", "class `c7` has no test images"]);
        let few = data(&[9; 9])?;
        assert_eq!(Split::new(&few, 0.0, Some(9), &Streams::new(0))?.warnings(&few), Vec::<String>::new());
        let told = Split::new(&few, 0.0, Some(2), &Streams::new(0))?.warnings(&few);
        let expected = "7 classes have no images to train on, because data.train_images is below the number of classes: \
                        `c2`, `c3`, `c4`, `c5`, `c6` and 2 more";
        assert_eq!(told, [expected]);
        Ok(())
    }

    #[test]
    fn too_few_images_are_answered() -> Result<()> {
        let error = Split::new(&data(&[20; 3])?, 0.1, Some(3), &Streams::new(0)).expect_err("no image is held out");
        assert!(error.to_string().ends_with("leave 3 to train on and 0 held out"), "{error}");
        Ok(())
    }

    proptest! {
        #[test]
        fn each_class_gives_its_share_within_an_image_and_keeps_one(
            there in prop::collection::vec(0..60usize, 1..12),
            share in 0.0..=0.5f64,
        ) {
            let held = held_out_of(&there, share);
            let giving = || there.iter().copied().filter(|&count| count > 1);
            let largest = giving().max().unwrap_or(0);
            let equal = giving().all(|count| largest as f64 <= NEARLY_EQUAL * count as f64);
            for (&held, &there) in held.iter().zip(&there) {
                prop_assert!(held < there || there == 0);
                if !equal && there > 1 {
                    let wanted = there as f64 * share;
                    prop_assert!((held as f64 - wanted).abs() < 1.0 + 1e-9, "{held} of {there}, wanted {wanted}");
                }
            }
            let most: usize = there.iter().map(|&count| count.saturating_sub(1)).sum();
            let total = (giving().sum::<usize>() as f64 * share).round() as usize;
            prop_assert_eq!(held.iter().sum::<usize>(), total.min(most));
        }

        #[test]
        fn classes_of_one_size_are_held_out_as_a_balanced_subset(
            classes in 1..8usize,
            each in 2..20usize,
            share in 0.0..=0.5f64,
            seed in 0..4u64,
        ) {
            let data = data(&vec![each; classes]).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let streams = Streams::new(seed);
            let count = (data.train.len() as f64 * share).round() as usize;
            let balanced = data.train.balanced_subset(count, &streams.child("held-out"));
            if let Ok(split) = Split::new(&data, share, None, &streams) {
                prop_assert_eq!(split.holdout, balanced);
            }
        }
    }
}
