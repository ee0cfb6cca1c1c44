//! Word vectors from a file of word2vec: binary (`.bin`), or text with a line for each word (anything else; the first
//! line, with the number of words and of columns, may be missing, as in GloVe's files).
//!
//! Such files are several gigabytes large. They are read from front to back, and only the vectors that are asked for are
//! kept.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::files::FileError;
use crate::text;

/// More columns than any published file has: what claims to be wider is no file of vectors.
const WIDEST: usize = 16_384;
/// Bytes of the longest line: a long word, and 24 characters a column.
const LONGEST_LINE: u64 = 24 * WIDEST as u64 + LONGEST_WORD as u64;
/// Bytes of the longest word.
const LONGEST_WORD: usize = 4096;
/// Bytes between two reports of how far it is.
const REPORT_EVERY: u64 = 16 << 20;

/// A file that can't be read as vectors.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    #[error("{}:{line}: {problem} · it must be word vectors as text: a word and its numbers on each line", path.display())]
    Line { path: PathBuf, line: usize, problem: String },
    #[error("{}: byte {byte}: {problem} · it must be a whole file of word2vec in its binary form", path.display())]
    Byte { path: PathBuf, byte: u64, problem: String },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads the vectors of `wanted` words. `report` is told the bytes that were read, of how many.
pub fn read(
    path: &Path,
    wanted: &BTreeSet<String>,
    report: &mut dyn FnMut(u64, u64),
) -> Result<HashMap<String, Vec<f32>>, VectorsError> {
    let file = File::open(path).map_err(FileError::on("read", path))?;
    let length = file.metadata().map_err(FileError::on("read", path))?.len();
    let mut reader = Reader {
        path,
        input: BufReader::with_capacity(1 << 18, file),
        at: 0,
        length,
        reported: 0,
        wanted,
        report,
        found: HashMap::new(),
    };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("bin")) {
        reader.binary()?;
    } else {
        reader.text()?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    path: &'a Path,
    input: BufReader<File>,
    /// Bytes read.
    at: u64,
    length: u64,
    reported: u64,
    wanted: &'a BTreeSet<String>,
    report: &'a mut dyn FnMut(u64, u64),
    found: HashMap<String, Vec<f32>>,
}

