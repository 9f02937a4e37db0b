//! The binary record files: label bytes and then 3,072 bytes of pixels, planes R, G, B, row after row.

use mrpf_api::prelude::*;
use mrpf_data_files::{contents, open_regular, read_small};
use std::io::Read;
use std::path::{Path, PathBuf};

const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

/// No file of class names is larger, in bytes.
const LARGEST_NAMES: u64 = 1 << 20;

/// What the records of a data set look like.
pub(crate) struct Layout {
    /// Folder that holds the files, as the official archive unpacks.
    pub folder: &'static str,
    /// The file of the test part; a folder that holds it is taken for the data set's own, whatever its name.
    pub test: &'static str,
    /// For each label byte, the number of classes it may name.
    pub label_bytes: &'static [usize],
    /// Which of the label bytes is used.
    pub label: usize,
}

/// The files of a data set.
pub(crate) struct Records<'a> {
    folder: PathBuf,
    layout: &'a Layout,
}

impl<'a> Records<'a> {
    /// Finds the folder: below `directory`, or `directory` itself.
    pub(crate) fn open(name: &str, directory: Option<&Path>, layout: &'a Layout) -> Result<Self> {
        let expected = layout.folder;
        let Some(directory) = directory else {
            let message = format!("data set `{name}` needs the folder that holds `{expected}`");
            return Err(Error::new(ErrorKind::Data, message).hint("give it with --data-dir DIR"));
        };
        let below = directory.join(expected);
        if below.is_dir() {
            return Ok(Self { folder: below, layout });
        }
        let named_so = directory.file_name().is_some_and(|name| name == expected) && directory.is_dir();
        if named_so || directory.join(layout.test).is_file() {
            return Ok(Self { folder: directory.into(), layout });
        }
        let found = match contents(directory) {
            Err(error) => format!("{} cannot be read: {error}", directory.display()),
            Ok(inside) => format!("{} holds {inside}, expected `{expected}` in it", directory.display()),
        };
        let hint = format!(
            "unpack the binary version of the data set so that {} exists, or let `mrpf data fetch {name}` do it",
            below.display()
        );
        Err(Error::new(ErrorKind::Data, found).hint(hint))
    }

    /// The records of several files, one after the other.
    pub(crate) fn read(&self, names: &[String]) -> Result<ImageSet> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in names {
            let path = self.folder.join(name);
            let wrong = |why: String| Error::new(ErrorKind::Data, why).context(format!("reading {}", path.display()));
            let bytes = read(&path).map_err(|why| {
                let inside =
                    contents(&self.folder).map_or_else(|error| error.to_string(), |inside| format!("holds {inside}"));
                wrong(why).hint(format!("its folder {inside}"))
            })?;
            let (mut more, mut their_labels) = parse(&bytes, self.layout).map_err(wrong)?;
            pixels.append(&mut more);
            labels.append(&mut their_labels);
        }
        ImageSet::new(SHAPE, pixels, 255, labels, self.layout.label_bytes[self.layout.label])
    }

    /// The class names in a text file, one a line, if it is there and has as many as expected.
    pub(crate) fn names(&self, file: &str, classes: usize) -> Option<Vec<String>> {
        let text = read_small(&self.folder.join(file), LARGEST_NAMES).ok()?;
        let names: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (names.len() == classes).then_some(names)
    }
}

fn read(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}

/// Splits a file into pixels and labels; the number of records follows from its length.
pub(crate) fn parse(bytes: &[u8], layout: &Layout) -> std::result::Result<(Vec<u8>, Vec<u32>), String> {
    let head = layout.label_bytes.len();
    let record = head + SHAPE.len();
    if bytes.is_empty() {
        return Err(format!("the file is empty, expected records of {record} bytes"));
    }
    let rest = bytes.len() % record;
    if rest != 0 {
        let (whole, at) = (bytes.len() / record, bytes.len() - rest);
        return Err(format!(
            "{} bytes are {whole} records of {record} bytes and {rest} bytes from offset {at} on: the file is truncated or of another kind",
            bytes.len()
        ));
    }
    let (mut pixels, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
    for (number, record_bytes) in bytes.chunks_exact(record).enumerate() {
        for (place, (&label, &classes)) in record_bytes.iter().zip(layout.label_bytes).enumerate() {
            if usize::from(label) >= classes {
                let offset = number * record + place;
                return Err(format!(
                    "record {number} at offset {offset} has label {label}, expected 0 to {}",
                    classes - 1
                ));
            }
        }
        labels.push(u32::from(record_bytes[layout.label]));
        pixels.extend_from_slice(&record_bytes[head..]);
    }
    Ok((pixels, labels))
}
