//! What a chart looks like, as text.

use super::*;
use crate::curve::Points;

fn series(points: Vec<(f64, f64)>) -> Series<'static> {
    let range = Some(Style::default());
    Series { points: Box::new(Points(points)), style: Style::default(), stroke: Stroke::Solid, mark: None, range }
}

fn chart(series: Vec<Series>) -> Chart {
    Chart {
        series,
        window: (0.0, 1000.0),
        unit: Unit::Count("steps"),
        log_scale: false,
        from_zero: true,
        axis: Style::default(),
        signs: vec![],
        cursor: None,
        glyphs: Glyphs::Braille,
    }
}

fn lines(chart: &Chart) -> Vec<String> {
    let area = Rect::new(0, 0, 46, 10);
    let mut buffer = Buffer::empty(area);
    chart.render(area, &mut buffer);
    let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..area.height).map(line).collect()
}

fn render(points: Vec<(f64, f64)>, log_scale: bool) -> Vec<String> {
    lines(&Chart { log_scale, ..chart(vec![series(points)]) })
}

fn dots(line: &str) -> usize {
    line.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count()
}

#[test]
fn a_falling_curve_goes_from_top_left_to_bottom_right() {
    let lines = render((0..1000).map(|x| (f64::from(x), 4.0 - f64::from(x) * 0.004)).collect(), false);
    assert!(lines[0].starts_with("    4┤"), "{}", lines[0]);
    assert!(lines[9].contains("0") && lines[9].ends_with("1000 steps"), "{}", lines[9]);
    assert!(lines[8].starts_with("     └┬"), "{}", lines[8]);
    let first = |line: &str| line.chars().position(|c| c > '\u{2800}' && c <= '\u{28ff}').unwrap();
    assert!(first(&lines[0]) < first(&lines[4]) && first(&lines[4]) < first(&lines[7]));
}

#[test]
fn one_spike_among_a_hundred_thousand_points_is_seen() {
    for glyphs in [Glyphs::Braille, Glyphs::Blocks, Glyphs::Ascii] {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x) / 100.0, 1.0)).collect();
        points[50_003].1 = 9.0;
        let lines = lines(&Chart { glyphs, ..chart(vec![series(points)]) });
        let drawn = |line: &str| line.chars().skip(6).filter(|c| *c != ' ').count();
        assert!(drawn(&lines[0]) >= 1, "the spike reaches the top: {lines:?}");
        assert!(drawn(&lines[7]) + drawn(&lines[6]) >= 38, "the curve runs along the bottom: {lines:?}");
        if glyphs == Glyphs::Ascii {
            assert!(lines.iter().all(|line| line.is_ascii()), "{lines:?}");
        }
    }
}

#[test]
fn numbers_that_are_none_and_empty_charts_are_no_trouble() {
    assert!(render(vec![], false).iter().all(|line| dots(line) == 0));
    let lines = render(vec![(0.0, f64::NAN), (1.0, 2.0), (2.0, f64::INFINITY)], true);
    assert_eq!(lines.iter().map(|line| dots(line)).sum::<usize>(), 1);
    // A learning rate is 0 before the first step.
    let lines = render(vec![(0.0, 0.0), (500.0, 1e-3), (1000.0, 1e-1)], true);
    assert!(lines[0].starts_with("  0.1┤"), "{lines:?}");
}

#[test]
fn lines_differ_without_colour() {
    let flat = |stroke| {
        let points = vec![(0.0, 1.0), (1000.0, 1.0)];
        lines(&chart(vec![Series { stroke, ..series(points) }])).join("\n")
    };
    let all: Vec<String> = (0..4).map(|number| flat(Stroke::nth(number))).collect();
    for (number, one) in all.iter().enumerate() {
        assert!(all[..number].iter().all(|other| other != one), "{one}");
    }
}

#[test]
fn a_line_is_seen_within_its_range() {
    // Every column holds 0 and 2, so that its range is the whole height.
    let points = (0..20_000).map(|x| (f64::from(x) / 20.0, f64::from(x % 2 * 2))).collect();
    let text = lines(&chart(vec![series(points)]));
    assert!(text[..2].iter().chain(&text[6..8]).all(|line| line.contains('⣿')), "{text:?}");
    assert!((3..5).any(|row| !text[row].contains('⣿')), "{text:?}");
}

#[test]
fn signs_and_the_cursor_stand_where_they_belong() {
    let at = |x: f64| 6 + ((x / 1000.0 * 79.0).round() / 2.0).floor() as usize;
    let chart = Chart {
        signs: vec![
            (250.0, Sign::Resume, Style::default()),
            (250.0, Sign::Checkpoint, Style::default()),
            (700.0, Sign::Fork, Style::default()),
            (2000.0, Sign::Skipped, Style::default()),
        ],
        cursor: Some((500.0, Style::default())),
        ..chart(vec![series(vec![(0.0, 1.0), (1000.0, 0.5)])])
    };
    let text = lines(&chart);
    let sign = |x: f64| text[8].chars().nth(at(x)).unwrap();
    assert_eq!([250.0, 700.0, 500.0].map(sign), ['↻', 'Y', '▲']);
    assert!(!text[8].contains('×'), "what lies outside of the window is not shown");
    assert_eq!(text[5].chars().nth(at(500.0)), Some('┊'));
}

#[test]
fn a_window_shows_a_part_of_the_curve() {
    let points: Vec<(f64, f64)> = (0..1000).map(|x| (f64::from(x), f64::from(x))).collect();
    let text = lines(&Chart { window: (400.0, 500.0), from_zero: false, ..chart(vec![series(points)]) });
    assert!(text[0].starts_with("  500┤") && text[7].starts_with("  400┤"), "{text:?}");
    assert!(text[9].contains("400") && text[9].ends_with("500 steps"), "{text:?}");
}