impl Reader<'_> {
    fn byte(&self, byte: u64, problem: impl Into<String>) -> VectorsError {
        VectorsError::Byte { path: self.path.to_owned(), byte, problem: problem.into() }
    }

    fn line(&self, line: usize, problem: impl Into<String>) -> VectorsError {
        VectorsError::Line { path: self.path.to_owned(), line, problem: problem.into() }
    }

    fn failed(&self, error: std::io::Error) -> VectorsError {
        FileError::on("read", self.path)(error).into()
    }

    /// Reads up to and with `end`, at most `longest` bytes.
    fn until(&mut self, end: u8, longest: u64) -> Result<Vec<u8>, VectorsError> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(longest).read_until(end, &mut bytes).map_err(|error| self.failed(error))?;
        self.at += bytes.len() as u64;
        if self.at - self.reported >= REPORT_EVERY {
            self.reported = self.at;
            (self.report)(self.at, self.length);
        }
        Ok(bytes)
    }

    /// The first vector of a word counts.
    fn keep(&mut self, word: &str, vector: Vec<f32>) {
        self.found.entry(word.to_owned()).or_insert(vector);
    }

    fn text(&mut self) -> Result<(), VectorsError> {
        let (mut line, mut columns, mut promised, mut words) = (0, None, None, 0usize);
        loop {
            let bytes = self.until(b'\n', LONGEST_LINE)?;
            line += 1;
            if bytes.is_empty() {
                break;
            }
            if bytes.len() as u64 == LONGEST_LINE && !bytes.ends_with(b"\n") {
                return Err(self.line(line, "the line is too long"));
            }
            let row = std::str::from_utf8(&bytes).map_err(|_| self.line(line, "not valid UTF-8"))?.trim_end();
            if row.is_empty() {
                continue;
            }
            if line == 1
                && let Some((count, width)) = header(row)
            {
                self.check_width(width).map_err(|problem| self.line(line, problem))?;
                promised = Some(count);
                columns = Some(width);
                continue;
            }
            // Words with spaces in them are counted from the end, as the number of columns is known.
            let width = columns.unwrap_or_else(|| row.split(' ').count() - 1);
            self.check_width(width).map_err(|problem| self.line(line, problem))?;
            columns = Some(width);
            let mut numbers: Vec<&str> = row.rsplitn(width + 1, ' ').collect();
            let word = numbers.pop().unwrap_or_default();
            if numbers.len() != width || word.is_empty() {
                return Err(self.line(line, format!("the line has not a word and {width} numbers")));
            }
            words += 1;
            if self.wanted.contains(word) {
                let number = |text: &str| text.parse::<f32>().ok().filter(|number| number.is_finite());
                let vector: Result<Vec<f32>, VectorsError> = numbers
                    .iter()
                    .rev()
                    .map(|own| {
                        let problem = || format!("`{}` is no finite number", text::excerpt(own, 40));
                        number(own).ok_or_else(|| self.line(line, problem()))
                    })
                    .collect();
                let vector = vector?;
                self.keep(word, vector);
            }
        }
        match promised.filter(|promised| *promised != words) {
            Some(promised) => Err(self.line(1, format!("the file promises {promised} words and has {words}"))),
            None if words == 0 => Err(self.line(1, "the file has no words")),
            None => Ok(()),
        }
    }

    fn binary(&mut self) -> Result<(), VectorsError> {
        let first = self.until(b'\n', 64)?;
        let (count, width) = std::str::from_utf8(&first)
            .ok()
            .and_then(|text| header(text.trim_end()))
            .ok_or_else(|| self.byte(0, "the first line is not the number of words and of columns"))?;
        self.check_width(width).map_err(|problem| self.byte(0, problem))?;
        // At the least a word of one byte and the space after it.
        let smallest = (count as u64).saturating_mul(4 * width as u64 + 2);
        if self.at.saturating_add(smallest) > self.length {
            let problem =
                format!("{count} words of {width} columns need more than the {} bytes there are", self.length);
            return Err(self.byte(0, problem));
        }
        let mut numbers = vec![0u8; 4 * width];
        for place in 0..count {
            let start = self.at;
            let bytes = self.until(b' ', LONGEST_WORD as u64)?;
            let Some(word) = bytes.strip_suffix(b" ") else {
                let problem = if self.at == self.length {
                    format!("the file is cut off in word {} of {count}", place + 1)
                } else {
                    format!("word {} of {count} has no end", place + 1)
                };
                return Err(self.byte(start, problem));
            };
            // The original program puts a line break behind each vector; others do not.
            let word = word.strip_prefix(b"\n").unwrap_or(word);
            let word = std::str::from_utf8(word)
                .map_err(|_| self.byte(start, format!("word {} of {count} is not valid UTF-8", place + 1)))?
                .to_owned();
            let begins = self.at;
            self.input.read_exact(&mut numbers).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    self.byte(begins, format!("the file is cut off in the vector of word {} of {count}", place + 1))
                }
                _ => self.failed(error),
            })?;
            self.at += numbers.len() as u64;
            if self.wanted.contains(&word) {
                let (values, _) = numbers.as_chunks::<4>();
                let vector: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                if vector.iter().any(|number| !number.is_finite()) {
                    let word = text::excerpt(&word, 40);
                    return Err(self.byte(begins, format!("the vector of `{word}` has numbers that are none")));
                }
                self.keep(&word, vector);
            }
        }
        let end = self.at;
        let rest = self.until(b'\n', 2)?;
        if rest.is_empty() || (rest == b"\n" && self.at == self.length) {
            return Ok(());
        }
        Err(self.byte(end, format!("there is more behind the {count} words that the file promises")))
    }

    fn check_width(&self, width: usize) -> Result<(), String> {
        match width {
            0 => Err("a vector has no columns".into()),
            1..=WIDEST => Ok(()),
            _ => Err(format!("vectors of {width} columns are wider than {WIDEST}")),
        }
    }
}

