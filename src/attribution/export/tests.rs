//! Every form over the same examples, one of them hostile.

use serde_json::Value;

use super::*;
use crate::attribution::ScoredToken;
use crate::attribution::units::sums;
use crate::rationale::Role;
use crate::rationale::recipe::Baseline;

const HOSTILE: &str = "<script>alert('1')</script>\"&\u{1b}]52;c;aGk=\u{7}\u{202e}\u{ffff}";

fn found(id: &str, tokens: &[(&str, Role, Option<f32>)]) -> ExampleAttribution {
    let token = |(text, role, score): &(&str, Role, Option<f32>)| ScoredToken {
        text: (*text).into(),
        role: *role,
        score: *score,
    };
    let tokens: Vec<ScoredToken> = tokens.iter().map(token).collect();
    ExampleAttribution {
        id: id.into(),
        method: "integrated gradients".into(),
        target: "diver".into(),
        steps: Some(20),
        baseline: Some(Baseline::Mean),
        convergence_delta: Some(3.0e-7),
        converged: Some(true),
        log_p: -0.1863,
        log_p_baseline: Some(-0.9912),
        caution: None,
        unit: None,
        layer: None,
        head: None,
        read: Some(tokens.len()),
        words: sums(&tokens, Unit::Word),
        sentences: sums(&tokens, Unit::Sentence),
        tokens,
    }
}

/// A question and its rationale, in tokens that are parts of words.
fn plain() -> ExampleAttribution {
    use Role::{Prompt, Rationale, Separator};
    found(
        "tr-0001",
        &[
            ("who", Prompt, None),
            (" would", Prompt, None),
            (" know", Prompt, None),
            (" a", Prompt, None),
            (" wug", Prompt, None),
            (" ?", Prompt, None),
            ("\nbecause:", Separator, None),
            (" well", Rationale, Some(0.01)),
            (" ,", Rationale, Some(-0.02)),
            (" gills", Rationale, Some(0.3125)),
            (" and", Rationale, Some(0.0)),
            (" sno", Rationale, Some(0.125)),
            ("rkel", Rationale, Some(0.0625)),
            ("s", Rationale, Some(0.03125)),
            (" ,", Rationale, Some(-0.05)),
            (" no", Rationale, Some(-0.125)),
            (" barn", Rationale, Some(-0.25)),
            (" .", Rationale, Some(0.0)),
            ("\nanswer:", Separator, None),
        ],
    )
}

/// Scripts of several directions and widths, parts of characters, white space with a score, and text that attacks.
fn extreme() -> ExampleAttribution {
    use Role::{Prompt, Rationale};
    let mut found = found(
        HOSTILE,
        &[
            (HOSTILE, Prompt, None),
            (" 日本", Rationale, Some(1.0)),
            ("語の長い文章です", Rationale, Some(-0.5)),
            (" של", Rationale, Some(0.25)),
            ("ום", Rationale, Some(-1.0)),
            (" עולם", Rationale, Some(0.75)),
            (" \u{fffd}", Rationale, Some(0.5)),
            ("", Rationale, Some(0.5)),
            ("\u{301}", Rationale, Some(0.2)),
            ("\n\n\n\n", Rationale, Some(-0.4)),
            (HOSTILE, Rationale, Some(-0.75)),
            ("\t", Rationale, None),
            ("👩‍🔬", Rationale, Some(1e-6)),
        ],
    );
    found.target = HOSTILE.into();
    found.caution = Some(HOSTILE.into());
    found.converged = Some(false);
    found
}

fn shown(student: &str, found: ExampleAttribution) -> Shown {
    Shown { student: student.into(), found }
}

fn both() -> Vec<Shown> {
    let mut other = plain();
    for token in other.tokens.iter_mut().filter_map(|token| token.score.as_mut()) {
        *token /= 2.0;
    }
    vec![shown("20261120-post step-800", plain()), shown("20261120-pre step-800", other)]
}

fn long() -> Vec<Shown> {
    let tokens: Vec<(&str, Role, Option<f32>)> =
        (0..4096).map(|place| (" gills", Role::Rationale, Some(place as f32 - 2048.0))).collect();
    vec![shown("toy", found("long", &tokens))]
}

#[test]
fn the_forms_of_an_example() {
    let one = [shown("20261120-post step-800", plain())];
    insta::assert_snapshot!("text", running(&one, Unit::Token, 60));
    insta::assert_snapshot!("html", page(&one, Unit::Token));
    insta::assert_snapshot!("svg", figure(&one, Unit::Token, 48));
    insta::assert_snapshot!("inseq", serde_json::to_string_pretty(&inseq(&one).unwrap()).unwrap());
}

