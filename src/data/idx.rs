//! The idx format of MNIST and its descendants: an array of bytes with its dimensions in front.
//!
//! ```text
//! byte 0, 1   zero
//! byte 2      element type, 0x08 for unsigned bytes (the only one read here)
//! byte 3      rank
//! then        rank dimensions, each a big-endian u32
//! then        the elements, the last dimension varying fastest
//! ```
//!
//! A file may be gzipped, which its first two bytes tell. A file must be exactly as long as its header
//! says: a shorter one is truncated, and a longer one is refused after one byte too many, so a small file
//! that inflates without end costs no more memory than its header announced. Nor is a header believed
//! before the bytes have come: memory grows with what has been read.

use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const OP: &str = "idx::read";
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UNSIGNED_BYTE: u8 = 0x08;

/// What an idx file of unsigned bytes holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The dimensions, at least one.
    pub shape: Vec<usize>,
    /// The elements in row-major order, as many as the product of the dimensions.
    pub data: Vec<u8>,
}

/// Reads an idx file of unsigned bytes, gzipped or plain.
///
/// Errors: [`Error::Io`] where the file cannot be read, [`Error::DType`] for elements other than unsigned
/// bytes, [`Error::Format`] for a wrong magic number, rank 0, dimensions whose product overflows, a damaged
/// gzip stream, and for fewer or more bytes than the header says.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let remedy = "Check that the file exists and is readable";
    let file = File::open(path).map_err(|e| Error::io(OP, path, e, remedy))?;
    let mut file = BufReader::new(file);
    let mut magic = Vec::with_capacity(GZIP_MAGIC.len());
    let ends = GZIP_MAGIC.len() as u64;
    file.by_ref().take(ends).read_to_end(&mut magic).map_err(|e| Error::io(OP, path, e, remedy))?;
    let gzipped = magic == GZIP_MAGIC;
    let whole = io::Cursor::new(magic).chain(file);
    // The multi-member decoder, because it also refuses garbage after the gzip stream.
    if gzipped { parse(MultiGzDecoder::new(whole), path) } else { parse(whole, path) }
}

/// Reads an uncompressed idx stream to its end. `path` is for the messages.
fn parse(mut source: impl Read, path: &Path) -> Result<Idx> {
    let malformed =
        |what: String, remedy: &str| Error::format(OP, format!("{}: {what}", path.display()), remedy);
    let magic = up_to(&mut source, 4, path)?;
    let [zero0, zero1, element, rank] = magic[..] else {
        return Err(malformed(format!("ends after {} of 4 magic bytes", magic.len()), AGAIN));
    };
    if (zero0, zero1) != (0, 0) {
        return Err(malformed(
            format!("starts with {zero0:#04x} {zero1:#04x}, an idx file with two zero bytes"),
            "Give an idx file, plain or gzipped",
        ));
    }
    if element != UNSIGNED_BYTE {
        let given = format!("{}: elements are {}", path.display(), element_name(element));
        return Err(Error::dtype(
            OP,
            given,
            "Only idx files of unsigned bytes (0x08) are read; convert the file",
        ));
    }
    if rank == 0 {
        return Err(malformed("has no dimensions".into(), "Give a file of rank 1 or more"));
    }

    let header = up_to(&mut source, 4 * usize::from(rank), path)?;
    if header.len() != 4 * usize::from(rank) {
        let what = format!("ends after {} of {} bytes of dimensions", header.len(), 4 * usize::from(rank));
        return Err(malformed(what, AGAIN));
    }
    let dims: Vec<u32> =
        header.chunks_exact(4).map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]])).collect();
    let size = dims
        .iter()
        .try_fold(1usize, |size, &dim| size.checked_mul(usize::try_from(dim).ok()?))
        .ok_or_else(|| malformed(format!("the size of {dims:?} overflows"), AGAIN))?;

    let data = up_to(&mut source, size, path)?;
    if data.len() != size {
        let what = format!("{dims:?} needs {size} bytes, the file ends after {}", data.len());
        return Err(malformed(what, AGAIN));
    }
    // Reading past the end also makes the gzip decoder compare its checksum.
    if !up_to(&mut source, 1, path)?.is_empty() {
        return Err(malformed(format!("more bytes follow the {size} of {dims:?}"), AGAIN));
    }
    Ok(Idx { shape: dims.into_iter().map(|d| d as usize).collect(), data })
}

const AGAIN: &str = "The file is damaged or incomplete; get it again";

/// The next `limit` bytes, or fewer where the source ends before.
fn up_to(source: &mut impl Read, limit: usize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limit as u64).read_to_end(&mut bytes).map_err(|e| match e.kind() {
        // The kinds with which the gzip decoder reports a damaged stream.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::format(OP, format!("{}: the gzip stream is broken: {e}", path.display()), AGAIN)
        }
        _ => Error::io(OP, path, e, "Check that it is a readable file, and that there is memory for it"),
    })?;
    Ok(bytes)
}

