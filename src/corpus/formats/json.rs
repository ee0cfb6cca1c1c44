//! JSON documents, one record at a time: an array of objects, an object of objects by id, an object that wraps an array,
//! or one object after another.
//!
//! Only the extent of each record is found here, by counting brackets outside strings; a record that is broken inside
//! its brackets costs only itself. `serde_json` reads a whole document or a stream of them, neither of which gives back
//! what stands after a mistake.

use std::io::{self, Cursor, Read};

/// A single object up to this size is looked at as a whole, to see whether it holds records or is one.
const LOOK_AHEAD: usize = 1 << 20;

/// Fields under which an object may hold its records as an array.
const WRAPPERS: [&str; 7] = ["data", "rows", "examples", "questions", "instances", "items", "records"];

/// How the records of a document hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One after another.
    Stream,
    Array,
    /// Each under its key.
    Keyed,
    /// In an array under one of [`WRAPPERS`].
    Wrapped,
}

/// What a document turned out to be.
pub enum Document {
    /// One object in each line, in spite of the name: reading it as JSONL costs only the line where something is wrong.
    Lines(Box<dyn Read + Send>),
    Elements(Elements),
}

/// The records of a document.
pub struct Elements {
    scanner: Scanner,
    shape: Shape,
    /// The array being read stands inside an object.
    wrapped: bool,
    begun: bool,
    ended: bool,
}

/// The extent of one record.
#[derive(Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Option<String>,
    pub bytes: Vec<u8>,
    /// The line of the file on which the record begins, from 1.
    pub line: usize,
}

/// Looks at the beginning of a document and says how to read it.
pub fn open(reader: Box<dyn Read + Send>) -> io::Result<Document> {
    let mut scanner = Scanner::new(reader);
    let shape = match scanner.skip_blanks()? {
        Some(b'[') => Shape::Array,
        Some(b'{') => {
            let (mut first, before) = (Vec::new(), scanner.line);
            let whole = scanner.value(&mut first, LOOK_AHEAD)?;
            let last = scanner.line;
            let more = whole && scanner.skip_blanks()?.is_some();
            let shape = match (whole, more) {
                (false, _) => Shape::Keyed,
                (true, false) => shape_of(&first),
                (true, true) => Shape::Stream,
            };
            let by_lines = more && before == last && scanner.line > last;
            // The same bytes again, on the same lines.
            let breaks = |count: usize| vec![b'\n'; count];
            let begin = [breaks(before - 1), first, breaks(scanner.line - last)].concat();
            let reader = Box::new(Cursor::new(begin).chain(scanner.rest()));
            if by_lines {
                return Ok(Document::Lines(reader));
            }
            scanner = Scanner::new(reader);
            shape
        }
        _ => Shape::Stream,
    };
    Ok(Document::Elements(Elements::new(scanner, shape)))
}

/// What a single object is, by how the values of its members begin.
fn shape_of(object: &[u8]) -> Shape {
    let mut members = Elements::new(Scanner::new(Box::new(Cursor::new(object.to_vec()))), Shape::Keyed);
    let (mut all_objects, mut wraps) = (true, false);
    let mut look = || -> io::Result<bool> {
        while members.step(b'{', b'}')? {
            let (key, opening) = members.key()?;
            all_objects &= opening == Some(b'{');
            wraps |= opening == Some(b'[') && WRAPPERS.contains(&key.as_str());
            members.scanner.value(&mut Vec::new(), usize::MAX)?;
        }
        Ok(all_objects && object.len() > 2)
    };
    match look() {
        Ok(true) => Shape::Keyed,
        Ok(false) if wraps => Shape::Wrapped,
        _ => Shape::Stream,
    }
}

impl Elements {
    fn new(scanner: Scanner, shape: Shape) -> Self {
        Self { scanner, shape, wrapped: false, begun: false, ended: false }
    }

    /// Whether records are told apart by their number and not by their line: those of one document may share a line.
    pub fn numbered(&self) -> bool {
        self.shape != Shape::Stream
    }

