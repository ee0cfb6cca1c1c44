//! The demo: a script of captions and of what is shown to each, as data (`script.yaml`).
//!
//! What it does it does through the commands that keys do, by their names, so that it can't drift from them. Time comes to it
//! in messages, so that a recording of a demo is one too.

use serde::{Deserialize, Serialize};

use super::command::{ALL, Command};
use super::widgets::flow::wrap_text;

const SCRIPT: &str = include_str!("script.yaml");

/// Characters that people read in a second, and the least time for a caption, in milliseconds.
const READ: f64 = 15.0;
const LEAST: f64 = 3000.0;

/// What is shown, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    pub steps: Vec<Step>,
    /// How many times quicker than people read.
    pub speed: f64,
    /// Whether it stops for questions at the end of each part.
    pub pauses: bool,
}

/// A caption and what is done under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub caption: String,
    /// In this order, before the caption is read.
    #[serde(default)]
    pub does: Vec<Action>,
    /// What must be there before it goes on.
    #[serde(default)]
    pub until: Option<Until>,
    /// A part ends here: time for questions.
    #[serde(default)]
    pub stop: bool,
}

/// Something that a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Action {
    /// A command by the name that it has in the palette.
    Command(String),
    /// The item of the open menu whose label begins like this.
    Choose { choose: String },
    /// Starts the tour, unless its runs are there already.
    Start { start: Runs },
    /// The cursor of the board on the row of a condition.
    Row { row: String },
    /// The cursor of the attribution pane on a word.
    Word { word: Which },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    Tour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The one of the highest score.
    Strongest,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The question is rendered under the recipe.
    Rendered,
    /// A run has a curve.
    Curve,
    /// All runs of the tour are finished, and the board has all of their rows.
    Finished,
    /// The questions on which two rows disagree are found.
    Questions,
    /// The words are scored.
    Attributed,
    /// The changed question is answered.
    Answered,
}

impl Script {
    /// The script of the program.
    pub fn built_in(speed: f64, pauses: bool) -> Self {
        // A test reads it; the program never carries one that can't be read.
        Self { steps: serde_yaml::from_str(SCRIPT).unwrap_or_default(), speed, pauses }
    }
}

impl Action {
    /// The command that is meant, where it is one.
    pub fn command(&self) -> Option<Command> {
        let Self::Command(name) = self else { return None };
        ALL.iter().find(|about| about.name == name).map(|about| about.command)
    }
}

/// A demo under way.
#[derive(Clone, Debug)]
pub struct Demo {
    pub script: Script,
    /// The step that was done last.
    pub at: usize,
    /// The step whose caption is shown: that one, or one before it.
    pub shown: usize,
    /// Milliseconds that it has been there.
    pub spent: f64,
    pub is_stopped: bool,
}

impl Demo {
    pub fn new(script: Script) -> Self {
        Self { script, at: 0, shown: 0, spent: 0.0, is_stopped: false }
    }

    pub fn step(&self) -> Option<&Step> {
        self.script.steps.get(self.at)
    }

    /// The caption that is shown.
    pub fn caption(&self) -> &str {
        self.script.steps.get(self.shown).map_or("", |step| step.caption.as_str())
    }

    /// Whether there was time enough to read the caption of the present step.
    pub fn is_read(&self) -> bool {
        let characters = self.step().map_or(0, |step| step.caption.chars().count());
        let needed = (characters as f64 / READ * 1000.0).max(LEAST);
        self.spent * self.script.speed >= needed
    }

    /// Rows of the caption's box: enough for the longest one, so that nothing moves from one to the next.
    pub fn height(&self, columns: u16) -> u16 {
        let lines =
            |step: &Step| wrap_text(&step.caption, ratatui::style::Style::new(), columns.saturating_sub(4)).len();
        self.script.steps.iter().map(lines).max().unwrap_or(0) as u16 + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_read_and_every_command_in_it_is_there() {
        let steps: Vec<Step> = serde_yaml::from_str(SCRIPT).unwrap();
        assert!(steps.len() >= 10);
        for step in &steps {
            for action in &step.does {
                let is_known = !matches!(action, Action::Command(_)) || action.command().is_some();
                assert!(is_known, "{action:?} under {:?}", step.caption);
            }
        }
        assert!(steps.last().unwrap().stop);
    }

    #[test]
    fn captions_fit_the_smallest_usual_terminal() {
        let demo = Demo::new(Script::built_in(1.0, true));
        assert!(demo.height(80) <= 5, "{}", demo.height(80));
        assert!(demo.height(120) <= 4 && demo.height(200) <= 4);
    }

    #[test]
    fn a_caption_stays_as_long_as_it_takes_to_read() {
        let step = |caption: &str| Step { caption: caption.into(), does: vec![], until: None, stop: false };
        let script = Script { steps: vec![step(&"x".repeat(150)), step("short")], speed: 2.0, pauses: true };
        let mut demo = Demo::new(script);
        demo.spent = 4900.0;
        assert!(!demo.is_read());
        demo.spent = 5000.0;
        assert!(demo.is_read());
        (demo.at, demo.spent) = (1, 1400.0);
        assert!(!demo.is_read());
        demo.spent = 1500.0;
        assert!(demo.is_read());
    }
}
