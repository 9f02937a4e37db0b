//! What a plugin says of its work before anything is computed.

use crate::Result;

/// What a plugin that was asked before the work says; it refuses by an error of kind [`crate::ErrorKind::Settings`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Foresight {
    /// It cannot tell before it has begun.
    #[default]
    Unknown,
    /// It will not refuse the work.
    Fits,
    /// It will not refuse the work, and people should know these things of it, each a sentence without a full stop.
    FitsBut(Vec<String>),
}

impl Foresight {
    /// What people should know.
    pub fn remarks(self) -> Vec<String> {
        match self {
            Self::Unknown | Self::Fits => Vec::new(),
            Self::FitsBut(remarks) => remarks,
        }
    }

    /// It fits, with what there is to remark.
    pub fn with(remarks: impl IntoIterator<Item = String>) -> Self {
        let remarks: Vec<String> = remarks.into_iter().collect();
        if remarks.is_empty() { Self::Fits } else { Self::FitsBut(remarks) }
    }

    /// What two plugins say that do the work together; both remark, and one that cannot tell makes it unknown.
    ///
    /// # Errors
    /// The other's refusal.
    pub fn and(self, other: Result<Self>) -> Result<Self> {
        let other = other?;
        if self == Self::Unknown || other == Self::Unknown {
            return Ok(Self::Unknown);
        }
        Ok(Self::with(self.remarks().into_iter().chain(other.remarks())))
    }
}
