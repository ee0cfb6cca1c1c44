//! Horizontal bars of block characters, which have eight steps in a cell.

use unicode_width::UnicodeWidthStr;

use super::flow::fit;
use crate::corpus::histogram::{Histogram, Numbers};

/// A line of a histogram.
pub struct Bar {
    pub label: String,
    pub bar: String,
    /// The count with its share.
    pub count: String,
}

/// The bars of a histogram in a width, in at most so many lines: of numbers their bins, of texts the most frequent.
pub fn of(histogram: &Histogram, width: usize, lines: usize) -> Vec<Bar> {
    let mut counted: Vec<(String, usize)> = match &histogram.numbers {
        Some(numbers) => {
            let last = numbers.bins.len().saturating_sub(1);
            let label = |(place, bin): (usize, &crate::corpus::histogram::Bin)| {
                let end = match place == last && numbers.most >= bin.to {
                    true => numbers.most,
                    false if numbers.is_whole => bin.to - 1.0,
                    false => bin.to,
                };
                let range = format!("{}–{}", short(bin.from), short(end));
                (if end == bin.from { short(end) } else { range }, bin.count)
            };
            numbers.bins.iter().enumerate().map(label).collect()
        }
        None => histogram.values.clone(),
    };
    let left = counted.len().saturating_sub(lines);
    if left > 0 && lines > 0 {
        let rest = counted.split_off(lines - 1);
        let sum = rest.iter().map(|(_, count)| count).sum::<usize>() + histogram.others;
        counted.push((format!("… {} more", rest.len()), sum));
    }
    let most = counted.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let name = counted.iter().map(|(label, _)| label.width()).max().unwrap_or(0).min(width / 3);
    let share = |count: usize| format!("{count} ({:.0} %)", 100.0 * count as f64 / histogram.rows.max(1) as f64);
    let numbers = counted.iter().map(|(_, count)| share(*count).width()).max().unwrap_or(0);
    let room = width.saturating_sub(name + numbers + 2);
    let bar = |(label, count): (String, usize)| {
        let eighths = (count * room * 8).div_ceil(most);
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
        Bar { label: fit(&label, name), bar: format!("{}{part}", "█".repeat(eighths / 8)), count: share(count) }
    };
    counted.into_iter().map(bar).collect()
}

/// `mean 31.2 · least 12 · 5 % 20 · …`
pub fn summary(numbers: &Numbers) -> String {
    let Numbers { mean, least, p5, p25, median, p75, p95, most, .. } = numbers;
    let [mean, least, p5, p25, median, p75, p95, most] =
        [mean, least, p5, p25, median, p75, p95, most].map(|n| short(*n));
    format!("mean {mean} · {least} to {most} · quantiles 5 % {p5}, 25 % {p25}, 50 % {median}, 75 % {p75}, 95 % {p95}")
}

/// A number with no more digits than say something.
pub fn short(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e12 {
        return format!("{number}");
    }
    let digits = (3 - number.abs().log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::filter::Value;
    use crate::corpus::histogram::Tally;

    #[test]
    fn bars_fit_and_what_is_left_out_is_counted() {
        let mut tally = Tally::default();
        for (text, count) in [("a", 50), ("b", 30), ("c", 15), ("d", 5)] {
            (0..count).for_each(|_| tally.add(&Value::Text(text.into())));
        }
        let bars = of(&tally.finish("answer".into(), 5), 40, 3);
        let lines: Vec<String> = bars.iter().map(|bar| format!("{} {} {}", bar.label, bar.bar, bar.count)).collect();
        assert!(lines.iter().all(|line| line.width() <= 40), "{lines:?}");
        assert!(lines[0].ends_with("50 (50 %)") && lines[2].starts_with("… 2 more") && lines[2].ends_with("20 (20 %)"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 3.0, 31.25, 0.001234, -2.5, 1234.5].map(short),
            ["0", "3", "31.25", "0.001234", "-2.5", "1234"]
        );
    }
}