#[test]
fn text_of_words_and_of_two_students_on_one_scale() {
    insta::assert_snapshot!("text_words", running(&[shown("toy", plain())], Unit::Word, 40));
    let text = running(&both(), Unit::Token, 60);
    // Half of the strongest score is not marked as the strongest is.
    assert!(text.contains("█gills") && text.contains("▅gills"), "{text}");
    assert_eq!(text.matches("to -0.3125").count(), 1, "{text}");
    let page = page(&both(), Unit::Token);
    assert_eq!((page.matches("<article>").count(), page.matches("<section>").count()), (2, 1));
}

#[test]
fn nothing_in_the_data_gets_out_of_its_place() {
    let all = [shown(HOSTILE, extreme())];
    insta::assert_snapshot!("extreme_text", running(&all, Unit::Token, 40));
    insta::assert_snapshot!("extreme_html", page(&all, Unit::Token));
    insta::assert_snapshot!("extreme_svg", figure(&all, Unit::Token, 40));
    for unit in [Unit::Token, Unit::Word, Unit::Sentence] {
        let forms = [running(&all, unit, 40), page(&all, unit), figure(&all, unit, 40)];
        for form in &forms {
            assert_eq!(crate::text::first_unsafe(form, true), None, "{form}");
        }
        for markup in &forms[1..] {
            assert!(markup.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
            assert!(!markup.contains("<script") && !markup.contains('\u{ffff}'));
            assert!(is_balanced(markup), "{markup}");
        }
    }
    let json = crate::text::escape_json(&inseq(&all).unwrap().to_string()).into_owned();
    assert_eq!(crate::text::first_unsafe(&json, false), None);
    let back: Value = serde_json::from_str(&json).unwrap();
    let own = &back["attributes"]["sequence_attributions"][0]["attributes"];
    assert_eq!(own["target"][0]["attributes"]["token"], HOSTILE, "JSON keeps what the student read");
    assert!(!json.contains("NaN"));
}

/// Whether each element that is opened is closed, in order.
fn is_balanced(markup: &str) -> bool {
    let mut open: Vec<&str> = Vec::new();
    for tag in markup.split('<').skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { return false };
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !tag.ends_with('/') && !["!doctype", "meta", "br"].contains(&name) {
            open.push(name);
        }
    }
    open.is_empty()
}

#[test]
fn no_examples_and_examples_without_tokens_are_no_trouble() {
    let empty = [shown("toy", found("empty", &[]))];
    let held = [shown("toy", found("held", &[(" gills", Role::Rationale, None)]))];
    for all in [&[][..], &empty, &held] {
        assert!(is_balanced(&page(all, Unit::Token)) && is_balanced(&figure(all, Unit::Token, 40)));
        assert!(!running(all, Unit::Token, 40).contains("NaN"));
        assert_eq!(
            inseq(all).unwrap()["attributes"]["sequence_attributions"].as_array().map(Vec::len),
            Some(all.len())
        );
    }
    assert!(page(&[], Unit::Token).contains("No example could be attributed"));
}

#[test]
fn four_thousand_tokens_fit_into_their_lines() {
    let text = running(&long(), Unit::Token, 72);
    assert!(text.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 72));
    assert_eq!(text.matches("gills").count(), 4096);
    assert_eq!(page(&long(), Unit::Token).matches("· rationale\">gills</span>").count(), 4096);
    assert_eq!(figure(&long(), Unit::Token, 48).matches(">gills</text>").count(), 4096);
}

#[test]
fn tokens_of_a_figure_lie_beside_each_other() {
    for all in [vec![shown("toy", extreme())], both()] {
        let figure = figure(&all, Unit::Token, 30);
        let number = |tag: &str, name: &str| -> f64 {
            tag.split_once(&format!(" {name}=\"")).unwrap().1.split('"').next().unwrap().parse().unwrap()
        };
        let mut drawn: Vec<(f64, f64, f64)> = figure
            .split("<text")
            .skip(1)
            .filter(|tag| tag.contains("font-size=\"14\""))
            .map(|tag| (number(tag, "y"), number(tag, "x"), number(tag, "textLength")))
            .collect();
        assert!(drawn.len() > 10);
        drawn.sort_by(|one, other| one.partial_cmp(other).unwrap());
        for pair in drawn.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            assert!(pair[0].1 + pair[0].2 <= pair[1].1 + 0.11, "{pair:?}");
        }
        let width = number(&figure, "width");
        assert!(drawn.iter().all(|(_, x, length)| x + length <= width));
    }
}

#[test]
fn what_stands_after_the_target_is_not_told_to_inseq() {
    let mut early = plain();
    early.read = Some(12);
    early.target = "rkel".into();
    let document = inseq(&[shown("toy", early)]).unwrap();
    let own = &document["attributes"]["sequence_attributions"][0]["attributes"];
    assert_eq!((own["attr_pos_start"].as_u64(), own["attr_pos_end"].as_u64()), (Some(12), Some(13)));
    assert_eq!(own["source"].as_array().map(Vec::len), Some(12));
    assert_eq!(own["target"][12]["attributes"]["token"], "rkel");
}
