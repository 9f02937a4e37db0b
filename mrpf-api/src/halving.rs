//! Images a part at a time, where the memory of a GPU has no room for all of them.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::Watcher;
use crate::{Error, ErrorKind, Result};

/// How many images go through at a time, shared by all who work in one context: what has found no room once is not tried again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Halving(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The most that have a chance to fit; none before memory was first too small.
    most: Option<usize>,
    /// The most that have gone through since.
    fitted: usize,
    /// What the user was last told.
    told: Option<usize>,
    /// As if there were room for so many images; for tests.
    room: Option<usize>,
}

impl Halving {
    /// One whose memory has room for so many images.
    pub fn with_room(images: usize) -> Self {
        Self(Arc::new(Mutex::new(State { room: Some(images), ..State::default() })))
    }

    /// See [`CallContext::parts`](crate::context::CallContext::parts).
    pub fn parts<'a, F: Fn() -> Result<()>>(
        &self,
        watcher: &'a dyn Watcher,
        images: usize,
        batch: usize,
        release: F,
    ) -> Parts<'a, F> {
        Parts { halving: self.clone(), watcher, images, batch, release, done: 0 }
    }

    fn halve(&self, tried: usize, full: Error) -> Result<()> {
        if tried == 1 {
            let hint = "the memory of the GPU has no room for one image of this network: `nvidia-smi` shows who else holds some";
            return Err(full.hint(hint));
        }
        let mut state = self.state();
        (state.most, state.fitted) = (Some(tried.div_ceil(2)), 0);
        Ok(())
    }

    fn went_through(&self, images: usize, watcher: &dyn Watcher) {
        let mut state = self.state();
        state.fitted = state.fitted.max(images);
        if state.told == state.most {
            return;
        }
        state.told = state.most;
        let Some(most) = state.most else { return };
        drop(state);
        let how = if most == 1 {
            "images go through one by one".to_owned()
        } else {
            format!("images go through at most {most} at a time")
        };
        watcher.warn(&format!("the GPU's memory is full: from now on {how}"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Images that go through in parts; see [`CallContext::parts`](crate::context::CallContext::parts).
pub struct Parts<'a, F> {
    halving: Halving,
    watcher: &'a dyn Watcher,
    images: usize,
    batch: usize,
    release: F,
    done: usize,
}

impl<F: Fn() -> Result<()>> Parts<'_, F> {
    /// What `work` gives for the next range of images, as long as some are left.
    ///
    /// `work` is asked again with half of the range where it ended with an error that [is out of memory](Error::is_out_of_memory), so
    /// it must leave no trace; what it gives is added up by the caller.
    ///
    /// # Errors
    /// Those of `work`; when one image has no room, with a hint.
    pub fn next_part<T>(&mut self, mut work: impl FnMut(Range<usize>) -> Result<T>) -> Result<Option<T>> {
        let mut is_second = false;
        while self.done < self.images {
            let State { most, room, fitted, .. } = *self.halving.state();
            let size = most.unwrap_or(self.batch).min(self.batch).min(self.images - self.done).max(1);
            let found = work(self.done..self.done + size);
            // A test may find at the last moment that there was no room: no trace of the attempt is to be seen then.
            let found = match room.is_some_and(|room| size > room) {
                true => {
                    found.and_then(|_| Err(Error::new(ErrorKind::Device, "CUDA_ERROR_OUT_OF_MEMORY, as a test has it")))
                }
                false => found,
            };
            match found {
                // More has gone through before: not this is too much, but what was kept since.
                Err(full) if full.is_out_of_memory() && size <= fitted && !is_second => {
                    is_second = true;
                    (self.release)()?;
                }
                Err(full) if full.is_out_of_memory() => {
                    self.halving.halve(size, full)?;
                    (self.release)()?;
                }
                found => {
                    let found = found?;
                    self.halving.went_through(size, self.watcher);
                    self.done += size;
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CallContext;
    use crate::random::Streams;
    use proptest::prelude::*;
    use std::cell::Cell;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Watcher for Told {
        fn progress(&self, _: &str, _: usize, _: usize) {}

        fn warn(&self, message: &str) {
            self.0.lock().expect("no panic").push(message.into());
        }

        fn interrupted(&self) -> bool {
            false
        }
    }

    proptest! {
        #[test]
        fn every_image_goes_through_once_in_order_and_in_no_part_without_room(
            images in 0..200usize, batch in 1..80usize, room in 1..100usize,
        ) {
            let told = Told::default();
            let cx = CallContext::unwatched(Streams::new(0)).short_of_memory(room).watched_by(&told);
            let (released, mut tried, mut done) = (Cell::new(0), Vec::new(), Vec::new());
            let mut parts = cx.parts(images, batch, || { released.set(released.get() + 1); Ok(()) });
            while let Some(part) = parts.next_part(|part| { tried.push(part.clone()); Ok(part) })? {
                done.extend(part);
            }
            prop_assert_eq!(done, (0..images).collect::<Vec<_>>());
            let failed = tried.iter().filter(|part| part.len() > room).count();
            prop_assert_eq!(failed, released.get());
            // Halves of what did not fit: nothing is made smaller than need be.
            let whole = batch.min(images);
            let kept = (whole > room).then(|| std::iter::successors(Some(whole), |size| Some(size.div_ceil(2))).find(|size| *size <= room));
            let largest = tried.iter().map(Range::len).filter(|size| *size <= room).max().unwrap_or(0);
            prop_assert_eq!(largest, kept.flatten().unwrap_or(whole));
            let told = told.0.lock().expect("no panic").clone();
            prop_assert_eq!(told.len(), usize::from(failed > 0));
            // What is known stays known to whoever works in the same context, and is not said again.
            if failed > 0 {
                let again = cx.child("other").parts(200, 80, || Ok(())).next_part(|part| Ok(part.len()))?;
                prop_assert_eq!(again, Some(largest));
            }
        }
    }

    #[test]
    fn what_fills_memory_in_the_meantime_is_given_back_before_batches_get_smaller() -> Result<()> {
        let told = Told::default();
        let cx = CallContext::unwatched(Streams::new(0)).watched_by(&told);
        // Each part leaves three images' worth behind, where eleven have room.
        let kept = Cell::new(0);
        let mut parts = cx.parts(30, 8, || {
            kept.set(0);
            Ok(())
        });
        let mut sizes = Vec::new();
        while let Some(size) = parts.next_part(|part| match part.len() + kept.get() <= 11 {
            true => Ok(part.len()),
            false => Err(Error::new(ErrorKind::Device, "CUDA_ERROR_OUT_OF_MEMORY")),
        })? {
            kept.set(kept.get() + 3);
            sizes.push(size);
        }
        assert_eq!((sizes, told.0.lock().expect("no panic").len()), (vec![8, 8, 8, 6], 0));
        Ok(())
    }

    #[test]
    fn one_image_without_room_ends_it_with_advice_and_other_errors_end_it_at_once() {
        let cx = CallContext::unwatched(Streams::new(0));
        let full = cx.clone().short_of_memory(0).parts(9, 4, || Ok(())).next_part(|_| Ok(())).expect_err("no room");
        assert!(full.is_out_of_memory());
        assert!(full.hint_text().is_some_and(|hint| hint.contains("no room for one image")), "{full:?}");
        let mut calls = 0;
        let other = cx.parts(9, 4, || Ok(())).next_part(|_| -> Result<()> {
            calls += 1;
            Err(Error::new(ErrorKind::Numeric, "not a number"))
        });
        assert_eq!((other.expect_err("it fails").kind(), calls), (ErrorKind::Numeric, 1));
    }
}
