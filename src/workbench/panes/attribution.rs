//! Which tokens a run's student rests its answer on, what changes of them do, and the same for a run beside it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::{draw_empty, draw_lines, frame_of, loss, run_title};
use crate::attribution::compare::compare;
use crate::attribution::units::spans;
use crate::attribution::what_if::{ChangedToken, Edit};
use crate::attribution::{ExampleAttribution, Over, ScoredToken, Target};
use crate::rationale::Role;
use crate::rationale::recipe::Unit;
use crate::workbench::attribution::{Attributed, Scale};
use crate::workbench::pane::Pane;
use crate::workbench::state::State;
use crate::workbench::update::under_cursor;
use crate::workbench::widgets::flow::{Piece, cut, wrap, wrap_text};

/// Columns from which two runs stand side by side.
const BESIDE: u16 = 90;

pub fn draw(frame: &mut Frame, area: Rect, state: &State) {
    if state.loupe.shows_loss {
        return loss::draw(frame, area, state);
    }
    let view = &state.attribution;
    let title = view.result.as_ref().map_or_else(String::new, |result| {
        let waiting = if view.is_waiting { " …" } else { "" };
        let (run, found) = (run_title(state, &result.run), &result.found);
        let own = if view.reads_own { " · own rationale" } else { "" };
        format!("{run} → log p({}) · {}{own}{waiting}", found.target, found.method)
    });
    let inside = frame_of(frame, area, state, Pane::Attribution, &title);
    let inside = Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside };
    match (&view.result, &view.error) {
        (_, Some(error)) => {
            let lines = wrap_text(error, state.theme.bad.style(), inside.width);
            draw_lines(frame, inside, lines, 0);
        }
        (Some(result), None) => draw_result(frame, inside, state, result),
        (None, None) if view.is_waiting => draw_empty(frame, inside, state, "attributing …"),
        (None, None) => draw_empty(
            frame,
            inside,
            state,
            if state.runs.runs.iter().any(|run| run.has_checkpoint) {
                "no run on this data set with this student has weights to look into · n trains one · r looks into \
                 another run"
            } else {
                "no student to look into yet · n trains one on this data set · T starts the tour"
            },
        ),
    }
}

fn draw_result(frame: &mut Frame, area: Rect, state: &State, result: &Attributed) {
    let below = below(state, result, area.width);
    let height = (below.len() as u16).min(area.height.saturating_sub(2));
    let text = Rect { height: area.height - height, ..area };
    if state.attribution.beside.run.is_some() {
        draw_both(frame, text, state, result);
    } else {
        draw_lines(frame, text, tokens(state, result, text.width), state.attribution.scroll);
    }
    draw_lines(frame, Rect { y: text.y + text.height, height, ..area }, below, 0);
}

/// The tokens, coloured by the score of their unit. The sign is also told by an underline, without colours by a mark; the top
/// tokens have a star, what was changed has brackets.
fn tokens(state: &State, result: &Attributed, width: u16) -> Vec<Line<'static>> {
    let view = &state.attribution;
    let found = &result.found;
    let strengths = strengths(&found.tokens, view.unit, view.scale);
    let top = top_tokens(found, view.top);
    let cursor = under_cursor(state).filter(|_| state.focus == Pane::Attribution);
    let plain = |(place, token): (usize, &ScoredToken)| ChangedToken {
        text: token.text.clone(),
        role: token.role,
        place,
        edit: None,
    };
    let unchanged = || found.tokens.iter().enumerate().map(plain).collect();
    let shown: Vec<ChangedToken> =
        view.changes.result.as_ref().map_or_else(unchanged, |changed| changed.tokens.clone());
    let mut pieces = Vec::new();
    for ChangedToken { text, role, place, edit } in shown {
        if view.shows_rationale_alone() && role != Role::Rationale {
            continue;
        }
        let is_scored = found.tokens.get(place).is_some_and(|token| token.score.is_some());
        let strength = strengths.get(place).copied().unwrap_or(0.0);
        let mut style = if is_scored { state.theme.score(strength) } else { state.theme.chrome.style() };
        if cursor.as_ref().is_some_and(|unit| unit.contains(&place)) {
            style = style.patch(state.theme.cursor.style());
        }
        let mark = if is_scored { state.theme.mark(strength) } else { "" };
        let (text, style) = match &edit {
            None => (marked(&text, mark, ""), style),
            Some(edit) => {
                let original = found.tokens.get(place).map_or("", |token| token.text.as_str());
                changed(state, original, &text, edit, style)
            }
        };
        pieces.push(Piece::new(text, style));
        if top.contains(&place) && edit.is_none() {
            pieces.push(Piece::new("*", state.theme.accent.style()));
        }
    }
    wrap(&pieces, width)
}

