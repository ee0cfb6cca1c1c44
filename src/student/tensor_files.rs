//! The tensors of one or several safetensors files, read one by one: a student is in memory once while it is loaded, and
//! what its files hold is known before anything is allocated.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Metadata;

use super::StudentError;
use crate::text;

/// Longer headers are no headers; the library that writes them has the same limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// Tensors by name, still on the disk.
pub struct TensorFiles {
    entries: HashMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    path: PathBuf,
    dtype: DType,
    shape: Vec<usize>,
    from: u64,
    bytes: usize,
}

impl TensorFiles {
    /// Reads the headers and checks that the files are as long as they say.
    pub fn open(paths: &[PathBuf]) -> Result<Self, StudentError> {
        let mut entries = HashMap::new();
        for path in paths {
            for (name, entry) in read_header(path).map_err(|problem| broken(path, &problem))? {
                entries.insert(name, entry);
            }
        }
        Ok(Self { entries })
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| &entry.shape[..])
    }

    /// The type that most numbers have.
    pub fn dtype(&self) -> Option<DType> {
        let mut counts: Vec<(DType, usize)> = Vec::new();
        for entry in self.entries.values() {
            let numbers: usize = entry.shape.iter().product();
            match counts.iter_mut().find(|(dtype, _)| *dtype == entry.dtype) {
                Some((_, count)) => *count += numbers,
                None => counts.push((entry.dtype, numbers)),
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(dtype, _)| dtype)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Reads one tensor.
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor, StudentError> {
        let Some(Entry { path, dtype, shape, from, bytes }) = self.entries.get(name) else {
            return Err(StudentError::Vocabulary {
                problem: format!("there is no tensor `{}`", text::excerpt(name, 80)),
            });
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(*from))?;
            let mut data = vec![0; *bytes];
            file.read_exact(&mut data)?;
            Ok(data)
        };
        let data = read().map_err(|error| broken(path, &error.to_string()))?;
        Ok(Tensor::from_raw_buffer(&data, *dtype, shape, device)?)
    }
}

fn read_header(path: &Path) -> Result<HashMap<String, Entry>, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(said)?;
    let length = file.metadata().map_err(said)?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| "it has no header".to_owned())?;
    let header = u64::from_le_bytes(size);
    if header > LONGEST_HEADER || 8 + header > length {
        return Err("it has no whole header".into());
    }
    let mut buffer = Vec::new();
    file.take(header).read_to_end(&mut buffer).map_err(said)?;
    let metadata: Metadata = serde_json::from_slice(&buffer).map_err(|error| format!("its header: {error}"))?;
    let mut entries = HashMap::new();
    for (name, info) in metadata.tensors() {
        let (from, to) = info.data_offsets;
        let from = 8 + header + from as u64;
        if 8 + header + to as u64 > length {
            return Err(format!("`{}` ends beyond the file", text::excerpt(&name, 80)));
        }
        let dtype = DType::try_from(info.dtype).map_err(|error| error.to_string())?;
        let bytes = info.data_offsets.1 - info.data_offsets.0;
        entries.insert(name, Entry { path: path.to_owned(), dtype, shape: info.shape.clone(), from, bytes });
    }
    Ok(entries)
}

/// A file that can't be read, with what to do.
pub fn broken(path: &Path, problem: &str) -> StudentError {
    let problem = text::line(problem.lines().next().unwrap_or_default()).into_owned();
    // Nobody publishes the checkpoints of a run.
    let is_checkpoint = path.with_file_name("state.json").exists();
    let advice = if is_checkpoint { "use an earlier checkpoint of the run" } else { "fetch it again" };
    StudentError::File {
        path: path.to_owned(),
        problem: format!("{problem} · the file is broken or cut short; {advice}"),
    }
}
