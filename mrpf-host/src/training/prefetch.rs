//! Batches made on a thread of their own, so that a step never waits for its images.

use mrpf_api::Result;
use std::sync::mpsc::{Receiver, sync_channel};

/// How many finished batches may wait: one while the next is made is enough as long as making is faster than training.
const WAITING: usize = 2;

/// Makes batches `0..count` by `make` on another thread, a few ahead, while `take` uses them in order.
///
/// The thread ends when all are made, with the first error (which reaches `take` in its place), or when `take` returns.
pub(super) fn prefetch<T: Send, R>(
    count: usize,
    make: impl Fn(usize) -> Result<T> + Send,
    take: impl FnOnce(Receiver<Result<T>>) -> R,
) -> R {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING - 1);
        scope.spawn(move || {
            for at in 0..count {
                let made = make(at);
                let failed = made.is_err();
                // Nobody takes any more: the other side has failed or was stopped, and says so itself.
                if sender.send(made).is_err() || failed {
                    return;
                }
            }
        });
        take(receiver)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::{Error, ErrorKind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn batches_come_in_order_and_the_first_error_is_the_last() {
        let fails_at = |bad: usize| {
            move |at: usize| match at == bad {
                true => Err(Error::new(ErrorKind::Data, "unreadable")),
                false => Ok(at),
            }
        };
        let all = prefetch(5, fails_at(9), |batches| batches.into_iter().collect::<Result<Vec<_>>>());
        assert_eq!(all.ok(), Some(vec![0, 1, 2, 3, 4]));
        let seen: Vec<_> = prefetch(5, fails_at(2), |batches| batches.into_iter().map(|made| made.ok()).collect());
        assert_eq!(seen, [Some(0), Some(1), None]);
    }

    #[test]
    fn whoever_stops_taking_stops_the_making() {
        let made = AtomicUsize::new(0);
        let make = |at: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(at)
        };
        let first = prefetch(1_000_000, make, |batches| batches.recv().ok().and_then(Result::ok));
        assert_eq!(first, Some(0));
        assert!(made.load(Ordering::SeqCst) <= 1 + WAITING + 1, "a million batches are not made for one");
    }

    #[test]
    fn no_more_than_a_few_are_ahead() {
        let made = AtomicUsize::new(0);
        let make = |at: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok(at)
        };
        prefetch(50, make, |batches| {
            for (taken, _) in batches.into_iter().enumerate() {
                assert!(made.load(Ordering::SeqCst) <= taken + 1 + WAITING);
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 50);
    }
}