/// Text with something before and after it, within the white space in front.
fn marked(text: &str, before: &str, after: &str) -> String {
    let own = text.trim_start();
    format!("{}{before}{own}{after}", &text[..text.len() - own.len()])
}

/// A token that was changed: what stood there is still to be read where it is gone.
fn changed(state: &State, original: &str, now: &str, edit: &Edit, style: Style) -> (String, Style) {
    let typing = state.attribution.changes.typing.is_some();
    match edit {
        Edit::Mask => (marked(original, "[?", "]"), style.patch(state.theme.unlearnt.style())),
        Edit::Delete => {
            let gone = state.theme.unlearnt.style().add_modifier(Modifier::CROSSED_OUT);
            (marked(original, "[−", "]"), style.patch(gone))
        }
        Edit::Retype(_) if now.is_empty() => {
            let lead = &original[..original.len() - original.trim_start().len()];
            (format!("{lead}[{}]", if typing { "▏" } else { "" }), style)
        }
        Edit::Retype(_) => (marked(now, "[", if typing { "▏]" } else { "]" }), style),
    }
}

/// The strength of each token from -1 to 1: that of its unit, of the largest unit's.
fn strengths(tokens: &[ScoredToken], unit: Unit, scale: Scale) -> Vec<f64> {
    let units = spans(tokens.iter().map(|token| (token.text.as_str(), token.role)), unit);
    let sum = |span: &std::ops::Range<usize>| -> f64 {
        tokens[span.clone()].iter().filter_map(|token| token.score).map(f64::from).sum()
    };
    let sums: Vec<f64> = units.iter().map(sum).collect();
    // What only announces an answer carries most of it, and would make all words pale.
    let says = |(span, _): &(&std::ops::Range<usize>, &f64)| tokens[span.start].role != Role::Separator;
    let sizes = units.iter().zip(&sums).filter(says).map(|(_, sum)| sum.abs());
    let largest = sizes.fold(f64::MIN_POSITIVE, f64::max);
    let mut strengths = vec![0.0; tokens.len()];
    for (span, sum) in units.into_iter().zip(sums) {
        let strength = if scale == Scale::Absolute { sum.abs() } else { sum } / largest;
        strengths[span].fill(strength.clamp(-1.0, 1.0));
    }
    strengths
}

/// Two runs' scores and their difference: side by side where there is room.
fn draw_both(frame: &mut Frame, area: Rect, state: &State, result: &Attributed) {
    let view = &state.attribution;
    let heading = |text: String, width: u16| wrap_text(&text, state.theme.heading.style(), width);
    let other = match (&view.beside.result, &view.beside.error) {
        (Some(other), _) => other,
        (None, error) => {
            let text = error.as_deref().unwrap_or("attributing the other run …");
            let mut lines = wrap_text(text, state.theme.warning.style(), area.width);
            lines.extend(tokens(state, result, area.width));
            return draw_lines(frame, area, lines, view.scroll);
        }
    };
    let column = if area.width >= BESIDE { (area.width - 2) / 2 } else { area.width };
    let of = |number: usize, own: &Attributed| {
        let title =
            format!("{number} {} · log p({}) {:.2}", run_title(state, &own.run), own.found.target, own.found.log_p);
        let mut lines = heading(title, column);
        lines.extend(if number == 1 {
            tokens(state, own, column)
        } else {
            let shown = own.found.tokens.iter().filter(|token| is_shown(state, token.role));
            scored_lines(state, &shown.cloned().collect::<Vec<_>>(), column)
        });
        lines
    };
    let (one, two) = (of(1, result), of(2, other));
    let mut difference = heading("2 less 1".into(), area.width);
    match compare(&result.found, &other.found, Unit::Token).or_else(|| compare(&result.found, &other.found, Unit::Word))
    {
        Some(pairs) => {
            let pairs: Vec<ScoredToken> = pairs
                .into_iter()
                .map(|pair| ScoredToken { text: pair.text, role: Role::Rationale, score: Some(pair.other - pair.one) })
                .collect();
            difference.extend(scored_lines(state, &pairs, area.width));
            difference.extend(largest(state, &pairs, area.width));
        }
        None => difference.extend(wrap_text(
            "the two were asked about different things, or read this as different words, and can't stand beside each other",
            state.theme.warning.style(),
            area.width,
        )),
    }
    if column < area.width {
        let height = (one.len().max(two.len()) as u16).min(area.height);
        let left = Rect { width: column, height, ..area };
        draw_lines(frame, left, one, view.scroll);
        draw_lines(frame, Rect { x: area.x + column + 2, ..left }, two, view.scroll);
        draw_lines(frame, Rect { y: area.y + height, height: area.height - height, ..area }, difference, 0);
    } else {
        let lines = one.into_iter().chain(two).chain(difference).collect();
        draw_lines(frame, area, lines, view.scroll);
    }
}

