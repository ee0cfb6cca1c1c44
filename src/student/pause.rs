//! A pause token for a student that was published without one: a row more in its tables of words.

use std::collections::HashMap;

use candle_core::Tensor;

use super::{Student, StudentError, weights};
use crate::student::tokenizer::PAUSE_TOKEN;

/// The tables with a row for each word.
const TABLES: [&str; 3] = ["words", "output", "output.bias"];

impl Student {
    /// The student with a pause token. Its rows are trained like all others and begin as the mean of the rows of all
    /// words, so that it is neither likely nor strange. A row that the tables have to spare is used before one is added.
    /// A student that has the token already stays as it is.
    pub fn with_pause(self) -> Result<Self, StudentError> {
        if self.tokenizer.id_of(PAUSE_TOKEN).is_some() {
            return Ok(self);
        }
        let failed = |problem: &str| StudentError::Vocabulary { problem: problem.into() };
        if self.adapted.is_some() {
            return Err(failed(
                "pause tokens are learned in the table of words, which adapters leave as it is · leave out training.lora",
            ));
        }
        let mut tokenizer = self.tokenizer.clone();
        let (used, id) = (tokenizer.reach(), tokenizer.add_pause()? as usize);
        let (mut architecture, mut config) = (self.decoder.architecture.clone(), self.config.clone());
        let rows = architecture.vocabulary;
        if id > rows {
            return Err(failed("the tokenizer has more ids than the student has words, so a pause token has no row"));
        }
        if id == rows {
            architecture.vocabulary += 1;
            // What says how many words there are in other programs, and in the checkpoints.
            match config.get_mut("vocab_size") {
                Some(size) => *size = architecture.vocabulary.into(),
                None => return Err(failed("config.json has no vocab_size to be raised for a pause token")),
            }
        }
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        for (name, variable) in &self.parameters {
            let tensor = variable.as_tensor().detach();
            let is_table = TABLES.contains(&name.as_str());
            tensors.insert(name.clone(), if is_table { with_row(&tensor, used.min(rows), id)? } else { tensor });
        }
        Self::new(self.family, config, architecture, tokenizer, tensors)
    }
}

/// The table with the mean of its first `used` rows as row `id`, which may be the one after its last.
fn with_row(table: &Tensor, used: usize, id: usize) -> candle_core::Result<Tensor> {
    let rows = table.dim(0)?;
    let mut parts = vec![table.narrow(0, 0, id)?, table.narrow(0, 0, used.max(1))?.mean_keepdim(0)?];
    if id + 1 < rows {
        parts.push(table.narrow(0, id + 1, rows - id - 1)?);
    }
    Tensor::cat(&parts, 0)?.contiguous()
}

/// The rows of a published student's table of words that belong to some tokens, read without the rest of the student.
pub fn word_vectors(
    folder: &std::path::Path,
    ids: impl IntoIterator<Item = u32>,
) -> Result<HashMap<u32, Vec<f32>>, StudentError> {
    rows_of(&weights::read_words(folder)?, ids)
}

/// The rows of a table (words, columns) that belong to some tokens.
pub fn rows_of(table: &Tensor, ids: impl IntoIterator<Item = u32>) -> Result<HashMap<u32, Vec<f32>>, StudentError> {
    let rows = table.dim(0)?;
    let own = ids.into_iter().filter(|id| (*id as usize) < rows);
    own.map(|id| Ok((id, table.get(id as usize)?.to_vec1()?))).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::student::{Architecture, Tokenizer};

    fn student(spare: usize) -> Student {
        let tokenizer = Tokenizer::words(["gills and scales".to_owned()].into_iter(), 50).unwrap();
        let architecture = Architecture::gpt2(tokenizer.size() + spare, 16, 8, 1, 2, 16);
        Student::fresh(architecture, tokenizer, 1, &Device::Cpu).unwrap()
    }

    fn words(student: &Student) -> Vec<Vec<f32>> {
        let table = student.parameters.iter().find(|(name, _)| name == "words").unwrap();
        table.1.to_vec2().unwrap()
    }

    #[test]
    fn a_pause_token_gets_a_row_of_its_own_and_survives_the_disk() {
        for spare in [0, 3] {
            let before = student(spare);
            let (rows, size) = (words(&before), before.tokenizer.size());
            let after = before.with_pause().unwrap();
            let own = words(&after);
            assert_eq!(own.len(), if spare == 0 { rows.len() + 1 } else { rows.len() });
            let mean: f32 = rows[..size].iter().map(|row| row[2]).sum::<f32>() / size as f32;
            assert!((own[size][2] - mean).abs() < 1e-6);
            for (place, row) in rows.iter().enumerate().filter(|(place, _)| *place != size) {
                assert_eq!(&own[place], row);
            }
            let dir = tempfile::tempdir().unwrap();
            after.save(dir.path()).unwrap();
            let again = Student::load(dir.path(), &Device::Cpu).unwrap();
            assert_eq!(again.tokenizer.id_of(PAUSE_TOKEN), Some(size as u32));
            assert_eq!(words(&again), own);
            let asked = word_vectors(dir.path(), [0, size as u32, 9999]).unwrap();
            assert_eq!((asked.len(), &asked[&(size as u32)]), (2, &own[size]));
            assert_eq!(words(&again.with_pause().unwrap()), own, "the second time changes nothing");
        }
    }
}
