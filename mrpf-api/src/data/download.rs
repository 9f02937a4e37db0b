//! Where the official files of a data set are, as plain data; the host downloads and checks them (`mrpf data fetch`).

/// One file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its name in the folder of the data.
    pub file: String,
    /// Where it can be had: `http://` or `https://` addresses of the same bytes, tried in this order.
    pub urls: Vec<String>,
    /// Its size in bytes as published.
    pub bytes: u64,
    /// Its checksum as published.
    pub checksum: Checksum,
    /// What is done with it then.
    pub unpack: Unpack,
}

/// A published checksum, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// MD5, 32 digits: against damage, not against malice.
    Md5(String),
    /// SHA-256, 64 digits.
    Sha256(String),
}

/// What is done with a downloaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpack {
    /// It stays as it is.
    Keep,
    /// It is unpacked and then removed.
    Archive {
        /// How it is packed.
        format: ArchiveFormat,
        /// The folder that it unpacks to; where it is there already, with a file in it, nothing is downloaded. Files outside it are refused.
        folder: String,
        /// More bytes than this are never unpacked.
        largest: u64,
    },
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// A gzip-compressed tar file.
    TarGz,
    /// A zip file.
    Zip,
}

impl Download {
    /// A file that is kept as it is, named as in its first address, with the MD5 that its authors publish.
    pub fn with_md5<'a>(urls: impl IntoIterator<Item = &'a str>, bytes: u64, md5: &str) -> Self {
        let urls: Vec<String> = urls.into_iter().map(str::to_owned).collect();
        let file = urls.first().and_then(|url| url.rsplit('/').next()).unwrap_or_default().to_owned();
        Self { file, urls, bytes, checksum: Checksum::Md5(md5.to_owned()), unpack: Unpack::Keep }
    }

    /// The same as an archive that unpacks to `folder`, with at most `largest` bytes in it.
    #[must_use]
    pub fn unpacked(mut self, format: ArchiveFormat, folder: &str, largest: u64) -> Self {
        self.unpack = Unpack::Archive { format, folder: folder.to_owned(), largest };
        self
    }
}
