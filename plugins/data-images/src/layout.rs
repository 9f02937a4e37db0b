//! Which folder is what: the parts of a data set and its classes.

use mrpf_api::prelude::*;
use mrpf_data_files::{Part, contents};
use std::path::{Path, PathBuf};

use crate::listing::{is_image, sorted};
use crate::passed_over::{PassedOver, counted, pictures, readable};
use crate::walk::pictures_below;

/// The pictures of a data set, class by class.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The folder to train with.
    pub train: PathBuf,
    /// The classes in it.
    pub classes: Vec<Class>,
    /// The folder to test with, and the classes in it, where there is one.
    pub test: Option<(PathBuf, Vec<Class>)>,
}

/// A class folder.
#[derive(Debug)]
pub(crate) struct Class {
    pub name: String,
    pub files: Vec<PathBuf>,
}

impl Layout {
    /// Looks at the folders in `root`, and tells what each was taken for.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] naming the folder that is not as expected.
    pub(crate) fn find(root: &Path, watcher: &dyn Watcher) -> Result<Self> {
        let mut passed = PassedOver::default();
        let folders: Vec<Folder> = sorted(root)?.into_iter().filter_map(Folder::new).collect();
        let train = the_one(root, &folders, Part::Train, Folder::has_folders)?;
        let layout = match train {
            None => Self::of_classes(root, &folders, &mut passed, watcher)?,
            Some(train) => Self::of_parts(root, &folders, train, &mut passed, watcher)?,
        };
        passed.tell(watcher);
        Ok(layout)
    }

    /// `CLASS/...`: without a training part, all folders are classes, even one that has a part's name.
    fn of_classes(root: &Path, folders: &[Folder], passed: &mut PassedOver, watcher: &dyn Watcher) -> Result<Self> {
        let parts: Vec<&Folder> = folders.iter().filter(|folder| folder.part.is_some()).collect();
        if !parts.is_empty() && parts.len() == folders.len() {
            let message = format!(
                "{} holds {} and no folder `train` with a folder for each class in it",
                root.display(),
                names(&parts)
            );
            let hint = "make train/CLASS/... and test/CLASS/..., or CLASS/... without parts";
            return Err(Error::new(ErrorKind::Data, message).hint(hint));
        }
        if !parts.is_empty() {
            let (a, the, have) = match parts.len() {
                1 => ("a class", "its", "has"),
                _ => ("classes", "their", "have"),
            };
            watcher.warn(&format!(
                "{} taken for {a} in spite of {the} name, as no folder `train` {have} class folders in it",
                names(&parts)
            ));
        }
        Ok(Self { train: root.to_owned(), classes: classes(root, 2, passed)?, test: None })
    }

    /// `train/CLASS/...` with `test/CLASS/...` or `val/CLASS/...` where there is one.
    fn of_parts(
        root: &Path,
        folders: &[Folder],
        train: &Folder,
        passed: &mut PassedOver,
        watcher: &dyn Watcher,
    ) -> Result<Self> {
        let test = match the_one(root, folders, Part::Test, |_| true)? {
            None => the_one(root, folders, Part::Validation, |_| true)?,
            there => there,
        };
        let found = classes(&train.path, 2, passed)?;
        watcher.note(&format!("training images are from `{}`: {}", train.name, size(&found)));
        let test = match test {
            None => None,
            Some(folder) => {
                let classes = classes(&folder.path, 1, passed)?;
                watcher.note(&format!("test images are from `{}`: {}", folder.name, size(&classes)));
                Some((folder.path.clone(), classes))
            }
        };
        let read =
            |folder: &&Folder| folder.path == train.path || test.as_ref().is_some_and(|(path, _)| *path == folder.path);
        for folder in folders.iter().filter(|folder| !read(folder)) {
            // Counted for the message alone; what is passed over in it is not told.
            let count = pictures_below(&folder.path, &mut PassedOver::default())?.len();
            if count > 0 {
                let why = match folder.part {
                    Some(Part::Validation) => "a part of the training images is held out in its place",
                    _ => "it is no part of the data set",
                };
                watcher.warn(&format!("`{}` is not read, with {} in it: {why}", folder.name, pictures(count)));
            }
        }
        Ok(Self { train: train.path.clone(), classes: found, test })
    }
}

/// A folder in the folder of the data.
struct Folder {
    name: String,
    path: PathBuf,
    part: Option<Part>,
}

impl Folder {
    fn new((name, path): (String, PathBuf)) -> Option<Self> {
        path.is_dir().then(|| Self { part: Part::of_name(&name), name, path })
    }

    /// A part holds a folder for each class; a class of that name holds pictures.
    fn has_folders(&self) -> bool {
        sorted(&self.path).is_ok_and(|inside| inside.iter().any(|(_, path)| path.is_dir()))
    }
}

/// The folder of a part, if there is one.
fn the_one<'a>(
    root: &Path,
    folders: &'a [Folder],
    part: Part,
    fits: impl Fn(&Folder) -> bool,
) -> Result<Option<&'a Folder>> {
    let found: Vec<&Folder> = folders.iter().filter(|folder| folder.part == Some(part) && fits(folder)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let message = format!("{} holds {}, expected one of them", root.display(), names(several));
            Err(Error::new(ErrorKind::Data, message)
                .hint("they mean the same part: put one into the other, or move it away"))
        }
    }
}

fn names(folders: &[&Folder]) -> String {
    folders.iter().map(|folder| format!("`{}`", folder.name)).collect::<Vec<_>>().join(", ")
}

/// `12 pictures in 2 classes`.
pub(crate) fn size(found: &[Class]) -> String {
    let classes = if found.len() == 1 { "class" } else { "classes" };
    format!("{} in {} {classes}", pictures(found.iter().map(|class| class.files.len()).sum()), found.len())
}

/// The classes in a folder by name, at least `fewest`.
fn classes(folder: &Path, fewest: usize, passed: &mut PassedOver) -> Result<Vec<Class>> {
    let wrong = |message: String| {
        let inside = contents(folder).map_or_else(|error| error.to_string(), |inside| format!("holds {inside}"));
        Error::new(ErrorKind::Data, message).hint(format!("{} {inside}", folder.display()))
    };
    let mut found = Vec::new();
    for (name, path) in sorted(folder)? {
        if !path.is_dir() {
            if is_image(&name) {
                passed.beside_classes(folder)
            } else {
                passed.file(&name)
            }
            continue;
        }
        let mut here = PassedOver::default();
        let files = pictures_below(&path, &mut here)?;
        if files.is_empty() && !here.leads_up(&path) {
            let other = here.endings().map_or(String::new(), |list| format!("; it holds {list}"));
            let message = format!(
                "class folder {} holds no picture, expected files ending in {}{other}",
                path.display(),
                readable()
            );
            return Err(wrong(message));
        }
        if !files.is_empty() {
            found.push(Class { name, files });
        }
        passed.add(here);
    }
    if found.len() < fewest {
        return Err(wrong(format!(
            "{} in {}, expected at least {fewest}, one for each class",
            counted(found.len(), "class folder"),
            folder.display()
        )));
    }
    Ok(found)
}
