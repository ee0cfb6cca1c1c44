//! How the screen is shown: what the user forces, and the list to choose from.

use crate::workbench::display::{Forced, Glyphs, Notify};
use crate::workbench::state::{Chosen, Menu, MenuItem, NOW, Overlay, State};
use crate::workbench::terminal::line::Place;
use crate::workbench::theme::Colours;

/// Frame rates to choose from.
const RATES: [u16; 5] = [2, 5, 10, 30, 60];

/// Opens the list of what can be forced.
pub fn choose(state: &mut State) {
    let forced = state.display.forced;
    let mut items = Vec::new();
    let mut add = |label: String, note: String, changed: Forced, holds: bool| {
        let note = if holds { NOW.to_owned() } else { note };
        items.push(MenuItem { label, note, then: Chosen::Display(changed) });
    };
    let display = &state.display;
    let is_auto = forced.colours.is_none();
    add(
        format!("colours: as found ({})", display.colours.short()),
        String::new(),
        Forced { colours: None, ..forced },
        is_auto,
    );
    for colours in Colours::ALL {
        let changed = Forced { colours: Some(colours), ..forced };
        add(format!("colours: {}", colours.short()), String::new(), changed, forced.colours == Some(colours));
    }
    let is_auto = forced.glyphs.is_none();
    add(
        format!("signs: as found ({})", display.glyphs.name()),
        String::new(),
        Forced { glyphs: None, ..forced },
        is_auto,
    );
    for glyphs in Glyphs::ALL {
        let note = match glyphs {
            Glyphs::Braille => "eight dots to a cell",
            Glyphs::Blocks => "for fonts without Braille",
            Glyphs::Ascii => "nothing else at all",
        };
        let changed = Forced { glyphs: Some(glyphs), ..forced };
        add(format!("signs: {}", glyphs.name()), note.into(), changed, forced.glyphs == Some(glyphs));
    }
    let is_auto = forced.line.is_none();
    add(format!("line: as found ({})", display.place.name()), String::new(), Forced { line: None, ..forced }, is_auto);
    for (place, note) in
        [(Place::Local, "all at once"), (Place::Remote, "at most 4 kB a second of what changes by itself")]
    {
        let changed = Forced { line: Some(place), ..forced };
        add(format!("line: {}", place.name()), note.into(), changed, forced.line == Some(place));
    }
    let is_auto = forced.frame_rate.is_none();
    add("frame rate: as the line allows".into(), String::new(), Forced { frame_rate: None, ..forced }, is_auto);
    for rate in RATES {
        let changed = Forced { frame_rate: Some(rate), ..forced };
        add(format!("frame rate: {rate} a second"), String::new(), changed, forced.frame_rate == Some(rate));
    }
    for (mouse, label) in [(true, "mouse: on"), (false, "mouse: left to the terminal")] {
        let changed = Forced { mouse: Some(mouse), ..forced };
        add(label.into(), String::new(), changed, display.mouse() == mouse);
    }
    for notify in Notify::ALL {
        let note = match notify {
            Notify::Off => "",
            Notify::Bell => "when a run has ended",
            Notify::Desktop => "when a run has ended, through the terminal (OSC 9)",
        };
        let changed = Forced { notify: Some(notify), ..forced };
        add(format!("notifications: {}", notify.name()), note.into(), changed, display.notify() == notify);
    }
    state.overlay = Some(Overlay::Menu(Menu { title: "display".into(), items, cursor: 0 }));
}
