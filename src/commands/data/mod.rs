//! `afterthought data …`: the corpus from the command line.

mod diff;
mod duplicates;
mod edit;
mod export;
mod generate;
mod import;
mod list;
mod replace;
mod show;
mod stats;
mod validate;

use std::str::FromStr;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use unicode_width::UnicodeWidthStr;

use super::Context;

pub const EXAMPLES: &str = "\
Examples:
  afterthought data list
  afterthought data show toyworld --id tr-0007
  afterthought data import --format commonsenseqa --as csqa --split train=train_rand_split.jsonl";

#[derive(Subcommand)]
pub enum DataCommand {
    /// The data sets of this project, with their splits and rationale sources
    #[command(after_help = list::EXAMPLES)]
    List,
    /// Examples of a data set, as a table or one in full
    Show(show::Arguments),
    /// What is wrong with a data set
    Validate(validate::Arguments),
    /// Counts, lengths and rationale sources of a data set
    Stats(stats::Arguments),
    /// Questions that stand twice, within a split and across splits
    Duplicates(duplicates::Arguments),
    /// Make a data set of published files, or add to one
    Import(import::Arguments),
    /// Write a split, with its edits, to one file
    Export(export::Arguments),
    /// Make a data set out of nothing
    #[command(subcommand, after_help = generate::EXAMPLES)]
    Generate(generate::GenerateCommand),
    /// Change the rationale of one example; nothing published is overwritten
    Edit(edit::Arguments),
    /// What was changed, word by word
    Diff(diff::Arguments),
    /// Search and replace over a split; nothing published is overwritten
    Replace(replace::Arguments),
}

pub fn run(command: DataCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        DataCommand::List => list::run(context),
        DataCommand::Show(arguments) => show::run(arguments, context),
        DataCommand::Validate(arguments) => validate::run(arguments, context),
        DataCommand::Stats(arguments) => stats::run(arguments, context),
        DataCommand::Duplicates(arguments) => duplicates::run(arguments, context),
        DataCommand::Import(arguments) => import::run(arguments, context),
        DataCommand::Export(arguments) => export::run(arguments, context),
        DataCommand::Generate(command) => generate::run(command, context),
        DataCommand::Edit(arguments) => edit::run(arguments, context),
        DataCommand::Diff(arguments) => diff::run(arguments, context),
        DataCommand::Replace(arguments) => replace::run(arguments, context),
    }
}

/// A flag's value that is one of several names; a wrong one is told which is meant.
fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// Rows of cells as lines whose columns stand below each other. Cells must be safe to show.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    // The last cell of a row pushes nothing aside, however long it is.
    let pushing =
        |column: usize| rows.iter().filter(move |row| column + 1 < row.len()).map(move |row| row[column].width());
    let widths: Vec<usize> = (0..columns).map(|column| pushing(column).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat((width + 2).saturating_sub(cell.width())));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A whole number with a comma at every thousand.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in whole per cent; nothing of nothing is nothing.
fn percent(part: usize, whole: usize) -> String {
    format!("{:.0} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["日本", "b", ""], ["c", "long", "x"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "日本  b\nc     long  x\n");
        let long = vec![
            vec!["1".to_owned(), "a message as long as it likes".into()],
            ["2", "b", "c"].map(str::to_owned).to_vec(),
        ];
        assert_eq!(table(&long), "1  a message as long as it likes\n2  b  c\n");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((percent(1, 3), percent(0, 0)), ("33 %".into(), "0 %".into()));
    }
}
