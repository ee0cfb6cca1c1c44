//! What the workbench would find out about this terminal and the line to it. All of it is read off the environment: a
//! terminal that is asked may answer late or never.

use super::checks::Check;
use crate::workbench::display::{Display, Forced, Glyphs};
use crate::workbench::terminal::line::{Place, REMOTE_BYTES};
use crate::workbench::theme::Colours;

/// Terminals that are known to draw a frame at once when they are told to, by their names in `TERM_PROGRAM` or `TERM`.
const SYNCHRONIZED: [&str; 9] =
    ["kitty", "wezterm", "iterm", "ghostty", "alacritty", "foot", "contour", "rio", "mintty"];

/// What is looked up of the environment.
pub struct Environment<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub display: Display,
    /// Columns and rows, where there is a terminal.
    pub size: Option<(u16, u16)>,
    /// Whether standard output is a terminal.
    pub is_terminal: bool,
}

impl Environment<'_> {
    /// What the workbench would find here.
    pub fn display() -> Display {
        Display::of_environment(Forced::default())
    }

    fn get(&self, name: &str) -> String {
        (self.variable)(name).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    fn is_tmux(&self) -> bool {
        self.has("TMUX")
    }

    fn is_screen(&self) -> bool {
        self.has("STY")
    }
}

pub fn checks(of: &Environment) -> Vec<Check> {
    vec![kind(of), size(of), colours(of), locale(of), signs(of), line(of), mouse(of), clipboard(of), synchronized(of)]
}

fn kind(of: &Environment) -> Check {
    let term = of.get("TERM");
    let within = match (of.is_tmux(), of.is_screen()) {
        (true, _) => " in tmux",
        (_, true) => " in screen",
        _ => "",
    };
    match term.as_str() {
        "" => Check::warning("terminal", "TERM is not set", "export TERM=xterm-256color, if this is a terminal"),
        "dumb" => Check::warning("terminal", "TERM=dumb shows no workbench", "open afterthought in another terminal"),
        "screen" | "tmux" => {
            let fix = if of.is_tmux() {
                "put `set -g default-terminal tmux-256color` into ~/.tmux.conf and start tmux anew"
            } else {
                "put `term screen-256color` into ~/.screenrc and start screen anew"
            };
            Check::warning("terminal", format!("TERM={term}{within} has eight colours"), fix)
        }
        _ if of.is_tmux() && !term.starts_with("tmux") && !term.starts_with("screen") => Check::warning(
            "terminal",
            format!("TERM={term} within tmux, which understands other codes"),
            "take TERM out of your shell's start files; tmux sets it",
        ),
        _ if !of.is_terminal => Check::good("terminal", format!("TERM={term}{within}, output is no terminal here")),
        _ => Check::good("terminal", format!("TERM={term}{within}")),
    }
}

fn size(of: &Environment) -> Check {
    let smallest = crate::workbench::layout::SMALLEST;
    match of.size {
        None => Check::good("size", "unknown"),
        Some((columns, rows)) if columns < smallest.0 || rows < smallest.1 => Check::warning(
            "size",
            format!("{columns}x{rows}"),
            format!("make it {}x{} or larger", smallest.0, smallest.1),
        ),
        Some((columns, rows)) if columns < 100 || rows < 30 => {
            Check::good("size", format!("{columns}x{rows}, one pane at a time; all four from 100x30 on"))
        }
        Some((columns, rows)) => Check::good("size", format!("{columns}x{rows}")),
    }
}

fn colours(of: &Environment) -> Check {
    let (colours, color_term) = (of.display.colours(), of.get("COLORTERM"));
    let name = colours.name();
    match colours {
        Colours::None if of.has("NO_COLOR") => Check::good("colours", format!("{name}, as NO_COLOR wishes")),
        Colours::None => Check::good("colours", name),
        Colours::True => Check::good("colours", name),
        _ if !color_term.is_empty() => Check::warning(
            "colours",
            format!("{name}: COLORTERM={color_term} means nothing"),
            "export COLORTERM=truecolor, if the terminal has true colours",
        ),
        Colours::Palette if of.display.place() == Place::Remote => Check::good(
            "colours",
            format!(
                "{name}; SSH does not pass COLORTERM on: COLORTERM=truecolor afterthought has all, if the terminal has"
            ),
        ),
        Colours::Palette => {
            Check::good("colours", format!("{name}; with COLORTERM=truecolor all, if the terminal has them"))
        }
        _ => Check::warning(
            "colours",
            format!("{name} by TERM={}", of.get("TERM")),
            "export TERM=xterm-256color, if the terminal has 256 colours",
        ),
    }
}

fn locale(of: &Environment) -> Check {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(|name| of.has(name));
    let Some(name) = set else { return Check::good("locale", "none is set; UTF-8 is taken for granted") };
    let value = of.get(name);
    let upper = value.to_uppercase();
    if upper.contains("UTF-8") || upper.contains("UTF8") {
        return Check::good("locale", format!("{name}={value}"));
    }
    if value == "C" || value == "POSIX" {
        return Check::good("locale", format!("{name}={value}; UTF-8 is taken for granted"));
    }
    Check::warning("locale", format!("{name}={value} is not UTF-8"), format!("export {name}=C.UTF-8"))
}

