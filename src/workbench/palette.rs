//! Finding a command by a few letters of its name.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::command::{ALL, About};

/// The commands that fit what was typed, best first; all of them when nothing was.
pub fn find(input: &str) -> Vec<&'static About> {
    let pattern = Pattern::parse(input.trim(), CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, &About)> = ALL
        .iter()
        .filter_map(|about| {
            // A hit in the name counts more than one in the explanation.
            let name = pattern.score(Utf32Str::new(about.name, &mut buffer), &mut matcher).map(|score| score * 2);
            let does = pattern.score(Utf32Str::new(about.does, &mut buffer), &mut matcher);
            Some((name.max(does)?, about))
        })
        .collect();
    // Stable, so that equals stay in the order of the table.
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().map(|(_, about)| about).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::command::Command;

    #[test]
    fn a_few_letters_find_a_command() {
        assert_eq!(find("").len(), ALL.len());
        assert_eq!(find("resh")[0].command, Command::Reshuffle);
        assert_eq!(find("tour")[0].command, Command::Tour);
        assert_eq!(find("thme")[0].command, Command::ChooseTheme);
        assert!(find("zzzz").is_empty());
    }
}
