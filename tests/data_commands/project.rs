//! A project to try commands in.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_afterthought");

/// A project in a folder of its own.
pub struct Project {
    pub dir: tempfile::TempDir,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub messages: String,
}

impl Project {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `afterthought data …`; `~` stands for a blank inside a word.
    pub fn data(&self, line: &str) -> Ended {
        let words = line.split_whitespace().map(|word| word.replace('~', " "));
        ended(Command::new(PROGRAM).arg("-C").arg(self.dir.path()).arg("data").args(words).output().unwrap())
    }

    /// Like [`Self::data`], for commands that must succeed; gives their JSON.
    pub fn json(&self, line: &str) -> Value {
        let ended = self.data(&format!("{line} --json"));
        assert_eq!(ended.code, 0, "{line}: {}", ended.messages);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// What is in the folder of data sets, hidden folders included.
    pub fn datasets(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("datasets")).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        messages: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
