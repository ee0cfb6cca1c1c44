//! Screens that are kept as files.

use std::path::PathBuf;

use super::Services;
use crate::files::{self, FileError};

impl Services {
    /// Writes a screen into the project's `screens/`, under the present time. Gives its path, relative to the project.
    pub(super) fn save_screen(&self, extension: &str, text: &str) -> Result<PathBuf, FileError> {
        let folder = PathBuf::from("screens");
        files::create_dir(&self.project.join(&folder))?;
        let time = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        let name = |number: usize| match number {
            1 => folder.join(format!("screen-{time}.{extension}")),
            _ => folder.join(format!("screen-{time}-{number}.{extension}")),
        };
        let path = (1..).map(name).find(|path| !self.project.join(path).exists()).unwrap_or_else(|| name(1));
        files::replace(&self.project.join(&path), |out| out.write_all(text.as_bytes()))?;
        Ok(path)
    }
}