/// `COUNT WIDTH`.
fn header(line: &str) -> Option<(usize, usize)> {
    let (count, width) = line.split_once(' ')?;
    Some((count.parse().ok()?, width.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_bytes(name: &str, bytes: &[u8], words: &[&str]) -> Result<HashMap<String, Vec<f32>>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let wanted = words.iter().map(|word| (*word).to_owned()).collect();
        read(&path, &wanted, &mut |_, _| {}).map_err(|error| error.to_string())
    }

    fn binary(words: &[(&str, [f32; 2])], breaks: bool) -> Vec<u8> {
        let mut bytes = format!("{} 2\n", words.len()).into_bytes();
        for (word, vector) in words {
            bytes.extend(format!("{word} ").bytes());
            bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            bytes.extend(breaks.then_some(b'\n'));
        }
        bytes
    }

    #[test]
    fn both_forms_give_the_words_that_are_asked_for_and_no_others() {
        let words = [("bank", [1.5, -2.0]), ("café", [0.25, 0.0]), ("bank", [9.0, 9.0])];
        let want = HashMap::from([("bank".to_owned(), vec![1.5, -2.0]), ("café".to_owned(), vec![0.25, 0.0])]);
        let asked = ["bank", "café", "reef"];
        for breaks in [false, true] {
            assert_eq!(read_bytes("v.bin", &binary(&words, breaks), &asked).unwrap(), want);
        }
        let rows = "bank 1.5 -2\ncafé 2.5e-1 0 \nnew york 3 4\n";
        for text in [format!("3 2\n{rows}"), rows.to_owned(), rows.replace('\n', "\r\n")] {
            assert_eq!(read_bytes("v.vec", text.as_bytes(), &asked).unwrap(), want, "{text}");
        }
        assert_eq!(read_bytes("v.vec", rows.as_bytes(), &["new york"]).unwrap()["new york"], [3.0, 4.0]);
    }

    #[test]
    fn hostile_text_is_refused_with_its_line() {
        for (text, place, problem) in [
            (&b"3 2\nbank 1 2\n"[..], ":1:", "promises 3 words and has 1"),
            (b"1 2\nbank 1 2\nreef 1 2\n", ":1:", "promises 1 words and has 2"),
            (b"2 2\nbank 1 2\nreef 1\n", ":3:", "not a word and 2 numbers"),
            (b"1 999999999999\nbank 1\n", ":1:", "wider than"),
            (b"1 0\nbank\n", ":1:", "no columns"),
            (b"bank 1 nan\n", ":1:", "no finite number"),
            (b"a 1 2\nbank 1 1e99\n", ":2:", "no finite number"),
            (b"a 1 2\nb\xff 1 2\n", ":2:", "not valid UTF-8"),
            (b"", ":1:", "no words"),
        ] {
            let error = read_bytes("v.vec", text, &["bank"]).unwrap_err();
            assert!(error.contains(place) && error.contains(problem), "{error}");
        }
        let long = vec![b'x'; LONGEST_LINE as usize + 10];
        assert!(read_bytes("v.txt", &long, &[]).unwrap_err().contains("too long"));
    }

    #[test]
    fn hostile_binary_files_are_refused_with_their_byte() {
        let whole = binary(&[("bank", [1.0, 2.0]), ("reef", [3.0, 4.0])], false);
        let mut odd = whole.clone();
        odd[4] = 0xff;
        let nan = binary(&[("bank", [f32::NAN, 2.0])], true);
        let long = [&b"1 2\n"[..], &[b'x'; 2 * LONGEST_WORD]].concat();
        for (bytes, place, problem) in [
            (&whole[..whole.len() - 2], "byte 22", "cut off in the vector of word 2 of 2"),
            (&whole[..10], "byte 0", "need more than the 10 bytes"),
            (b"99999999999 300\n", "byte 0", "need more than"),
            (b"18446744073709551615 16384\n", "byte 0", "need more than"),
            (b"2 4000000000\n", "byte 0", "wider than"),
            (b"words\n", "byte 0", "the first line"),
            (b"", "byte 0", "the first line"),
            (&odd, "byte 4", "word 1 of 2 is not valid UTF-8"),
            (&nan, "byte 9", "numbers that are none"),
            (&long, "byte 4", "has no end"),
        ] {
            let error = read_bytes("v.bin", bytes, &["bank"]).unwrap_err();
            assert!(error.contains(place) && error.contains(problem), "{problem}: {error}");
        }
        let more = [&whole[..], b"coral"].concat();
        let error = read_bytes("v.bin", &more, &[]).unwrap_err();
        assert!(error.contains("byte 30") && error.contains("more behind the 2 words"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), is_binary: bool) {
            let name = if is_binary { "v.bin" } else { "v.vec" };
            let _ = read_bytes(name, &bytes, &["a"]);
            let led = [&b"3 2\n"[..], &bytes].concat();
            let _ = read_bytes(name, &led, &["a"]);
        }
    }
}