    fn read(&mut self) -> io::Result<Option<Element>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            match self.shape {
                Shape::Stream => return self.element(None),
                Shape::Array => {
                    if self.step(b'[', b']')? {
                        return self.element(None);
                    }
                }
                Shape::Keyed | Shape::Wrapped => {
                    if self.step(b'{', b'}')?
                        && let Some(element) = self.member()?
                    {
                        return Ok(Some(element));
                    }
                }
            }
        }
    }

    /// Goes to the next part of a list: past the opening bracket or a comma. False at the end.
    fn step(&mut self, open: u8, close: u8) -> io::Result<bool> {
        let expected = if self.begun { b',' } else { open };
        let mut found = self.scanner.skip_blanks()?;
        if found == Some(expected) {
            self.scanner.bump();
            // `[]` is a list, and so is `[1,]` to those who write it.
            found = self.scanner.skip_blanks()?;
        } else if !self.begun || found != Some(close) {
            let problem = format!("`{}` or `{}` should stand here", char::from(expected), char::from(close));
            return Err(self.scanner.broken(found, &problem));
        }
        self.begun = true;
        self.ended = found == Some(close);
        if self.ended {
            self.scanner.bump();
            if !self.wrapped && self.scanner.skip_blanks()?.is_some() {
                return Err(self.scanner.broken(Some(close), "something follows the end of the document"));
            }
        }
        Ok(!self.ended)
    }

    /// A key, and how its value begins.
    fn key(&mut self) -> io::Result<(String, Option<u8>)> {
        let mut key = Vec::new();
        let found = self.scanner.skip_blanks()?;
        if found != Some(b'"') {
            return Err(self.scanner.broken(found, "a key in quotes should stand here"));
        }
        self.scanner.value(&mut key, usize::MAX)?;
        let key = serde_json::from_slice(&key).map_err(|_| self.scanner.broken(found, "this key can't be read"))?;
        let found = self.scanner.skip_blanks()?;
        if found != Some(b':') {
            return Err(self.scanner.broken(found, "`:` should stand after a key"));
        }
        self.scanner.bump();
        Ok((key, self.scanner.skip_blanks()?))
    }

    /// A key with its value. `None` where the value holds no record.
    fn member(&mut self) -> io::Result<Option<Element>> {
        let (key, opening) = self.key()?;
        if opening == Some(b'[') && WRAPPERS.contains(&key.as_str()) {
            // What follows the array is about the file, not about its rows.
            (self.shape, self.wrapped, self.begun) = (Shape::Array, true, false);
            return Ok(None);
        }
        let element = self.element(Some(key))?;
        Ok(element.filter(|_| self.shape == Shape::Keyed && opening == Some(b'{')))
    }

    fn element(&mut self, key: Option<String>) -> io::Result<Option<Element>> {
        let found = self.scanner.skip_blanks()?;
        if found.is_none() && self.shape == Shape::Stream {
            self.ended = true;
            return Ok(None);
        }
        let line = self.scanner.line;
        let mut bytes = Vec::new();
        self.scanner.value(&mut bytes, usize::MAX)?;
        if bytes.is_empty() {
            return Err(self.scanner.broken(found, "a value should stand here"));
        }
        Ok(Some(Element { key, bytes, line }))
    }
}

impl Iterator for Elements {
    type Item = io::Result<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.read();
        // Where one bracket is wrong nothing behind it can be trusted.
        self.ended |= element.is_err();
        element.transpose()
    }
}

/// Bytes of a document with the place where it is being read.
struct Scanner {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    /// From 1.
    line: usize,
}

impl Scanner {
    fn new(reader: Box<dyn Read + Send>) -> Self {
        Self { reader, buffer: Vec::new(), at: 0, line: 1 }
    }

    /// Everything that was not read yet.
    fn rest(mut self) -> impl Read + Send {
        Cursor::new(self.buffer.split_off(self.at)).chain(self.reader)
    }

    /// Something else was `found` than belongs here.
    fn broken(&self, found: Option<u8>, problem: &str) -> io::Error {
        match found {
            None => io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends inside a document"),
            Some(_) => io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {problem}", self.line)),
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            self.buffer.resize(1 << 16, 0);
            let read = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            self.buffer.truncate(read);
            self.at = 0;
        }
        Ok(self.buffer.get(self.at).copied())
    }

