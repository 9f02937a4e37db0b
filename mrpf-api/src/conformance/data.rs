//! Laws of data sets.

use super::{Finding, Subject, Verdict, holds_if, law};
use crate::data::{DataSource, ImageSet, LoadedData};
use crate::{ErrorKind, Result};

pub(super) fn laws(subject: &Subject<'_>) -> Vec<Finding> {
    // Loading may take a while, so each law looks at one of two loadings.
    let loaded = load(subject);
    let with = |examine: fn(&LoadedData) -> Verdict| match &loaded {
        Ok(data) => Ok(examine(data)),
        Err(verdict) => Ok(verdict.clone()),
    };
    vec![
        law("it has images to train and to test with, of one shape and the same classes", || with(sets_agree)),
        law("every class has a name and occurs in the training images", || with(classes_occur)),
        law("there is a mean and a positive deviation for each channel", || with(statistics)),
        law("loading it twice gives the same images", || match &loaded {
            Ok(first) => Ok(match load(subject) {
                Ok(second) => holds_if(same(&first.train, &second.train) && same(&first.test, &second.test), || {
                    "two loadings differ".into()
                }),
                Err(verdict) => verdict,
            }),
            Err(verdict) => Ok(verdict.clone()),
        }),
    ]
}

fn load(subject: &Subject<'_>) -> Result<LoadedData, Verdict> {
    let directory = subject.surroundings.data_dir.as_deref();
    let loaded = subject.make::<dyn DataSource>().and_then(|source| source.load(directory));
    loaded.map_err(|error| match (error.kind(), directory) {
        (ErrorKind::Data, None) => Verdict::NotExamined(format!("without a folder it says: {error}")),
        _ => Verdict::Broken(error.to_string()),
    })
}

fn sets_agree(data: &LoadedData) -> Verdict {
    let (train, test) = (&data.train, &data.test);
    if train.is_empty() || test.is_empty() {
        return Verdict::Broken(format!("{} images to train and {} to test with", train.len(), test.len()));
    }
    let about = |set: &ImageSet| (set.shape().dims(), set.classes());
    holds_if(about(train) == about(test), || format!("{:?} to train and {:?} to test with", about(train), about(test)))
}

fn classes_occur(data: &LoadedData) -> Verdict {
    if data.class_names.len() != data.classes() {
        return Verdict::Broken(format!("{} names for {} classes", data.class_names.len(), data.classes()));
    }
    let missing = (0..data.classes()).find(|&class| !data.train.labels().contains(&(class as u32)));
    missing.map_or(Verdict::Holds, |class| Verdict::Broken(format!("class {class} has no training image")))
}

fn statistics(data: &LoadedData) -> Verdict {
    let channels = data.shape().channels;
    let right = data.mean.len() == channels
        && data.std.len() == channels
        && data.mean.iter().all(|mean| (0.0..=1.0).contains(mean))
        && data.std.iter().all(|std| *std > 0.0 && std.is_finite());
    holds_if(right, || format!("mean {:?}, deviation {:?} for {channels} channels", data.mean, data.std))
}

fn same(a: &ImageSet, b: &ImageSet) -> bool {
    a.len() == b.len() && a.labels() == b.labels() && (0..a.len()).all(|at| a.pixels(at) == b.pixels(at))
}
