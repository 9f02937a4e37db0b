//! Lengths in the unit of the pixels that cannot be meant: 8 where 8/255 is.

use super::Norm;
use crate::fraction::Fraction;
use crate::{Error, ErrorKind, Result};

/// From this share of the distance between the two images that are furthest apart on, a length is doubted.
const DOUBTFUL: f64 = 0.25;

impl Norm {
    /// Distance of the two images of `values` values that are furthest apart, black and white: a ball of this radius holds every image.
    pub fn furthest(self, values: usize) -> f64 {
        match self {
            Self::Linf => 1.0,
            Self::L2 => (values as f64).sqrt(),
            Self::L1 => values as f64,
        }
    }
}

/// Checks a radius or the length of a step. `what` names it in messages; `values` is the number of values in an image, without which
/// lengths in other norms than L-inf are only asked to be numbers of at least 0.
///
/// Gives what people should be told of a length that is unusually large.
///
/// # Errors
/// [`ErrorKind::Settings`] for a negative length, and for one from which on a ball holds every image.
pub fn check_length(what: &str, length: &Fraction, norm: Norm, values: Option<usize>) -> Result<Option<String>> {
    let value = length.value();
    if !(value >= 0.0 && value.is_finite()) {
        let message = format!("{what} {length}, expected a length of at least 0");
        return Err(Error::new(ErrorKind::Settings, message).hint("lengths are numbers like 8/255 or 0.031"));
    }
    let furthest = match (norm, values) {
        (Norm::Linf, _) => 1.0,
        (_, Some(values)) => norm.furthest(values),
        (_, None) => return Ok(None),
    };
    let meant = format!("did you mean {}/255? pixels are numbers from 0 to 1", length.numerator());
    if value >= furthest {
        let message = format!(
            "{what} {length}, expected a length below {}, the distance from a black to a white image in {}",
            rounded(furthest),
            norm.name()
        );
        return Err(Error::new(ErrorKind::Settings, message).hint(meant));
    }
    let doubt = || {
        format!(
            "{what} {length} is {:.0} % of the distance from a black to a white image in {}; {meant}",
            100.0 * value / furthest,
            norm.name()
        )
    };
    Ok((value >= DOUBTFUL * furthest).then(doubt))
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, norm: Norm, values: Option<usize>) -> Result<Option<String>> {
        check_length("epsilon", &text.parse()?, norm, values)
    }

    #[test]
    fn eight_is_not_eight_255ths() {
        for text in ["8", "1", "255/255"] {
            let error = check(text, Norm::Linf, None).expect_err(text);
            assert!(error.to_string().starts_with(&format!("epsilon {text}, expected a length below 1")), "{error}");
            assert!(error.hint_text().is_some_and(|hint| hint.starts_with("did you mean ")), "{error:?}");
        }
        let hint = check("8", Norm::Linf, None).expect_err("8").hint_text().map(str::to_owned);
        assert!(hint.is_some_and(|hint| hint.contains("8/255")));
        for text in ["0", "8/255", "0.031", "0.2"] {
            assert_eq!(check(text, Norm::Linf, None).ok(), Some(None), "{text}");
        }
        let doubt = check("8/25", Norm::Linf, None).ok().flatten();
        assert!(doubt.is_some_and(|doubt| doubt.contains("did you mean 8/255?")));
        assert!(check("-0.1", Norm::Linf, None).is_err());
    }

    #[test]
    fn other_norms_go_by_the_size_of_the_images() {
        // CIFAR-10: sqrt(3072) is 55.4.
        let values = Some(3 * 32 * 32);
        assert_eq!(check("128/255", Norm::L2, values).ok(), Some(None));
        assert_eq!(check("12", Norm::L1, values).ok(), Some(None));
        assert!(check("20", Norm::L2, values).is_ok_and(|doubt| doubt.is_some()));
        assert!(check("128", Norm::L2, values).is_err());
        assert!(check("1000", Norm::L1, values).is_ok_and(|doubt| doubt.is_some()));
        assert!(check("3072", Norm::L1, values).is_err());
        assert_eq!(check("128", Norm::L2, None).ok(), Some(None));
    }

    proptest! {
        #[test]
        fn what_is_taken_without_a_word_is_taken_when_it_is_smaller(length in 0.0..4000.0f64, share in 0.0..1.0f64) {
            for norm in Norm::ALL {
                let check = |length: f64| check_length("epsilon", &Fraction::from(length), norm, Some(3072));
                if check(length).is_ok_and(|doubt| doubt.is_none()) {
                    prop_assert_eq!(check(length * share).ok(), Some(None));
                }
            }
        }
    }
}
