//! A screen with everything that is hard to write down: wide characters, marks, markup, and cells that would do something.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::*;
use crate::workbench::theme::Colours;

fn hard() -> Buffer {
    let mut screen = Buffer::empty(Rect::new(0, 0, 30, 5));
    screen.set_string(0, 0, "日本 <b>&amp;</b> \"it's\"", Style::new());
    screen.set_string(0, 1, "</pre></script>]]>", Style::new().fg(Color::Rgb(1, 2, 3)).add_modifier(Modifier::BOLD));
    screen.set_string(20, 1, "e\u{301}▆│⡇", Style::new().bg(Color::Indexed(196)).add_modifier(Modifier::DIM));
    screen.set_string(0, 2, "reversed", Style::new().fg(Color::LightGreen).add_modifier(Modifier::REVERSED));
    screen.set_string(10, 2, "語", Style::new().add_modifier(Modifier::UNDERLINED | Modifier::ITALIC));
    // No pane writes such cells; a dump relies on none.
    for (x, symbol) in ["\u{1b}", "\u{9b}", "\u{202e}", "\u{7}", "\n"].into_iter().enumerate() {
        screen[(x as u16, 3)].set_symbol(symbol);
    }
    screen.set_string(6, 3, "[31mno escape", Style::new());
    screen
}

fn written(format: Format) -> String {
    let theme = Theme::load(std::path::Path::new("."), "dark", Colours::True).unwrap();
    write(&hard(), format, &theme)
}

#[test]
fn a_screen_as_text() {
    insta::assert_snapshot!(written(Format::Text));
}

#[test]
fn a_screen_with_colours() {
    insta::assert_snapshot!(written(Format::Ansi).replace('\u{1b}', "␛"));
}

#[test]
fn a_screen_as_a_figure() {
    insta::assert_snapshot!(written(Format::Svg));
}

#[test]
fn a_screen_as_a_page() {
    insta::assert_snapshot!(written(Format::Html));
}

#[test]
fn what_a_terminal_shows_of_the_coloured_text_is_the_screen() {
    let text = written(Format::Ansi);
    let size = |n: u16| std::num::NonZero::new(n).unwrap();
    let mut terminal = vt100::Parser::new(size(5), size(30), 0);
    terminal.process(text.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());
    let shown: Vec<String> = terminal.screen().rows(0, 30).map(|line| line.trim_end().to_owned()).collect();
    // This terminal leaves out what stands for an unsafe character.
    let expected: Vec<String> = lines(&hard()).iter().map(|line| line.replace('\u{fffd}', "")).collect();
    assert_eq!(shown, expected);
    assert_eq!(terminal.screen().cell(0, 0).unwrap().contents(), "日");
    let bold = terminal.screen().cell(1, 0).unwrap();
    assert!(bold.bold() && bold.fgcolor() == vt100::Color::Rgb(1, 2, 3));
    assert_eq!(terminal.screen().cell(1, 20).unwrap().bgcolor(), vt100::Color::Idx(196));
}

#[test]
fn nothing_in_a_cell_does_anything() {
    for format in Format::ALL {
        let text = written(format);
        let own = text.replace("\u{1b}[", "");
        let bad = crate::text::first_unsafe(&own, true);
        assert_eq!(bad, None, "{format:?}");
        if matches!(format, Format::Svg | Format::Html) {
            assert!(!text.contains("</script") && !text.contains("]]>") && !text.contains("<b>"), "{format:?}");
            assert_eq!(text.matches("</pre>").count(), usize::from(format == Format::Html));
        }
    }
    let ansi = written(Format::Ansi);
    let sequences = ansi.split('\u{1b}').skip(1);
    for sequence in sequences {
        let codes = sequence.strip_prefix('[').and_then(|rest| rest.split_once('m')).map(|(codes, _)| codes).unwrap();
        assert!(codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "{codes}");
    }
}
