//! What a file is that should be a safetensors file and is not: recognised by its first bytes.

/// What a file is, and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignFile {
    /// In words, with an article.
    pub what: String,
    /// What to do next.
    pub hint: &'static str,
}

const LFS: &str = "the file itself lies elsewhere: `git lfs pull` in the repository fetches it, or download it from the page of the repository";
const PAGE: &str = "the address that it was downloaded from shows a page; take the one of the file itself (on Hugging Face and GitHub it has `resolve` \
     or `raw` where the page has `blob`)";
const PICKLE: &str = "pickles run code when they are opened; in Python, from a source you trust:
    import torch; from safetensors.torch import save_file
    save_file({k: v.contiguous() for k, v in torch.load(\"FILE.pth\", map_location=\"cpu\").items()}, \"FILE.safetensors\")
  where the checkpoint holds more than weights, take them out of it first, for example [\"state_dict\"]";
const NPZ: &str = "in Python:
    import numpy; from safetensors.numpy import save_file
    save_file({k: numpy.ascontiguousarray(v) for k, v in numpy.load(\"FILE.npz\").items()}, \"FILE.safetensors\")";
const KERAS: &str = "load it with the library that wrote it, and write its weights with safetensors.numpy.save_file(weights, \"FILE.safetensors\")";
const UNPACK: &str = "unpack it first, and name the file in it";
const TEXT: &str = "expected a safetensors file; text is often the message of a server that did not give the file out";

/// Which of the kinds of files that are often taken for safetensors files this is; none for safetensors files and for what is not known.
pub fn foreign_file(bytes: &[u8]) -> Option<ForeignFile> {
    let is = |what: &str, hint| Some(ForeignFile { what: what.into(), hint });
    let start = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(start).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse::<u64>().ok());
        let size = size.map_or(String::new(), |size| format!(" to a file of {size} bytes"));
        return is(&format!("a Git LFS pointer{size}"), LFS);
    }
    if ["<!doctype html", "<html", "<head", "<?xml", "<!--"].iter().any(|tag| text.starts_with(tag)) {
        return is("a web page (HTML or XML)", PAGE);
    }
    match bytes {
        [b'P', b'K', 3, 4, ..] => {
            // Names of the files in an archive stand in it as they are.
            let holds = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
            match holds(b"data.pkl") {
                false if holds(b".npy") => is("an archive of NumPy arrays (.npz)", NPZ),
                false if holds(b".safetensors") => is("a ZIP archive with a safetensors file in it", UNPACK),
                _ => is("a pickle in a ZIP archive, as `torch.save` writes it", PICKLE),
            }
        }
        // Protocol 2 to 5; older PyTorch wrote no archive around them.
        [0x80, 2..=5, ..] => is("a pickle as `torch.save` writes it", PICKLE),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => is("one NumPy array (.npy)", NPZ),
        [0x89, b'H', b'D', b'F', ..] => is("an HDF5 file, as Keras writes them", KERAS),
        [b'G', b'G', b'U', b'F', ..] => is("a GGUF file", KERAS),
        [0x1f, 0x8b, ..] => is("a file packed with gzip", UNPACK),
        [b'R', b'a', b'r', b'!', ..] | [b'7', b'z', 0xbc, 0xaf, ..] => is("a packed archive", UNPACK),
        _ if bytes.get(257..262) == Some(b"ustar") => is("a tar archive", UNPACK),
        // The length of a safetensors header has zeros in its last bytes, which no text has.
        _ if start.len() >= 8 && start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            let line: String =
                String::from_utf8_lossy(start).lines().next().unwrap_or_default().chars().take(60).collect();
            is(&format!("text that begins with `{line}`"), TEXT)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_recognised_by_how_they_begin() {
        let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 46827520\n";
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, what) in [
            (lfs.as_bytes(), "a Git LFS pointer to a file of 46827520 bytes"),
            (b"version https://git-lfs.github.com/spec/v1\nsize many", "a Git LFS pointer"),
            (b"\n <!DOCTYPE html><html>", "a web page (HTML or XML)"),
            (b"<?xml version=\"1.0\"?><Error>", "a web page (HTML or XML)"),
            (b"PK\x03\x04....archive/data.pkl", "a pickle in a ZIP archive, as `torch.save` writes it"),
            (b"PK\x03\x04", "a pickle in a ZIP archive, as `torch.save` writes it"),
            (b"PK\x03\x04....conv1.weight.npy", "an archive of NumPy arrays (.npz)"),
            (b"\x80\x02\x8a\x0a", "a pickle as `torch.save` writes it"),
            (b"\x80\x04\x95", "a pickle as `torch.save` writes it"),
            (b"\x93NUMPY\x01", "one NumPy array (.npy)"),
            (b"\x89HDF\r\n", "an HDF5 file, as Keras writes them"),
            (b"\x1f\x8b\x08", "a file packed with gzip"),
            (&tar, "a tar archive"),
            (b"Entry not found\n", "text that begins with `Entry not found`"),
        ] {
            assert_eq!(foreign_file(bytes).map(|file| file.what).as_deref(), Some(what));
        }
        assert_eq!(foreign_file(b""), None);
        assert_eq!(foreign_file(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "), None);
    }

    proptest! {
        #[test]
        fn no_safetensors_header_is_taken_for_something_else(length in 0_u64..100_000_000, rest in prop::collection::vec(any::<u8>(), 0..50)) {
            // What decides lies in the bytes of the length, of which the last are zeros.
            let bytes = [&length.to_le_bytes()[..], b"{\"", &rest].concat();
            let found = foreign_file(&bytes);
            prop_assert!(found.is_none() || bytes.starts_with(b"PK\x03\x04") || matches!(bytes[..], [0x80, 2..=5, ..] | [0x1f, 0x8b, ..]), "{found:?}");
        }
    }
}