/// The name that the format gives to an element type.
fn element_name(code: u8) -> String {
    let name = match code {
        0x08 => "unsigned byte",
        0x09 => "signed byte",
        0x0b => "i16",
        0x0c => "i32",
        0x0d => "f32",
        0x0e => "f64",
        _ => "of no known type",
    };
    format!("{name} ({code:#04x})")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use std::path::PathBuf;

    /// A folder for one test's files, gone when the test ends.
    pub(crate) struct Scratch(pub PathBuf);

    impl Scratch {
        pub(crate) fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gradus-{}-{test}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    pub(crate) fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The same verdict on a file and on its gzipped twin: the message without the path.
    fn refusal(test: &str, bytes: &[u8]) -> Error {
        let scratch = Scratch::new(test);
        let plain = read(scratch.write("plain", bytes)).unwrap_err();
        let packed = read(scratch.write("packed", &gzip(bytes))).unwrap_err();
        assert_eq!(plain.to_string(), packed.to_string().replace("packed", "plain"));
        assert!(plain.to_string().contains("plain"), "{plain}");
        plain
    }

    #[track_caller]
    fn assert_format(error: &Error, part: &str) {
        assert!(matches!(error, Error::Format { .. }) && error.to_string().contains(part), "{error}");
    }

    #[test]
    fn plain_and_gzipped_files_read_alike() {
        let scratch = Scratch::new("idx-alike");
        let bytes = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Idx { shape: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read(scratch.write("a", &bytes)).unwrap(), expected);
        assert_eq!(read(scratch.write("b", &gzip(&bytes))).unwrap(), expected);
        let members = [gzip(&bytes[..7]), gzip(&bytes[7..])].concat();
        assert_eq!(read(scratch.write("c", &members)).unwrap(), expected);
        let empty = read(scratch.write("d", &idx(&[0, 28, 28], &[]))).unwrap();
        assert_eq!(empty, Idx { shape: vec![0, 28, 28], data: vec![] });
    }

    #[test]
    fn a_missing_file_and_a_folder_are_io_errors_with_the_path() {
        let scratch = Scratch::new("idx-missing");
        for path in [scratch.0.join("nowhere"), scratch.0.clone()] {
            let error = read(&path).unwrap_err();
            assert!(matches!(&error, Error::Io { path: named, .. } if *named == path), "{error}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated() {
        let whole = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        for end in 0..whole.len() {
            assert_format(&refusal("idx-cut", &whole[..end]), "ends after");
        }
    }

    #[test]
    fn a_gzip_stream_cut_anywhere_or_damaged_is_refused() {
        let scratch = Scratch::new("idx-gzip");
        let whole = gzip(&idx(&[2, 3], &[1, 2, 3, 4, 5, 6]));
        for end in 2..whole.len() {
            assert_format(&read(scratch.write("cut", &whole[..end])).unwrap_err(), "gzip stream is broken");
        }
        let mut flipped = whole.clone();
        let checksum = whole.len() - 8;
        flipped[checksum] ^= 1;
        assert_format(&read(scratch.write("flipped", &flipped)).unwrap_err(), "gzip stream is broken");
        let trailing = [&whole[..], b"garbage"].concat();
        assert_format(&read(scratch.write("trailing", &trailing)).unwrap_err(), "gzip stream is broken");
    }

    #[test]
    fn a_wrong_magic_is_named() {
        assert_format(&refusal("idx-png", b"\x89PNG\r\n\x1a\n"), "0x89 0x50");
        assert_format(&refusal("idx-rank0", &[0, 0, 8, 0]), "no dimensions");
    }

    #[test]
    fn another_element_type_is_a_dtype_error() {
        for (code, name) in [(0x0d, "f32 (0x0d)"), (0x09, "signed byte"), (0x42, "no known type (0x42)")] {
            let mut bytes = idx(&[1], &[0]);
            bytes[2] = code;
            let error = refusal("idx-dtype", &bytes);
            assert!(matches!(error, Error::DType { .. }) && error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_format(&refusal("idx-trailing", &idx(&[2], &[1, 2, 3])), "more bytes follow the 2 of [2]");
    }

    #[test]
    fn overflowing_and_untruthful_sizes_are_refused_without_allocating_them() {
        assert_format(&refusal("idx-overflow", &idx(&[u32::MAX; 3], &[1])), "overflows");
        // 2⁶² bytes announced, one delivered.
        let dims = [1 << 31, 1 << 31];
        let error = refusal("idx-huge", &idx(&dims, &[1]));
        assert_format(&error, if usize::BITS >= 64 { "ends after 1" } else { "overflows" });
    }

    /// Delivers zeros for ever, and counts them.
    struct Endless(usize);

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            into.fill(0);
            self.0 += into.len();
            Ok(into.len())
        }
    }

    #[test]
    fn a_stream_longer_than_its_header_is_stopped_at_once() {
        let mut endless = Endless(0);
        let header = idx(&[10, 10], &[]);
        let error = parse((&header[..]).chain(&mut endless), Path::new("bomb")).unwrap_err();
        assert_format(&error, "more bytes follow the 100");
        assert!(endless.0 <= 101, "read {} bytes of an announced 100", endless.0);
    }
}
