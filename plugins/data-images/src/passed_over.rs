//! What lies in a data set's folders and is not read: counted, and told.

use mrpf_api::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::listing::{ENDINGS, ending};

/// Endings of pictures that are not read.
const OTHER_PICTURES: &[&str] = &[
    "arw", "avif", "cr2", "dds", "dng", "exr", "hdr", "heic", "heif", "ico", "j2k", "jp2", "jxl", "jxr", "nef", "psd",
    "qoi", "raw", "svg", "tga",
];
/// As many different endings are named.
const NAMED: usize = 8;

/// What was passed over.
#[derive(Debug, Default)]
pub(crate) struct PassedOver {
    endings: BTreeMap<String, usize>,
    folders: BTreeMap<Why, (usize, PathBuf)>,
    beside: Option<(usize, PathBuf)>,
}

/// Why a folder was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// It is a link to a folder that holds it.
    LeadsUp,
    /// It lies too deep.
    TooDeep,
    /// Its pictures have been read, by another way.
    ReadBefore,
}

impl PassedOver {
    /// A file that is no picture by its name.
    pub(crate) fn file(&mut self, name: &str) {
        *self.endings.entry(ending(name)).or_default() += 1;
    }

    /// A folder.
    pub(crate) fn folder(&mut self, why: Why, path: &Path) {
        self.folders.entry(why).or_insert_with(|| (0, path.to_owned())).0 += 1;
    }

    /// A picture in `folder` that lies in no class folder.
    pub(crate) fn beside_classes(&mut self, folder: &Path) {
        self.beside.get_or_insert_with(|| (0, folder.to_owned())).0 += 1;
    }

    /// Whether this very folder is a link to one that holds it.
    pub(crate) fn leads_up(&self, path: &Path) -> bool {
        self.folders.get(&Why::LeadsUp).is_some_and(|(_, first)| first == path)
    }

    /// Takes in what was passed over elsewhere.
    pub(crate) fn add(&mut self, other: Self) {
        for (ending, count) in other.endings {
            *self.endings.entry(ending).or_default() += count;
        }
        for (why, (count, first)) in other.folders {
            self.folders.entry(why).or_insert((0, first)).0 += count;
        }
        if let Some((count, folder)) = other.beside {
            self.beside.get_or_insert((0, folder)).0 += count;
        }
    }

    /// The endings of the files, such as `20 .heic, 1 without an ending`; nothing where no file was passed over.
    pub(crate) fn endings(&self) -> Option<String> {
        listed(self.endings.iter())
    }

    /// Tells of all that was passed over: pictures as warnings, the rest as notes.
    pub(crate) fn tell(&self, watcher: &dyn Watcher) {
        let is_picture = |ending: &str| OTHER_PICTURES.contains(&ending);
        if let Some(list) = listed(self.endings.iter().filter(|(ending, _)| is_picture(ending))) {
            watcher.warn(&format!("pictures of these kinds are not read: {list}; convert them, for example to .png"));
        }
        if let Some(list) = listed(self.endings.iter().filter(|(ending, _)| !is_picture(ending))) {
            watcher.note(&format!("files that are no pictures by their names: {list}"));
        }
        if let Some((count, folder)) = &self.beside {
            let folder = folder.display();
            watcher.warn(&format!(
                "{} beside the class folders of {folder} belong to no class and are not read",
                pictures(*count)
            ));
        }
        for (why, (count, first)) in &self.folders {
            let (count, first) = (counted(*count, "folder"), first.display());
            match why {
                Why::LeadsUp => {
                    watcher.warn(&format!("{count} not read, being links to a folder that holds them: {first}"))
                }
                Why::TooDeep => watcher.warn(&format!("{count} not read, lying too deep below their class: {first}")),
                Why::ReadBefore => watcher.note(&format!("{count} not read again, being links to others: {first}")),
            }
        }
    }
}

/// `1 picture`, `2 pictures`.
pub(crate) fn pictures(count: usize) -> String {
    counted(count, "picture")
}

/// A count with the singular or plural of what is counted.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The endings that are read, for a message.
pub(crate) fn readable() -> String {
    ENDINGS.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(", ")
}

fn listed<'a>(endings: impl Iterator<Item = (&'a String, &'a usize)>) -> Option<String> {
    let mut all: Vec<(&String, &usize)> = endings.collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let more: usize = all.iter().skip(NAMED).map(|(_, count)| **count).sum();
    let named = all.iter().take(NAMED).map(|(ending, count)| match ending.is_empty() {
        true => format!("{count} without an ending"),
        false => format!("{count} .{ending}"),
    });
    let mut named: Vec<String> = named.collect();
    if more > 0 {
        named.push(format!("{more} others"));
    }
    (!named.is_empty()).then(|| named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_endings_are_named() {
        let mut passed = PassedOver::default();
        assert_eq!(passed.endings(), None);
        ["a.TXT", "b.txt", "c", "d.", "e.csv"].iter().for_each(|name| passed.file(name));
        assert_eq!(passed.endings().as_deref(), Some("2 without an ending, 2 .txt, 1 .csv"));
        (0..9).for_each(|at| passed.file(&format!("x.{at}")));
        assert!(passed.endings().is_some_and(|list| list.ends_with("1 .5, 4 others")), "{:?}", passed.endings());
    }
}
