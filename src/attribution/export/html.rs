//! One page that needs nothing else: no script, no font, no request. Light and dark as the reader's system is.
//!
//! Colours are those of Okabe and Ito, which every kind of colour vision tells apart: blue for the target, orange against it. The
//! line below a token repeats them, whole for and dashed against, thicker where the score is stronger.

use std::fmt::Write as _;

use super::cells::{Cell, Gap, Score, cells};
use super::{Shown, WEAK, examples, heading, largest, signed};
use crate::attribution::ScoredToken;
use crate::rationale::Role;
use crate::rationale::recipe::Unit;
use crate::text;

/// Units that are named beside the text.
const NAMED: usize = 5;

/// Letters of such a unit.
const NAME: usize = 40;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--dim:#5c5c5c;--held:#767676;--line:#dcdcdc;\
--for:86 180 233;--against:230 159 0;--for-line:#00659e;--against-line:#a04400}\
@media(prefers-color-scheme:dark){:root{--ink:#ececec;--paper:#16181a;--dim:#a2a2a2;--held:#8d8d8d;--line:#3c4043;\
--for:0 104 165;--against:164 78 0;--for-line:#7cc8f5;--against-line:#ffb84d}}\
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.05rem;margin:0}h3{font-size:1rem;margin:0}\
p{margin:.25rem 0}.dim{color:var(--dim)}.about{font-size:.875rem;overflow-wrap:anywhere}.n{font-variant-numeric:tabular-nums}\
section{border-top:1px solid var(--line);padding:1.25rem 0;break-inside:avoid-page}\
.both{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:1.5rem}article{min-width:0}\
.text{font-size:1.0625rem;line-height:2.05;margin:.75rem 0;overflow-wrap:anywhere;color:var(--held)}\
.text span,.key span{color:var(--ink);border-radius:3px;print-color-adjust:exact;-webkit-print-color-adjust:exact}\
.text .f,.text .a{padding:.16em .1em}\
.f{background:rgb(var(--for)/var(--s));border-bottom:var(--w) solid var(--for-line)}\
.a{background:rgb(var(--against)/var(--s));border-bottom:var(--w) dashed var(--against-line)}\
.key{display:flex;flex-wrap:wrap;align-items:center;gap:.2rem;font-size:.8125rem;color:var(--dim)}\
.key span{display:inline-block;box-sizing:border-box;width:1.7rem;height:.9rem}.key b{font-weight:400;margin:0 .35rem}.key b:first-child{margin-left:0}\
.most{font-size:.875rem}.most span{display:inline-block;margin-right:1.1rem}.most b{font-weight:400;color:var(--dim)}\
bdi{unicode-bidi:isolate}";

/// The page of examples, with the scores of tokens, words or sentences.
pub fn page(shown: &[Shown], unit: Unit) -> String {
    let mut out = String::new();
    out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Whatever a data set may contain, nothing is fetched and nothing runs.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    put(&mut out, format_args!("<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", title(shown)));
    out.push_str("<h1>What the target rests on</h1>\n<p class=\"dim\">Blue over a whole line speaks for the target, ");
    out.push_str("orange over a dashed line against it. Text in grey was held fixed. Rest on a ");
    put(&mut out, format_args!("{} to read its score.</p>\n", name(unit)));
    if shown.is_empty() {
        out.push_str("<p>No example could be attributed.</p>\n");
    }
    for together in examples(shown) {
        write_example(&mut out, together, unit);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn title(shown: &[Shown]) -> String {
    match shown {
        [] => "Attributions".into(),
        [first, rest @ ..] if rest.iter().all(|other| other.found.id == first.found.id) => {
            format!("Attributions of {}", escaped(&first.found.id))
        }
        _ => format!("Attributions of {} examples", examples(shown).count()),
    }
}

fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Token => "token",
        Unit::Word => "word",
        Unit::Sentence => "sentence",
    }
}

fn write_example(out: &mut String, together: &[Shown], unit: Unit) {
    let most = largest(together, unit);
    out.push_str("<section>\n");
    if let [one] = together {
        let (id, student) = (escaped(&one.found.id), escaped(&one.student));
        put(out, format_args!("<h2><bdi>{id}</bdi> <span class=\"dim\">· <bdi>{student}</bdi></span></h2>\n"));
        write_student(out, one, most, unit);
    } else {
        if let Some(first) = together.first() {
            put(out, format_args!("<h2><bdi>{}</bdi></h2>\n", escaped(&first.found.id)));
        }
        out.push_str("<div class=\"both\">\n");
        for one in together {
            put(out, format_args!("<article>\n<h3><bdi>{}</bdi></h3>\n", escaped(&one.student)));
            write_student(out, one, most, unit);
            out.push_str("</article>\n");
        }
        out.push_str("</div>\n");
    }
    write_key(out, most);
    out.push_str("</section>\n");
}

fn write_student(out: &mut String, Shown { found, .. }: &Shown, most: f64, unit: Unit) {
    put(out, format_args!("<p class=\"about dim n\">{}</p>\n", escaped(&heading(found))));
    if let Some(caution) = &found.caution {
        put(out, format_args!("<p class=\"about\"><b>!</b> {}</p>\n", escaped(caution)));
    }
    let units = found.units(unit);
    out.push_str("<p class=\"text\" dir=\"auto\">");
    for (cell, unit) in cells(units, most).iter().zip(units) {
        write_gap(out, cell.before);
        write_cell(out, cell, unit.role);
        write_gap(out, cell.after);
    }
    out.push_str("</p>\n");
    write_strongest(out, units);
}

fn write_gap(out: &mut String, gap: Gap) {
    if gap.is_space && gap.breaks == 0 {
        out.push(' ');
    }
    for _ in 0..gap.breaks {
        out.push_str("<br>");
    }
}

fn write_cell(out: &mut String, cell: &Cell, role: Role) {
    let text = text::escape_markup(&cell.text);
    match cell.score {
        None => out.push_str(&text),
        Some(score) => {
            let (title, own) = (signed(score.value), colour(score));
            put(out, format_args!("<span{own} title=\"{title} · {}\">{text}</span>", role_name(role)));
        }
    }
}

/// The class and the strength of a token; nothing where it is weak.
fn colour(Score { strength, .. }: Score) -> String {
    let size = strength.abs();
    if size < WEAK {
        return String::new();
    }
    let class = if strength > 0.0 { "f" } else { "a" };
    let width = 1 + (size > 1.0 / 3.0) as u8 + (size > 2.0 / 3.0) as u8;
    format!(" class=\"{class}\" style=\"--s:{size:.2};--w:{width}px\"")
}

/// The units of the largest scores, by name.
fn write_strongest(out: &mut String, units: &[ScoredToken]) {
    let mut scored: Vec<(&ScoredToken, f32)> =
        units.iter().filter_map(|unit| Some((unit, unit.score?))).filter(|(_, score)| *score != 0.0).collect();
    scored.sort_by(|(_, one), (_, other)| other.abs().total_cmp(&one.abs()));
    if scored.is_empty() {
        return;
    }
    out.push_str("<p class=\"most n\">");
    for (unit, score) in scored.into_iter().take(NAMED) {
        let text = text::escape_markup(&text::excerpt(unit.text.trim(), NAME));
        put(out, format_args!("<span><b>{}</b> <bdi>{text}</bdi></span>", signed(score.into())));
    }
    out.push_str("</p>\n");
}

/// What the colours mean, from the strongest against to the strongest for.
fn write_key(out: &mut String, most: f64) {
    put(out, format_args!("<p class=\"key n\" aria-hidden=\"true\"><b>against {}</b>", signed(-most)));
    for step in [-4, -3, -2, -1, 0, 1, 2, 3, 4] {
        let strength = f64::from(step) / 4.0;
        match step {
            0 => out.push_str("<b>0</b>"),
            _ => put(out, format_args!("<span{}></span>", colour(Score { value: 0.0, strength }))),
        }
    }
    put(out, format_args!("<b>{} for</b></p>\n", signed(most)));
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Prompt => "prompt",
        Role::Label => "label",
        Role::Rationale => "rationale",
        Role::Separator => "separator",
        Role::Padding => "padding",
        Role::End => "end",
    }
}

fn put(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// Text that means itself, in an element or in a quoted attribute.
fn escaped(raw: &str) -> String {
    text::escape_markup(&text::line(raw))
}
