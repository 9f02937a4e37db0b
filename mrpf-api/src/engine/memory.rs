//! Memory that is used again: its pages are there already, which for large buffers takes as long as filling them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Buffers that wait to be used again.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Vec<Vec<f32>>>);

/// Numbers in a buffer that goes back when it is dropped. What a fresh one holds is unspecified.
#[derive(Debug)]
pub(super) struct Buffer {
    values: Vec<f32>,
    length: usize,
    memory: Arc<Memory>,
}

impl Memory {
    /// Buffers of operations that belong to no network. As much is kept as was in use at one time.
    pub(super) fn of_operations() -> Arc<Self> {
        static OF_OPERATIONS: LazyLock<Arc<Memory>> = LazyLock::new(Arc::default);
        OF_OPERATIONS.clone()
    }

    /// A buffer of so many numbers: the smallest that waits and is large enough without wasting more than half, or a new one.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that came back last is likely to be in the cache still.
        let fitting =
            waiting.iter().enumerate().rev().filter(|(_, buffer)| (length..=2 * length).contains(&buffer.len()));
        let found = fitting.min_by_key(|(_, buffer)| buffer.len()).map(|(at, _)| at);
        let values = match found {
            Some(at) => waiting.swap_remove(at),
            None => {
                drop(waiting);
                vec![0.0; length]
            }
        };
        Buffer { values, length, memory: self.clone() }
    }

    /// A buffer with the same numbers.
    pub(super) fn copy(self: &Arc<Self>, numbers: &[f32]) -> Buffer {
        let mut copy = self.take(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if values.is_empty() {
            return;
        }
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).push(values);
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.length]
    }
}
