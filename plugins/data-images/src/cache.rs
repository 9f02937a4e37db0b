//! Decoded images on disk: one safetensors file, used again as long as nothing of its source has changed.

use mrpf_api::prelude::*;
use mrpf_api::rayon::prelude::*;
use mrpf_api::serde_json;
use mrpf_data_files::{open_regular, read_exactly};
use safetensors::serialize_to_file;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The folder beside the images that holds what was decoded.
pub(crate) const FOLDER: &str = ".mrpf-decoded";
/// The tensors of the file.
const TENSORS: [&str; 4] = ["train.images", "train.labels", "test.images", "test.labels"];
/// Key of the header's entry: the fingerprint of the source, a space, and the digest of the tensors.
const FINGERPRINT: &str = "fingerprint";
/// A header is no larger.
const LARGEST_HEADER: u64 = 1 << 20;

/// Where decoded images are kept, and what they must have been made from.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    path: PathBuf,
    fingerprint: String,
}

/// What is kept: the two parts of a data set.
pub(crate) type Parts = (ImageSet, ImageSet);

impl Cache {
    /// The file for `name` in the folder of the data.
    pub(crate) fn new(root: &Path, name: &str, fingerprint: String) -> Self {
        Self { path: root.join(FOLDER).join(format!("{name}.safetensors")), fingerprint }
    }

    /// What is kept, if it is there, whole, and made from the same source; anything else is as good as nothing.
    pub(crate) fn read(&self, shape: ImageShape, classes: usize) -> Option<Parts> {
        let file = open_regular(&self.path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut from = BufReader::new(file);
        let size = read_exactly(&mut from, 8, 0, "the size of the header").ok()?;
        let size = u64::from_le_bytes(size.as_slice().try_into().ok()?);
        if size > LARGEST_HEADER {
            return None;
        }
        let header = read_exactly(&mut from, size, 8, "the header").ok()?;
        let metadata: Metadata = serde_json::from_slice(&header).ok()?;
        let (made_from, digest) = metadata.metadata().as_ref()?.get(FINGERPRINT)?.split_once(' ')?;
        if made_from != self.fingerprint || length != 8 + size + metadata.data_len() as u64 {
            return None;
        }
        let mut tensors: Vec<(String, &TensorInfo)> = metadata.tensors().into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets.0);
        let mut found = HashMap::new();
        for (name, info) in tensors {
            // They follow each other without gaps, as parsing the header has checked.
            let (start, end) = info.data_offsets;
            found.insert(name, read_exactly(&mut from, (end - start) as u64, 0, "a tensor").ok()?);
        }
        let tensors = TENSORS.map(|name| found.get(name).map(Vec::as_slice));
        if digest_of(tensors.map(Option::unwrap_or_default)) != digest {
            return None;
        }
        let mut part = |name: &str| part(&metadata, &mut found, name, shape, classes);
        Some((part("train")?, part("test")?))
    }

    /// Keeps the parts, written beside and renamed: of two processes at once the later one stays, and no reader sees half a file.
    ///
    /// # Errors
    /// The system's reason, for example that the folder of the data may not be written to.
    pub(crate) fn write(&self, (train, test): &Parts) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        let labels = |set: &ImageSet| set.labels().iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>();
        let (train_labels, test_labels) = (labels(train), labels(test));
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(std::io::Error::other);
        let images = |set: &ImageSet| {
            let ImageShape { channels, height, width } = set.shape();
            vec![set.len(), channels, height, width]
        };
        let tensors = [
            (TENSORS[0], view(Dtype::U8, images(train), train.all_pixels())?),
            (TENSORS[1], view(Dtype::U32, vec![train.len()], &train_labels)?),
            (TENSORS[2], view(Dtype::U8, images(test), test.all_pixels())?),
            (TENSORS[3], view(Dtype::U32, vec![test.len()], &test_labels)?),
        ];
        let digest = digest_of([train.all_pixels(), &train_labels, test.all_pixels(), &test_labels]);
        let header = HashMap::from([(FINGERPRINT.to_owned(), format!("{} {digest}", self.fingerprint))]);
        serialize_to_file(tensors, Some(header), file.path()).map_err(std::io::Error::other)?;
        // Temporary files are private to their owner; the data beside this one are not.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// SHA-256 of the tensors, by the digests of parts that are hashed in parallel.
fn digest_of(tensors: [&[u8]; 4]) -> String {
    let hex = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let parts = tensors.map(|tensor| tensor.par_chunks(4 << 20).map(hex).collect::<Vec<_>>().concat());
    hex(parts.join(" ").as_bytes())
}

fn part(
    metadata: &Metadata,
    found: &mut HashMap<String, Vec<u8>>,
    name: &str,
    shape: ImageShape,
    classes: usize,
) -> Option<ImageSet> {
    let images = metadata.info(&format!("{name}.images"))?;
    if images.dtype != Dtype::U8 || images.shape.get(1..)? != shape.dims() {
        return None;
    }
    let pixels = found.remove(&format!("{name}.images"))?;
    let labels = found.remove(&format!("{name}.labels"))?;
    let labels = labels.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    ImageSet::new(shape, pixels, 255, labels, classes).ok()
}