fn signs(of: &Environment) -> Check {
    match of.display.glyphs() {
        Glyphs::Ascii => Check::warning(
            "signs",
            "ASCII alone, as the locale is not UTF-8",
            "set a UTF-8 locale, or --glyphs braille if the terminal shows them",
        ),
        Glyphs::Blocks => Check::good("signs", "block characters"),
        Glyphs::Braille => Check::good("signs", "Braille; --glyphs blocks where the font has none"),
    }
}

fn line(of: &Environment) -> Check {
    match of.display.place() {
        Place::Local => Check::good("line", "local"),
        Place::Remote => Check::good(
            "line",
            format!("over SSH: what changes by itself sends at most {:.0} kB/s", REMOTE_BYTES / 1024.0),
        ),
    }
}

fn mouse(of: &Environment) -> Check {
    match of.get("TERM").as_str() {
        "linux" => Check::good("mouse", "none on the console"),
        _ if of.is_tmux() => Check::good("mouse", "used; tmux passes it on with `set -g mouse on`"),
        _ => Check::good("mouse", "used; Shift selects text as usual"),
    }
}

fn clipboard(of: &Environment) -> Check {
    let way = "through the terminal (OSC 52)";
    if of.is_tmux() {
        return Check::warning(
            "clipboard",
            format!("{way}, which tmux keeps to itself as it comes"),
            "put `set -g set-clipboard on` into ~/.tmux.conf, if copying does nothing",
        );
    }
    if of.is_screen() {
        let fix = "use tmux, or copy with the mouse while Shift is held";
        return Check::warning("clipboard", "screen does not pass OSC 52 on", fix);
    }
    match (of.get("TERM").as_str(), of.get("TERM_PROGRAM").as_str()) {
        ("linux", _) => Check::good("clipboard", "none on the console"),
        (_, "Apple_Terminal") => Check::warning(
            "clipboard",
            "Apple's Terminal does not know OSC 52",
            "use another terminal, or copy with the mouse while Shift is held",
        ),
        _ if of.has("VTE_VERSION") => {
            Check::good("clipboard", format!("{way}; GNOME's terminals know it from VTE 0.76 on"))
        }
        _ => Check::good("clipboard", way),
    }
}

fn synchronized(of: &Environment) -> Check {
    let name = format!("{} {}", of.get("TERM_PROGRAM"), of.get("TERM")).to_lowercase();
    let known = SYNCHRONIZED.iter().any(|known| name.contains(known)) || of.has("WT_SESSION");
    let found = match (known, of.is_tmux()) {
        (_, true) => "asked for; tmux knows it from 3.4 on",
        (true, false) => "frames are shown whole",
        // Who does not know the codes passes over them.
        (false, false) => "asked for; whether this terminal knows it can't be seen from here",
    };
    Check::good("synchronized", found)
}

#[cfg(test)]
mod tests {
    use super::super::checks::Standing;
    use super::*;

    /// The checks in an environment of these variables.
    fn found(variables: &[(&str, &str)], display: Display) -> Vec<Check> {
        let variable =
            |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        checks(&Environment { variable: &variable, display, size: Some((120, 40)), is_terminal: true })
    }

    fn one(variables: &[(&str, &str)], display: Display, name: &str) -> Check {
        found(variables, display).into_iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn a_good_terminal_has_nothing_to_be_done() {
        let all =
            found(&[("TERM", "xterm-kitty"), ("COLORTERM", "truecolor"), ("LANG", "de_DE.UTF-8")], Display::default());
        assert!(all.iter().all(|check| check.state == Standing::Good && check.fix.is_none()), "{all:?}");
        let words = all.iter().find(|check| check.name == "synchronized").unwrap();
        assert_eq!(words.found, "frames are shown whole");
    }

    #[test]
    fn each_trouble_has_its_fix() {
        let few = Display { colours: Colours::Sixteen, glyphs: Glyphs::Ascii, ..Display::default() };
        for (variables, name, words, fix) in [
            (&[("TERM", "screen"), ("TMUX", "/x")][..], "terminal", "eight colours", "tmux-256color"),
            (&[("TERM", "screen"), ("STY", "1.x")], "terminal", "in screen", ".screenrc"),
            (&[("TERM", "xterm-256color"), ("TMUX", "/x")], "terminal", "within tmux", "tmux sets it"),
            (&[("TERM", "dumb")], "terminal", "no workbench", "another terminal"),
            (&[], "terminal", "not set", "xterm-256color"),
            (&[("TMUX", "/x")], "clipboard", "tmux", "set -g set-clipboard on"),
            (&[("STY", "1.x")], "clipboard", "does not pass", "Shift"),
            (&[("LANG", "de_DE.ISO-8859-1")], "locale", "not UTF-8", "export LANG=C.UTF-8"),
            // The first that is set decides.
            (&[("LC_ALL", "de_DE"), ("LANG", "de_DE.UTF-8")], "locale", "LC_ALL=de_DE", "export LC_ALL"),
            (&[("TERM", "xterm")], "colours", "TERM=xterm", "256color"),
            (&[("TERM", "xterm"), ("COLORTERM", "yes")], "colours", "means nothing", "truecolor"),
            (&[("TERM", "xterm")], "signs", "ASCII", "UTF-8"),
        ] {
            let check = one(variables, few, name);
            assert_eq!(check.state, Standing::Warning, "{check:?}");
            assert!(check.found.contains(words) && check.fix.as_ref().unwrap().contains(fix), "{check:?}");
        }
    }
}
