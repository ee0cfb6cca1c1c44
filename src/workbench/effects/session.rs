//! What belongs to a user's workbench and not to the data: keymaps, and where the last one was.

use std::path::Path;

use super::{Send, Services, fail};
use crate::files::{self, FileError};
use crate::workbench::keymap::file;
use crate::workbench::message::Message;
use crate::workbench::session::{PATH, Session};

/// Keeps a session in its project.
pub fn save(project: &Path, session: &Session) -> Result<(), FileError> {
    let path = project.join(PATH);
    if let Some(folder) = path.parent() {
        files::create_dir(folder)?;
    }
    files::replace(&path, |out| serde_json::to_writer(out, session).map_err(Into::into))
}

impl Services {
    /// The keymaps there are, the user's before the project's.
    pub(super) fn keymaps(&self, send: Send) -> Vec<(String, String)> {
        let (found, problems) = file::read(&self.project);
        problems.into_iter().for_each(|problem| send(fail(problem)));
        found
    }

    /// What the last workbench of the project showed. A file that can't be read is no reason not to begin.
    pub(super) fn load_session(&self, send: Send) {
        let path = self.project.join(PATH);
        let read = match std::fs::read_to_string(&path) {
            Err(_) => Ok(None),
            Ok(text) => serde_json::from_str(&text).map(Some),
        };
        let (session, error) = match read {
            Ok(session) => (session, None),
            Err(error) => (None, Some(format!("{}: {error} · the workbench begins anew", path.display()))),
        };
        send(Message::Session(session));
        if let Some(error) = error {
            send(fail(error));
        }
    }
}
