//! Writing the screen to a file: as what, and whether a new folder may be made for it.

use crate::workbench::dump::{self, Format};
use crate::workbench::message::Effect;
use crate::workbench::state::{Chosen, Confirmed, Menu, MenuItem, Overlay, State};

/// Asks what the screen is to be written as.
pub fn choose_format(state: &mut State) {
    let item = |format: Format| MenuItem {
        label: format.extension().into(),
        note: format.about().into(),
        then: Chosen::Dump(format),
    };
    state.overlay = Some(Overlay::Menu(Menu::new("write the screen as", Format::ALL.map(item).into())));
}

/// Asks before the first file is written.
pub fn chosen(state: &mut State, format: Format) -> Vec<Effect> {
    if state.is_project {
        return write(state, format);
    }
    let question = "write the screen? (this makes screens/ in this folder)".into();
    state.overlay = Some(Overlay::Confirm { question, then: Confirmed::Dump(format) });
    vec![]
}

/// The screen as it is without the menu, which was closed.
pub fn write(state: &State, format: Format) -> Vec<Effect> {
    let text = dump::write(&dump::screen(state), format, &state.theme);
    vec![Effect::SaveScreen { extension: format.extension(), text }]
}
