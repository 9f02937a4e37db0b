//! Where the channels of a group stand on an axis of a tensor.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// For each channel of a group, the positions on an axis that go with it, ascending; none where the axis does not have the channel.
///
/// Reads like a list of slices, and is saved as a list of lists. Tensors whose axes are alike share one.
#[derive(Clone, PartialEq, Eq)]
pub struct Positions(Arc<Lists>);

/// The positions of channel i are `places[starts[i]..starts[i + 1]]`.
#[derive(PartialEq, Eq)]
struct Lists {
    starts: Vec<usize>,
    places: Vec<usize>,
}

impl Positions {
    /// From pairs of a channel below `channels` and a position, in the order of the positions.
    pub(super) fn of_pairs(channels: usize, pairs: impl Iterator<Item = (usize, usize)> + Clone) -> Self {
        // Counts first, one place to the right, so that the sums up to each are where its list begins.
        let mut starts = vec![0; channels + 1];
        pairs.clone().for_each(|(channel, _)| starts[channel + 1] += 1);
        for channel in 0..channels {
            starts[channel + 1] += starts[channel];
        }
        let (mut next, mut places) = (starts.clone(), vec![0; starts[channels]]);
        for (channel, position) in pairs {
            places[next[channel]] = position;
            next[channel] += 1;
        }
        Self(Arc::new(Lists { starts, places }))
    }

    /// The number of channels.
    pub fn len(&self) -> usize {
        self.0.starts.len() - 1
    }

    /// Whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The positions of a channel; none if there is no such channel.
    pub fn get(&self, channel: usize) -> Option<&[usize]> {
        (channel < self.len()).then(|| &self[channel])
    }

    /// The positions of each channel.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        (0..self.len()).map(|channel| &self[channel])
    }

    /// All positions, channel by channel.
    pub fn concat(&self) -> Vec<usize> {
        self.0.places.clone()
    }

    /// Whether both are one list in memory: a quick yes, while lists apart may still be equal.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Index<usize> for Positions {
    type Output = [usize];

    fn index(&self, channel: usize) -> &[usize] {
        &self.0.places[self.0.starts[channel]..self.0.starts[channel + 1]]
    }
}

impl FromIterator<Vec<usize>> for Positions {
    fn from_iter<I: IntoIterator<Item = Vec<usize>>>(lists: I) -> Self {
        let (mut starts, mut places) = (vec![0], Vec::new());
        for list in lists {
            places.extend(list);
            starts.push(places.len());
        }
        Self(Arc::new(Lists { starts, places }))
    }
}

impl From<Vec<Vec<usize>>> for Positions {
    fn from(lists: Vec<Vec<usize>>) -> Self {
        lists.into_iter().collect()
    }
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Positions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Positions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Vec<usize>>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_are_read_as_they_were_given(lists in prop::collection::vec(prop::collection::vec(0..99_usize, 0..4), 0..9)) {
            let positions = Positions::from(lists.clone());
            prop_assert_eq!(positions.iter().map(<[usize]>::to_vec).collect::<Vec<_>>(), lists.clone());
            prop_assert_eq!(positions.concat(), lists.concat());
            prop_assert_eq!((positions.len(), positions.get(lists.len())), (lists.len(), None));
            prop_assert_eq!(format!("{positions:?}"), format!("{lists:?}"));
            let saved = serde_json::to_string(&positions).expect("numbers");
            prop_assert_eq!(&saved, &serde_json::to_string(&lists).expect("numbers"));
            prop_assert_eq!(serde_json::from_str::<Positions>(&saved).expect("what was saved"), positions);
        }

        #[test]
        fn pairs_are_listed_by_channel(channels in prop::collection::vec(0..5_usize, 0..20)) {
            let mut lists = vec![Vec::new(); 5];
            channels.iter().enumerate().for_each(|(position, &channel)| lists[channel].push(position));
            let pairs = channels.iter().enumerate().map(|(position, &channel)| (channel, position));
            prop_assert_eq!(Positions::of_pairs(5, pairs), Positions::from(lists));
        }
    }
}