fn is_shown(state: &State, role: Role) -> bool {
    role == Role::Rationale || !state.attribution.shows_rationale_alone()
}

/// Tokens with their scores, without a cursor or changes.
fn scored_lines(state: &State, tokens: &[ScoredToken], width: u16) -> Vec<Line<'static>> {
    let strengths = strengths(tokens, state.attribution.unit, state.attribution.scale);
    let pieces: Vec<Piece> = tokens
        .iter()
        .zip(strengths)
        .map(|(token, strength)| {
            Piece::new(marked(&token.text, state.theme.mark(strength), ""), state.theme.score(strength))
        })
        .collect();
    wrap(&pieces, width)
}

/// The words that differ most, with by how much.
fn largest(state: &State, pairs: &[ScoredToken], width: u16) -> Vec<Line<'static>> {
    let mut words = crate::attribution::units::sums(pairs, Unit::Word);
    words.sort_by(|one, other| other.score.unwrap_or(0.0).abs().total_cmp(&one.score.unwrap_or(0.0).abs()));
    let mut pieces = Vec::new();
    for word in words.iter().take(4) {
        let score = word.score.unwrap_or(0.0);
        pieces.push(Piece::new(format!("{score:+.2}\u{a0}"), state.theme.text.style()));
        let text = cut(word.text.trim(), 16).replace(' ', "\u{a0}");
        pieces.push(Piece::new(format!("{text}  "), state.theme.score(f64::from(score.signum()))));
    }
    wrap(&pieces, width)
}

/// Places of the tokens with the highest scores.
fn top_tokens(found: &ExampleAttribution, count: usize) -> Vec<usize> {
    let score = |place: usize| found.tokens[place].score.unwrap_or(f32::NEG_INFINITY);
    let mut places: Vec<usize> =
        (0..found.tokens.len()).filter(|place| found.tokens[*place].role != Role::Separator).collect();
    places.sort_by(|one, other| score(*other).total_cmp(&score(*one)));
    places.truncate(count);
    places
}

/// Top words, the convergence delta, the choices, and what to bear in mind.
fn below(state: &State, result: &Attributed, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let view = &state.attribution;
    let found = result.found.clone().rescaled(view.scale == Scale::Absolute, view.scale == Scale::Normalised);
    let good = found.converged.unwrap_or(true);
    let mut pieces = Vec::new();
    if let (Some(delta), Some(steps)) = (found.convergence_delta, found.steps) {
        let (style, remark) = if good { (theme.chrome, "") } else { (theme.warning, "! ") };
        pieces.push(Piece::new(format!("{remark}δ\u{a0}{delta:.0e} in\u{a0}{steps}  "), style.style()));
    }
    let unit = format!("by\u{a0}{}{}  top\u{a0}{}  ", view.unit.name(), view.scale.note(), view.top);
    pieces.push(Piece::new(unit, theme.chrome.style()));
    // A score and its word are never parted by a line break.
    let mut add = |text: &str, score: f32, strength: f64| {
        pieces.push(Piece::new(format!("{score:+.2}\u{a0}"), theme.text.style()));
        pieces.push(Piece::new(cut(text, 16).replace(' ', "\u{a0}"), theme.score(strength)));
        pieces.push(Piece::new("  ", theme.text.style()));
    };
    let words = ranked(&found, if view.unit == Unit::Token { Unit::Token } else { Unit::Word });
    let (top, rest) = words.split_at(view.top.min(words.len()));
    top.iter().for_each(|(text, score)| add(text, *score, 1.0));
    let least = rest.last().filter(|(_, score)| *score <= -0.005);
    if let Some((text, score)) = least {
        add(text, *score, -1.0);
    }
    if least.is_some() {
        let place = pieces.len() - 3;
        pieces.insert(place, Piece::new("least\u{a0}", theme.chrome.style()));
    }
    let mut lines = vec![Line::default()];
    lines.extend(wrap(&pieces, width));
    lines.extend(choices(state, result, width));
    lines.extend(remarks(state, result, good, width));
    lines
}

