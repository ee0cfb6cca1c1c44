//! What tells a student's files from others of the same name: a run over other weights is another run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::prepare::folder_of_student;
use super::preview::Target;
use super::spec::{RunSpec, hex};
use crate::corpus::Dataset;
use crate::files::FileError;

/// Bytes of each piece that is read of a large file, and how many pieces.
const PIECE: u64 = 64 * 1024;
const PIECES: u64 = 64;

/// Fingerprints of the students that a run reads, by their names: its own before it is trained, and the one that it
/// learns soft labels from. One that is not here yet, and the toy, have none.
pub fn of_run(project: &Path, spec: &RunSpec) -> Result<BTreeMap<String, String>, FileError> {
    let own = folder_of_student(project, &spec.student).map(|folder| (spec.student.clone(), folder));
    let teacher = spec.training.soft_labels.as_ref().and_then(|soft| {
        let folder = Target::find(project, &soft.teacher).ok()?.folder().to_owned();
        Some((soft.teacher.clone(), folder))
    });
    own.into_iter().chain(teacher).map(|(name, folder)| Ok((name, of_folder(&folder)?))).collect()
}

/// SHA-256 of what a data set's questions look like beside their rows: its template, and what its subject is.
pub fn of_template(dataset: &Dataset) -> String {
    let decisive = serde_json::to_vec(&(&dataset.meta.template, &dataset.meta.subject)).unwrap_or_default();
    hex(&Sha256::digest(decisive))
}

/// Whether two runs read the same students, as far as is known of both.
pub fn agree(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> bool {
    one.iter().all(|(name, hash)| other.get(name).is_none_or(|own| own == hash))
}

/// SHA-256 over the files of a student's folder: their names and sizes, small ones whole, and of larger ones pieces spread
/// evenly from the first byte to the last. Hashing 5 GB whole would take longer than asking whether a run exists should, and
/// weights that were trained on differ everywhere.
pub fn of_folder(folder: &Path) -> Result<String, FileError> {
    let failed = FileError::on("read", folder);
    let mut files: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| decides(path)).collect(),
        Err(error) => return Err(failed(error)),
    };
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let failed = FileError::on("read", &path);
        add(&mut hash, &path).map_err(failed)?;
    }
    Ok(hex(&hash.finalize()))
}

/// Whether a file is read of a student: its settings, its words and its weights.
fn decides(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_settings = name.ends_with(".json") && name != "state.json";
    path.is_file()
        && (is_settings || [".safetensors", ".model", ".jinja", ".txt"].iter().any(|end| name.ends_with(end)))
}

fn add(hash: &mut Sha256, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
    hash.update(size.to_le_bytes());
    if size <= PIECE * PIECES {
        let mut whole = Vec::with_capacity(size as usize);
        file.read_to_end(&mut whole)?;
        hash.update(&whole);
        return Ok(());
    }
    let mut piece = vec![0; PIECE as usize];
    for number in 0..PIECES {
        file.seek(SeekFrom::Start(((size - PIECE) as u128 * number as u128 / (PIECES - 1) as u128) as u64))?;
        file.read_exact(&mut piece)?;
        hash.update(&piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_changed_at_any_end_are_others() {
        let dir = tempfile::tempdir().unwrap();
        let weights = dir.path().join("model.safetensors");
        let mut bytes = vec![7u8; (PIECE * PIECES * 2) as usize];
        let of = |bytes: &[u8]| {
            std::fs::write(&weights, bytes).unwrap();
            of_folder(dir.path()).unwrap()
        };
        let plain = of(&bytes);
        assert_eq!(plain, of(&bytes));
        let last = bytes.len() - 1;
        for place in [0, last] {
            bytes[place] = 8;
            assert_ne!(of(&bytes), plain, "byte {place}");
            bytes[place] = 7;
        }
        assert_ne!(of(&bytes[..last]), plain, "a byte less");
        // What is no part of a student changes nothing.
        of(&bytes);
        std::fs::write(dir.path().join("optimizer.bin"), "moments").unwrap();
        assert_eq!(of_folder(dir.path()).unwrap(), plain);
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        assert_ne!(of_folder(dir.path()).unwrap(), plain);
    }

    #[test]
    fn a_folder_that_is_gone_is_named() {
        let error = of_folder(Path::new("nowhere/student")).unwrap_err().to_string();
        assert!(error.contains("nowhere/student"), "{error}");
    }
}