    fn bump(&mut self) {
        if self.buffer.get(self.at) == Some(&b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_blanks(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.bump();
        }
        Ok(None)
    }

    /// Appends the value that begins here. False when `limit` bytes were not enough for it.
    fn value(&mut self, out: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        while let Some(byte) = self.peek()? {
            if out.len() >= limit {
                return Ok(false);
            }
            let mut complete = false;
            if quoted {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => {
                        quoted = false;
                        complete = depth == 0;
                    }
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => quoted = true,
                    b'{' | b'[' => depth += 1,
                    // A number or a word ends where something else begins.
                    b'}' | b']' | b',' if depth == 0 => return Ok(true),
                    b'}' | b']' => {
                        depth -= 1;
                        complete = depth == 0;
                    }
                    byte if depth == 0 && byte.is_ascii_whitespace() => return Ok(true),
                    _ => {}
                }
            }
            out.push(byte);
            self.bump();
            if complete {
                return Ok(true);
            }
        }
        if depth > 0 || quoted {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends inside a record"));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn elements(text: &str) -> io::Result<Vec<(Option<String>, String, usize)>> {
        let Document::Elements(elements) = open(Box::new(Cursor::new(text.to_owned())))? else {
            panic!("read as lines: {text}");
        };
        let shown = |element: Element| (element.key, String::from_utf8(element.bytes).unwrap(), element.line);
        elements.map(|element| element.map(shown)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        elements(text).unwrap().into_iter().map(|(_, text, _)| text).collect()
    }

    #[test]
    fn an_array_is_read_piece_by_piece() {
        let text = "[\n {\"a\": \"]}\\\"\"},\n {\"b\": [1, {\"c\": 2}]}, 7\n]\n";
        let found = elements(text).unwrap();
        assert_eq!(found[0], (None, "{\"a\": \"]}\\\"\"}".into(), 2));
        assert_eq!(found[1], (None, "{\"b\": [1, {\"c\": 2}]}".into(), 3));
        assert_eq!(found[2].1, "7");
        assert_eq!(texts("[]"), Vec::<String>::new());
    }

    #[test]
    fn an_object_of_objects_gives_their_keys() {
        let found = elements(r#"{"0": {"q": 1}, "x\"y": {"q": 2}}"#).unwrap();
        assert_eq!(found[0], (Some("0".into()), r#"{"q": 1}"#.into(), 1));
        assert_eq!(found[1].0.as_deref(), Some("x\"y"));
    }

    #[test]
    fn a_wrapped_array_gives_its_elements_only() {
        let text = r#"{"meta": {"by": "x"}, "data": [{"q": 1}, {"q": 2}], "n": 2}"#;
        assert_eq!(texts(text), [r#"{"q": 1}"#, r#"{"q": 2}"#]);
    }

    #[test]
    fn one_object_alone_is_a_record() {
        let text = r#"{"id": "a", "choices": [{"label": "A"}]}"#;
        assert_eq!(texts(text), [text]);
    }

    #[test]
    fn indented_objects_one_after_another_are_records() {
        let found = elements("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n").unwrap();
        assert_eq!(found.iter().map(|(_, _, line)| *line).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn one_object_in_each_line_is_jsonl_whatever_the_name_says() {
        let text = "\n{\"a\": 1}\n\nnot json\n{\"a\": 3}\n";
        let Document::Lines(mut lines) = open(Box::new(Cursor::new(text))).unwrap() else { panic!("not lines") };
        let mut back = String::new();
        lines.read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
    }

    #[test]
    fn a_document_beyond_the_look_ahead_is_read_by_its_keys() {
        let member = format!(r#"{{"q": "{}"}}"#, "x".repeat(1000));
        let members: Vec<String> = (0..1500).map(|n| format!(r#""{n}": {member}"#)).collect();
        let found = elements(&format!("{{{}}}", members.join(", "))).unwrap();
        assert_eq!(found.len(), 1500);
        assert_eq!(found[1499].0.as_deref(), Some("1499"));
    }

    proptest::proptest! {
        /// Whatever the elements are, each is found, and none is cut.
        #[test]
        fn elements_are_found_in_any_array(
            words in proptest::collection::vec("[\\[\\]{},:\"\\\\a 1]*", 0..6),
            pretty: bool,
        ) {
            let value = |word: &String| json!({word: [word, {"n": [1, null]}], "t": word});
            let values: Vec<Value> = words.iter().map(value).collect();
            let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = write(&values).unwrap();
            let back: Vec<Value> = texts(&text).iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            proptest::prop_assert_eq!(back, values);
        }

        #[test]
        fn no_bytes_are_read_without_end_or_panic(text in "[\\[\\]{},:\"\\\\a\n 1]*") {
            let document = open(Box::new(Cursor::new(text)));
            if let Ok(Document::Elements(elements)) = document {
                proptest::prop_assert!(elements.count() < 1000);
            }
        }
    }

    #[test]
    fn a_document_that_breaks_off_is_an_error() {
        for (text, problem) in [
            ("[{\"a\": 1}, {\"a\"", "inside a record"),
            ("[{\"a\": 1}", "inside a document"),
            ("[{\"a\": 1}\n{\"a\": 2}]", "line 2"),
            ("[{\"a\": 1}] x", "follows the end"),
        ] {
            let error = elements(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
