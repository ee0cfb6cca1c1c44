//! Where an axis has its ticks, and what they say: 1, 2 or 5 times a power of ten; on a logarithmic scale the decades; for
//! time, what clocks divide it into.

/// A tick: where it stands, on the axis as it is drawn, and what it says in at most five columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub label: String,
}

/// Seconds that a clock's ticks are apart.
const CLOCK: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 10_800.0, 21_600.0];

/// The smallest 1, 2 or 5 times a power of ten that is not below a number.
pub fn nice(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    // A hair below is the number itself, as it was computed.
    steps.into_iter().find(|step| *step >= least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Multiples of a step within a range.
fn multiples(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(move |number| number as f64 * step)
}

/// About `most` ticks on a linear axis of numbers, one more at most, in labels of at most `width` columns where that can be; whole numbers
/// where only those mean something.
pub fn linear(low: f64, high: f64, most: usize, width: usize, is_whole: bool) -> Vec<Tick> {
    let mut step = nice((high - low) / (most + 1) as f64);
    if is_whole {
        step = step.max(1.0);
    }
    // Both ends of the range may have one.
    let step = if multiples(low, high, step).count() > most + 1 { nice(step * 1.01) } else { step };
    multiples(low, high, step).map(|at| Tick { at, label: number(at, step, width) }).collect()
}

/// Ticks on a logarithmic axis, whose ends are logarithms to base 10: at the decades, and between them at 2 and 5 where the
/// axis has few decades.
pub fn logarithmic(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let every = |parts: &[f64], apart: i64| -> Vec<Tick> {
        let decades = (low.floor() as i64..=high.ceil() as i64).filter(|decade| decade.rem_euclid(apart) == 0);
        let values =
            decades.flat_map(|decade| parts.iter().map(move |part| (part.log10() + decade as f64, *part, decade)));
        let within = values.filter(|(at, ..)| (low - 1e-9..=high + 1e-9).contains(at));
        within.map(|(at, part, decade)| Tick { at, label: scaled(part, decade) }).collect()
    };
    let fine = every(&[1.0, 2.0, 5.0], 1);
    if fine.len() <= most {
        let finest = every(&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], 1);
        return if fine.len() < 2 && finest.len() <= most { finest } else { fine };
    }
    let apart = ((high - low) / most.max(1) as f64).ceil().max(1.0) as i64;
    let decades = every(&[1.0], apart);
    if decades.is_empty() { fine.into_iter().take(1).collect() } else { decades }
}

/// Ticks on an axis of seconds.
pub fn clock(low: f64, high: f64, most: usize) -> Vec<Tick> {
    let least = (high - low) / most.max(1) as f64;
    if least < CLOCK[0] / 2.0 {
        return linear(low, high, most, 8, false);
    }
    let step = CLOCK.into_iter().find(|step| *step >= least).unwrap_or(86_400.0 * nice(least / 86_400.0));
    multiples(low, high, step).map(|at| Tick { at, label: time(at, step) }).collect()
}

/// `1:30` hours and minutes where ticks are a minute apart or more, else minutes and seconds; days where hours are many.
fn time(seconds: f64, step: f64) -> String {
    let all = seconds.round() as i64;
    match (all, step) {
        (0, _) => "0".into(),
        (_, 86_400.0..) => format!("{}d", all / 86_400),
        (_, 3600.0..) => format!("{}h", all / 3600),
        (_, 60.0..) if all < 3600 => format!("{}m", all / 60),
        (_, 60.0..) => format!("{}h{:02}", all / 3600, all / 60 % 60),
        _ if all < 60 => format!("{all}s"),
        _ => format!("{}:{:02}", all / 60, all % 60),
    }
}

/// A multiple of a step, with as many places as the step has and there is room for.
fn number(value: f64, step: f64, width: usize) -> String {
    let size = value.abs().max(step);
    let power = (step.log10() + 1e-9).floor() as i32;
    for (unit, from, sign) in [(1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e3, 1e4, "k")] {
        if size >= from {
            let wanted = (f64::log10(unit).round() as i32 - power).max(0) as usize;
            let text = |places: usize| format!("{:.places$}{sign}", value / unit);
            let fits = (0..=wanted).rev().find(|places| text(*places).len() <= width);
            return if value == 0.0 { "0".into() } else { text(fits.unwrap_or(0)) };
        }
    }
    match power {
        _ if value == 0.0 => "0".into(),
        0.. => format!("{value:.0}"),
        -3.. => format!("{value:.places$}", places = (-power) as usize),
        // A whole number of units of the step: `15e-5` has no room for a point.
        _ => format!("{:.0}e{power}", value / 10f64.powi(power)),
    }
}

/// A part of a decade.
fn scaled(part: f64, decade: i64) -> String {
    let value = part * 10f64.powi(decade as i32);
    let is_whole = part.fract() == 0.0;
    if (0..4).contains(&decade) && (is_whole || decade > 0) {
        format!("{value:.0}")
    } else if (-2..=0).contains(&decade) {
        format!("{value:.places$}", places = (-decade) as usize + usize::from(!is_whole))
    } else if is_whole {
        format!("{part}e{decade}")
    } else {
        format!("{:.0}e{}", part * 10.0, decade - 1)
    }
}

/// A value that is read off, in at most seven columns: four digits that count.
pub fn reading(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        _ if size >= 1e6 => format!("{value:.2e}"),
        _ if size >= 1e3 => format!("{value:.0}"),
        _ if size >= 1e2 => format!("{value:.1}"),
        _ if size >= 1e1 => format!("{value:.2}"),
        _ if size >= 1e-2 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&linear(0.0, 800.0, 5, 5, true)), ["0", "200", "400", "600", "800"]);
        assert_eq!(labels(&linear(0.0, 3.7, 4, 5, false)), ["0", "1", "2", "3"]);
        assert_eq!(labels(&linear(0.31, 0.47, 4, 5, false)), ["0.35", "0.40", "0.45"]);
        assert_eq!(labels(&linear(0.0, 3.1e-4, 4, 5, false)), ["0", "1e-4", "2e-4", "3e-4"]);
        assert_eq!(labels(&linear(0.0, 2.2e-4, 5, 5, false)), ["0", "5e-5", "10e-5", "15e-5", "20e-5"]);
        assert_eq!(labels(&linear(0.0, 10_000_000.0, 5, 5, true)), ["0", "2M", "4M", "6M", "8M", "10M"]);
        assert_eq!(labels(&linear(12_000.0, 13_000.0, 4, 5, true)), ["12.0k", "12.5k", "13.0k"]);
        assert_eq!(labels(&linear(3.0, 5.0, 9, 5, true)), ["3", "4", "5"]);
        assert_eq!(labels(&linear(5_000_003.0, 5_000_090.0, 2, 10, true)), ["5.00005M"]);
        assert_eq!(labels(&linear(12_341.0, 12_359.0, 2, 5, false)), ["12.3k"]);
        assert_eq!([0.7, 1.0, 1.1, 3.0, 0.02, 0.0].map(nice), [1.0, 1.0, 2.0, 5.0, 0.02, 1.0]);
    }

    #[test]
    fn a_logarithmic_axis_has_its_decades() {
        assert_eq!(labels(&logarithmic(-3.2, 1.3, 5)), ["1e-3", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&logarithmic(-0.4, 0.5, 5)), ["0.5", "1", "2"]);
        assert_eq!(labels(&logarithmic(-6.0, 2.0, 3)), ["1e-6", "1e-3", "1"]);
        // Within a part of a decade there is something to read too.
        assert_eq!(labels(&logarithmic(0.12, 0.27, 4)), ["1.5"]);
        assert_eq!(labels(&logarithmic(-3.88, -3.73, 4)), ["15e-5"]);
    }

    #[test]
    fn time_is_divided_as_clocks_do() {
        assert_eq!(labels(&clock(0.0, 100.0, 4)), ["0", "30s", "1:00", "1:30"]);
        assert_eq!(labels(&clock(0.0, 7200.0, 5)), ["0", "30m", "1h00", "1h30", "2h00"]);
        assert_eq!(labels(&clock(0.0, 400_000.0, 5)), ["0", "1d", "2d", "3d", "4d"]);
    }

    #[test]
    fn no_label_is_wider_than_its_place() {
        for exponent in -7..9 {
            for part in [1.0, 1.3, 2.7, 4.9, 9.9] {
                let high = part * 10f64.powi(exponent);
                for most in [2, 4, 9] {
                    for tick in linear(0.0, high, most, 5, false).iter().chain(&logarithmic(
                        high.log10() - 1.7,
                        high.log10(),
                        most,
                    )) {
                        assert!(tick.label.len() <= 5, "{} up to {high}", tick.label);
                    }
                }
                assert!(reading(high).len() <= 7);
            }
        }
    }
}
