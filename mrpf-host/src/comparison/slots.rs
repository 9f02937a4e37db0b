//! Places for processes on devices: which device the next one computes on.

use crate::device::DeviceChoice;

/// Devices, each with places for as many processes as may use it at a time.
#[derive(Debug, Clone)]
pub struct Slots {
    devices: Vec<DeviceChoice>,
    /// Processes on each device.
    taken: Vec<usize>,
    /// The most of them.
    each: usize,
}

impl Slots {
    /// Free places: `each` on every device.
    pub fn new(devices: Vec<DeviceChoice>, each: usize) -> Self {
        Self { taken: vec![0; devices.len()], devices, each }
    }

    /// Places in all.
    pub fn len(&self) -> usize {
        self.devices.len() * self.each
    }

    /// Whether no place is free.
    pub fn is_full(&self) -> bool {
        self.taken.iter().all(|&taken| taken >= self.each)
    }

    /// Takes a place on the device with the fewest processes, the first of those; none where all are taken.
    pub fn take(&mut self) -> Option<Slot> {
        let free = (0..self.devices.len()).filter(|&at| self.taken[at] < self.each);
        let at = free.min_by_key(|&at| self.taken[at])?;
        self.taken[at] += 1;
        Some(Slot { at, device: self.devices[at] })
    }

    /// Gives a place back.
    pub fn give_back(&mut self, slot: &Slot) {
        if let Some(taken) = self.taken.get_mut(slot.at) {
            *taken = taken.saturating_sub(1);
        }
    }
}

/// A taken place.
#[derive(Debug)]
pub struct Slot {
    at: usize,
    device: DeviceChoice,
}

impl Slot {
    /// The device that it is on.
    pub fn device(&self) -> DeviceChoice {
        self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_device_has_too_many_and_none_waits_while_another_has_two_more(
            count in 1..5usize,
            each in 1..4usize,
            steps in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 0..60),
        ) {
            let mut slots = Slots::new((0..count).map(DeviceChoice::Cuda).collect(), each);
            prop_assert_eq!(slots.len(), count * each);
            let mut held: Vec<Slot> = Vec::new();
            for (takes, which) in steps {
                let on = |device| held.iter().filter(|slot| slot.device() == DeviceChoice::Cuda(device)).count();
                let fewest = (0..count).map(on).min();
                if takes {
                    let taken = slots.take();
                    prop_assert_eq!(taken.is_none(), held.len() == count * each);
                    if let Some(slot) = taken {
                        let before = held.iter().filter(|other| other.device() == slot.device()).count();
                        prop_assert_eq!(Some(before), fewest);
                        held.push(slot);
                    }
                } else if !held.is_empty() {
                    slots.give_back(&held.remove(which.index(held.len())));
                }
                prop_assert_eq!(slots.is_full(), held.len() == count * each);
                for device in 0..count {
                    let on = held.iter().filter(|slot| slot.device() == DeviceChoice::Cuda(device)).count();
                    prop_assert!(on <= each);
                }
            }
        }
    }
}
