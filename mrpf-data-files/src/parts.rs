//! The parts of a data set, by the names of their folders.

/// What the images of a folder are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Training.
    Train,
    /// Choosing among networks.
    Validation,
    /// The final evaluation.
    Test,
}

impl Part {
    /// The part that a folder's name stands for, in upper or lower case: `train`, `training`; `val`, `valid`, `validation`; `test`,
    /// `testing`.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_any_of_their_names() {
        let known = [
            (Part::Train, ["train", "Train", "TRAIN", "training", "Training"]),
            (Part::Validation, ["val", "VAL", "valid", "Validation", "validation"]),
            (Part::Test, ["test", "Test", "TEST", "testing", "Testing"]),
        ];
        for (part, names) in known {
            assert!(names.iter().all(|name| Part::of_name(name) == Some(part)), "{part:?}");
        }
        assert!(["trains", "tester", "value", "dev", ""].iter().all(|name| Part::of_name(name).is_none()));
    }
}
