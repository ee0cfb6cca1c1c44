//! The bytes of a published file: decompressed, without a byte order mark, with a count of how far it has been read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::FileError;

/// One record may be this long. A file that isn't what its name says, or a quote that never closes, would otherwise be
/// read into memory as a single record.
pub const LONGEST_RECORD: u64 = 64 << 20;

/// How far a file has been read, in bytes as they lie on the disk.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    read: Arc<AtomicU64>,
    /// Zero for a pipe, whose length nobody knows.
    pub total: u64,
}

impl Meter {
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// A file that counts what is read of it.
struct Metered {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// How a file is compressed, by its first bytes: a browser may have unpacked a file and left the ending in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// How a file that can be read twice is compressed.
    pub fn of_file(path: &Path) -> Result<Self, FileError> {
        let head = File::open(path).and_then(|mut file| first_bytes(&mut file, 4));
        Ok(Self::of(&head.map_err(FileError::on("read", path))?))
    }

    /// What the ending of a name asks for, and the name without that ending.
    pub fn by_ending(name: &str) -> (Self, &str) {
        for (ending, compression) in [(".gz", Self::Gzip), (".zst", Self::Zstd)] {
            if let Some(stem) = name.strip_suffix(ending) {
                return (compression, stem);
            }
        }
        (Self::None, name)
    }
}

/// An opened file.
pub struct Bytes {
    pub reader: Capped,
    pub meter: Meter,
    pub compression: Compression,
    /// The first bytes after decompression, by which a file without a telling name is recognised.
    pub head: Vec<u8>,
}

/// Opens a file, through gzip or zstd where it is compressed.
pub fn open(path: &Path) -> Result<Bytes, FileError> {
    open_file(path).map_err(FileError::on("read", path))
}

fn open_file(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let meter = Meter { read: Arc::default(), total: if metadata.is_file() { metadata.len() } else { 0 } };
    let mut raw = Metered { file, read: meter.read.clone() };
    // Read and put in front again, not sought back to: a pipe can't be.
    let head = first_bytes(&mut raw, 4)?;
    let compression = Compression::of(&head);
    let raw = BufReader::with_capacity(1 << 16, Cursor::new(head).chain(raw));
    let mut plain: Box<dyn Read + Send> = match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(raw)?),
    };
    let mut head = first_bytes(&mut plain, 4).map_err(|error| match compression {
        Compression::None => error,
        _ => io::Error::new(error.kind(), format!("{error} · the file is cut short or damaged: get it once more")),
    })?;
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        let advice = "the file is UTF-16 · convert it to UTF-8, for example with iconv";
        return Err(io::Error::new(io::ErrorKind::InvalidData, advice));
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    let reader = Capped {
        inner: BufReader::with_capacity(1 << 16, Box::new(Cursor::new(head.clone()).chain(plain))),
        left: Budget::default(),
    };
    Ok(Bytes { reader, meter, compression, head })
}

/// Up to `count` bytes; fewer only where the file ends.
fn first_bytes(reader: &mut dyn Read, count: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(count).read_to_end(&mut head)?;
    Ok(head)
}

/// The bytes that the record being read may still take.
#[derive(Clone)]
pub struct Budget(Arc<AtomicU64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(LONGEST_RECORD)))
    }
}

impl Budget {
    /// The next record begins.
    pub fn renew(&self) {
        self.0.store(LONGEST_RECORD, Ordering::Relaxed);
    }
}

/// A reader that gives up on a record that is longer than any record is.
pub struct Capped {
    inner: BufReader<Box<dyn Read + Send>>,
    left: Budget,
}

impl Capped {
    pub fn budget(&self) -> Budget {
        self.left.clone()
    }
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Capped {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left.0.load(Ordering::Relaxed) == 0 {
            let problem =
                "one record is longer than 64 MB · is the file what its name says, and is every quote closed?";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        let left = self.left.0.load(Ordering::Relaxed);
        self.left.0.store(left.saturating_sub(count as u64), Ordering::Relaxed);
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(bytes: &[u8]) -> (String, Compression) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut bytes = open(file.path()).unwrap();
        let mut text = String::new();
        bytes.reader.read_to_string(&mut text).unwrap();
        assert_eq!(bytes.meter.read(), bytes.meter.total);
        (text, bytes.compression)
    }

    pub fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compression_is_seen_in_the_bytes_and_not_in_the_name() {
        assert_eq!(read(b"plain"), ("plain".into(), Compression::None));
        let parts = [gzip(b"two "), gzip(b"parts")].concat();
        assert_eq!(read(&parts), ("two parts".into(), Compression::Gzip));
        let zstd = zstd::stream::encode_all(&b"packed"[..], 3).unwrap();
        assert_eq!(read(&zstd), ("packed".into(), Compression::Zstd));
        assert_eq!(read(b""), (String::new(), Compression::None));
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_utf_16_is_named() {
        assert_eq!(read(b"\xef\xbb\xbfid").0, "id");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\xff\xfei\0d\0").unwrap();
        let error = open(file.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("UTF-16") && error.contains("iconv"), "{error}");
    }

    #[test]
    fn half_a_compressed_file_is_an_error_and_not_a_short_file() {
        let whole = gzip(&b"a line of text\n".repeat(9_000));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&whole[..whole.len() / 2]).unwrap();
        let mut bytes = open(file.path()).unwrap();
        let error = bytes.reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // Cut within its first block it can't even be opened.
        for whole in [gzip(b"a line of text"), zstd::stream::encode_all(&b"a line of text"[..], 1).unwrap()] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&whole[..11]).unwrap();
            let error = open(file.path()).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("cut short or damaged: get it once more"), "{error}");
        }
    }

    #[test]
    fn a_record_without_end_stops_before_it_fills_the_memory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LONGEST_RECORD * 4).unwrap();
        let mut bytes = open(file.path()).unwrap();
        let mut record = Vec::new();
        let error = bytes.reader.read_until(b'\n', &mut record).unwrap_err().to_string();
        assert!(error.contains("longer than 64 MB"), "{error}");
        assert!(record.len() as u64 <= LONGEST_RECORD + (1 << 17));
    }
}
