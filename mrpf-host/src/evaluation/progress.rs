//! The progress of a call inside an attack, told as part of the attack's own, so that one bar knows the end.

use mrpf_api::context::Watcher;

/// Passes a plugin's progress on as images of `total`, of which `done` are finished and `batch` are in the plugin's hands.
pub(super) struct Within<'a> {
    /// Told of the progress.
    pub outer: &'a dyn Watcher,
    /// What is in progress.
    pub what: &'a str,
    /// Images that are finished.
    pub done: usize,
    /// Images in the call.
    pub batch: usize,
    /// Images in all.
    pub total: usize,
}

impl Watcher for Within<'_> {
    fn progress(&self, _: &str, done: usize, total: usize) {
        let part = self.batch * done.min(total) / total.max(1);
        self.outer.progress(self.what, self.done + part, self.total);
    }

    fn warn(&self, message: &str) {
        self.outer.warn(message);
    }

    fn interrupted(&self) -> bool {
        self.outer.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(String, usize, usize)>>);

    impl Watcher for Kept {
        fn progress(&self, what: &str, done: usize, total: usize) {
            self.0.lock().expect("no panic").push((what.into(), done, total));
        }

        fn interrupted(&self) -> bool {
            true
        }
    }

    #[test]
    fn parts_of_a_call_are_parts_of_the_whole() {
        let kept = Kept::default();
        let within = Within { outer: &kept, what: "pgd", done: 30, batch: 10, total: 50 };
        [(0, 4), (1, 4), (4, 4), (9, 4), (3, 0)].into_iter().for_each(|(done, of)| within.progress("step", done, of));
        let told: Vec<usize> = kept.0.lock().expect("no panic").iter().map(|(_, done, _)| *done).collect();
        assert_eq!(told, [30, 32, 40, 40, 30]);
        assert!(kept.0.lock().expect("no panic").iter().all(|(what, _, total)| what == "pgd" && *total == 50));
        assert!(within.interrupted());
    }
}
