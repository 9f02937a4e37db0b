//! Places for processes on devices: which device the next one computes on.

use crate::device::DeviceChoice;

/// A device that failed as many processes one after the other gets no more.
const PATIENCE: usize = 3;

/// Devices, each with places for as many processes as may use it at a time.
#[derive(Debug, Clone)]
pub struct Slots {
    devices: Vec<DeviceChoice>,
    /// Processes on each device.
    taken: Vec<usize>,
    /// Processes that each device failed since one ended well there.
    failures: Vec<usize>,
    /// The most of them.
    each: usize,
}

impl Slots {
    /// Free places: `each` on every device.
    pub fn new(devices: Vec<DeviceChoice>, each: usize) -> Self {
        let none = vec![0; devices.len()];
        Self { taken: none.clone(), failures: none, devices, each }
    }

    /// Places in all, on devices that work.
    pub fn len(&self) -> usize {
        self.working().count() * self.each
    }

    /// Takes a place on the device with the fewest processes, the first of those; none where all are taken.
    ///
    /// A process that failed on the device `avoided` waits for another one, where another one works.
    pub fn take(&mut self, avoided: Option<DeviceChoice>) -> Option<Slot> {
        let at = self.free(avoided)?;
        self.taken[at] += 1;
        Some(Slot { at, device: self.devices[at] })
    }

    /// Whether [`take`](Self::take) would find a place.
    pub fn offers(&self, avoided: Option<DeviceChoice>) -> bool {
        self.free(avoided).is_some()
    }

    /// Gives a place back, after a process that did not fail by its device.
    pub fn give_back(&mut self, slot: &Slot) {
        self.release(slot);
        if let Some(failures) = self.failures.get_mut(slot.at) {
            *failures = 0;
        }
    }

    /// Gives a place back on a device that failed; whether that device gets no more processes from now on.
    pub fn give_up(&mut self, slot: &Slot) -> bool {
        self.release(slot);
        let Some(failures) = self.failures.get_mut(slot.at) else { return false };
        *failures += 1;
        *failures == PATIENCE
    }

    fn release(&mut self, slot: &Slot) {
        if let Some(taken) = self.taken.get_mut(slot.at) {
            *taken = taken.saturating_sub(1);
        }
    }

    fn working(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.devices.len()).filter(|&at| self.failures[at] < PATIENCE)
    }

    fn free(&self, avoided: Option<DeviceChoice>) -> Option<usize> {
        let others = |at: &usize| Some(self.devices[*at]) != avoided;
        let avoided_is_last = !self.working().any(|at| others(&at));
        let may = self.working().filter(|at| avoided_is_last || others(at));
        may.filter(|&at| self.taken[at] < self.each).min_by_key(|&at| self.taken[at])
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
                    let taken = slots.take(None);
                    prop_assert_eq!(taken.is_none(), held.len() == count * each);
                    if let Some(slot) = taken {
                        let before = held.iter().filter(|other| other.device() == slot.device()).count();
                        prop_assert_eq!(Some(before), fewest);
                        held.push(slot);
                    }
                } else if !held.is_empty() {
                    slots.give_back(&held.remove(which.index(held.len())));
                }
                prop_assert_eq!(slots.offers(None), held.len() < count * each);
                for device in 0..count {
                    let on = held.iter().filter(|slot| slot.device() == DeviceChoice::Cuda(device)).count();
                    prop_assert!(on <= each);
                }
            }
        }
    }

    #[test]
    fn a_device_that_fails_again_and_again_gets_no_more() {
        let [good, bad] = [0, 1].map(DeviceChoice::Cuda);
        let mut slots = Slots::new(vec![good, bad], 1);
        let kept = slots.take(None).expect("free");
        for failure in 1..=PATIENCE {
            assert_eq!(slots.len(), 2);
            // A process that failed there waits for the other one.
            assert!(!slots.offers(Some(bad)));
            let slot = slots.take(None).expect("free");
            assert_eq!((slot.device(), slots.give_up(&slot)), (bad, failure == PATIENCE));
        }
        assert!(!slots.offers(None) && slots.len() == 1);
        slots.give_back(&kept);
        // Where no other works, the same is tried again.
        assert!(slots.offers(Some(bad)) && slots.offers(Some(good)));
    }

    #[test]
    fn what_goes_well_makes_up_for_failures() {
        let mut slots = Slots::new(vec![DeviceChoice::Cuda(0)], 1);
        for time in 0..4 * PATIENCE {
            let slot = slots.take(None).expect("free");
            match time % PATIENCE {
                0 => slots.give_back(&slot),
                _ => assert!(!slots.give_up(&slot)),
            }
        }
        assert_eq!(slots.len(), 1);
    }
}