/// The choices' probabilities, with what the changes make of them.
fn choices(state: &State, result: &Attributed, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let changes = &state.attribution.changes;
    let gold = gold(state, result);
    let answer = result.answer().map(|answer| answer.0.clone());
    let moved = changes.result.as_ref();
    let now = moved.and_then(|moved| {
        let best = moved.choices.iter().reduce(|best, next| if next.after > best.after { next } else { best });
        best.map(|best| best.label.clone())
    });
    let mut pieces =
        vec![Piece::new(if moved.is_some() { "what if" } else { "among the choices" }, theme.chrome.style())];
    for (place, (label, text, p)) in result.choices.iter().enumerate() {
        let is_gold = gold.as_ref() == Some(label);
        let is_answer = now.as_ref().or(answer.as_ref()) == Some(label);
        let sign = match (is_gold, is_answer) {
            (true, _) => "✓",
            (false, true) => "✗",
            (false, false) => "",
        };
        let mut style = if is_gold { theme.good } else { theme.text }.style();
        if is_answer {
            style = style.add_modifier(Modifier::BOLD);
        }
        let moved = moved.and_then(|moved| moved.choices.get(place));
        // Both sides of the arrow are of the same weights.
        let p = moved.map_or(p, |choice| &choice.before);
        let after = moved.map(|choice| format!("→{:.2}", choice.after));
        let text = cut(text, 18).replace(' ', "\u{a0}");
        pieces.push(Piece::new("  ", theme.text.style()));
        pieces.push(Piece::new(format!("{sign}{label}\u{a0}{text}\u{a0}{p:.2}{}", after.unwrap_or_default()), style));
    }
    wrap(&pieces, width)
}

/// The right label, where the selected question is still the one that was attributed.
fn gold(state: &State, result: &Attributed) -> Option<String> {
    let selected = state.data.selected.as_ref().filter(|selected| selected.example.id == result.found.id);
    selected.and_then(|selected| selected.example.answer.clone())
}

/// What to bear in mind.
fn remarks(state: &State, result: &Attributed, good: bool, width: u16) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let found = &result.found;
    let mut lines = Vec::new();
    let mut say = |text: &str, style: Style| lines.extend(wrap_text(text, style, width));
    let (chrome, warning) = (theme.chrome.style(), theme.warning.style());
    if let Some(error) = &state.attribution.changes.error {
        say(error, theme.bad.style());
    }
    let gold = gold(state, result);
    let reads_first = matches!(result.asked.target, Target::Label | Target::Choice(_) | Target::Contrast);
    let changed = state.attribution.changes.result.is_some();
    if let Some(answer) =
        result.answer().filter(|answer| gold.is_some() && Some(&answer.0) != gold.as_ref() && reads_first)
    {
        if result.asked.target == Target::Label && !changed {
            say(
                &format!(
                    "it answers {}, wrongly: t, then choice:{}, shows which words speak for that",
                    answer.1, answer.0
                ),
                warning,
            );
        }
    } else if reads_first && !changed && state.focus == Pane::Attribution {
        say("h/l to a word, then x, d or e changes it, and the choices follow", chrome);
    }
    if let Some(text) = of_the_table(state, result).filter(|_| reads_first && !changed) {
        say(&text, chrome);
    }
    let over = match result.asked.over {
        _ if result.asked.target == Target::Rationale => "over all tokens before it",
        Over::Rationale => "over its tokens",
        Over::Prompt => "over all tokens before the target",
    };
    let change = match (found.log_p_baseline, found.baseline) {
        (Some(from), Some(baseline)) => format!(
            "log p({}) {:.2} as it stands, {from:.2} at the {} baseline; {over}",
            found.target,
            found.log_p,
            baseline.name()
        ),
        _ => format!("log p({}) {:.2}; {over}", found.target, found.log_p),
    };
    say(&change, chrome);
    if let Some(caution) = &found.caution {
        say(caution, warning);
    }
    if !good {
        say("δ: the scores don't add up to the difference of the two; read them with care", warning);
    }
    if !result.reads && reads_first {
        say("this student never read a rationale before its label: a `pre` run or a reader (r) tells more", warning);
    }
    lines
}

/// Why the table says something else of this question than the choices here do: another run answered there, or this one after a
/// rationale of its own.
fn of_the_table(state: &State, result: &Attributed) -> Option<String> {
    let (predicted, is_right) = state.data.predictions.get(&result.found.id)?;
    let predicted = predicted.as_deref().unwrap_or("nothing that is a choice");
    let answer = result.answer().map(|answer| answer.0.as_str())?;
    let by = state.data.predicted_by.as_ref()?;
    if *is_right || predicted == answer {
        return None;
    }
    Some(if *by == result.run.run {
        format!("in the table it answered {predicted}, after a rationale of its own: O reads that")
    } else {
        let name = state.runs.find(by).map_or_else(|| by.clone(), |run| run.spec.title_with_seed());
        format!("in the table {name} answered {predicted}: r looks into that run")
    })
}

/// Words, or tokens, of what was scored, the highest first: of the rationale where it was.
fn ranked(found: &ExampleAttribution, unit: Unit) -> Vec<(String, f32)> {
    let units = found.units(unit);
    let own = units.iter().filter(|own| matches!(own.role, Role::Rationale | Role::Prompt | Role::Label));
    let mut words: Vec<(String, f32)> = own.filter_map(|own| Some((own.text.trim().to_owned(), own.score?))).collect();
    words.sort_by(|one, other| other.1.total_cmp(&one.1));
    words
}
