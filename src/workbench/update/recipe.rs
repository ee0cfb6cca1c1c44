//! The rationale pane: the recipe, its live preview, and the edits of the rationale itself.

use super::{attribution, browse, data, editor};
use crate::corpus::Example;
use crate::corpus::difference::{carried, changes};
use crate::corpus::edits::{DEFAULT_SOURCE, Patch};
use crate::evaluation::Given;
use crate::rationale::Recipe;
use crate::rationale::recipe::{
    Ablation, Anew, CutFrom, Fill, Hide, Keep, KeepBy, Mask, MaskHow, PAUSE, Placement, Remove, Shuffle, Swap,
    SwapWith, Truncate, Unit,
};
use crate::rationale::spelling::Around;
use crate::rationale::tokens::words;
use crate::runs::RunSpec;
use crate::workbench::browse::{Ask, Place};
use crate::workbench::command::Command;
use crate::workbench::layout;
use crate::workbench::message::{Effect, External};
use crate::workbench::pane::Pane;
use crate::workbench::state::EditTarget;
use crate::workbench::state::{Chosen, InputFor, Menu, MenuItem, NOW, Notice, Overlay, State};

pub fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    let last = state.draft.rationale.ablations.len().saturating_sub(1);
    state.recipe.cursor = state.recipe.cursor.min(last);
    let place = state.recipe.cursor;
    match command {
        Command::NextPlacement => {
            let recipe = &mut state.draft.rationale;
            let now = Placement::ALL.iter().position(|placement| *placement == recipe.placement).unwrap_or(0);
            recipe.placement = Placement::ALL[(now + 1) % Placement::ALL.len()];
            ask_preview(state)
        }
        Command::AddAblation => menu(state, "add an ablation", add_menu(&state.draft.rationale)),
        Command::ChangeAblation => match change_menu(&state.draft.rationale, place) {
            items if items.is_empty() => menu(state, "add an ablation", add_menu(&state.draft.rationale)),
            items => menu(state, "change the ablation", items),
        },
        Command::RemoveAblation => {
            if state.draft.rationale.ablations.is_empty() {
                state.say(Notice::info("there is no ablation to remove; `a` adds one"));
                return vec![];
            }
            state.draft.rationale.ablations.remove(place);
            ask_preview(state)
        }
        Command::MoveAblationUp | Command::MoveAblationDown => {
            let other = if command == Command::MoveAblationUp { place.wrapping_sub(1) } else { place + 1 };
            if other > last {
                return vec![];
            }
            state.draft.rationale.ablations.swap(place, other);
            state.recipe.cursor = other;
            ask_preview(state)
        }
        Command::More | Command::Less => {
            let up = command == Command::More;
            let changed = state.draft.rationale.ablations.get_mut(place).is_some_and(|ablation| adjust(ablation, up));
            if changed {
                return ask_preview(state);
            }
            state.say(Notice::info("this ablation has no number to change"));
            vec![]
        }
        Command::Reshuffle => {
            state.draft.seed.ablation += 1;
            ask_preview(state)
        }
        Command::ChooseSource => {
            let sources = state.data.opened.iter().flat_map(|opened| opened.sources.clone());
            let items = [DEFAULT_SOURCE.to_owned()].into_iter().chain(sources).map(|name| MenuItem {
                note: if name == state.draft.rationale.source { NOW.into() } else { String::new() },
                then: Chosen::Source(name.clone()),
                label: name,
            });
            let items = items.collect();
            menu(state, "whose rationales", items)
        }
        Command::ChooseHide => {
            let items = hide_menu(state);
            menu(state, "hide from the student", items)
        }
        Command::ResetRecipe => {
            state.draft.rationale = Recipe::default();
            state.draft.seed.ablation = 0;
            data::reload(state).into_iter().chain(ask_preview(state)).collect()
        }
        Command::WordLeft | Command::WordRight | Command::Highlight if state.recipe.as_table => {
            state.say(Notice::info("words are marked in the text: `t` goes back to it"));
            vec![]
        }
        Command::WordLeft => {
            state.recipe.word = state.recipe.word.saturating_sub(1);
            spell(state)
        }
        Command::WordRight => {
            let last = rationale(state).map_or(0, |text| words(text).len().saturating_sub(1));
            state.recipe.word = (state.recipe.word + 1).min(last);
            spell(state)
        }
        Command::Highlight => highlight(state),
        Command::Edit => editor::open(state),
        Command::EditExternally => match (state.edit_target(), rationale(state)) {
            (Some(target), text) => {
                let text = text.unwrap_or_default().to_owned();
                vec![Effect::OpenEditor { what: External::Rationale(target), text }]
            }
            _ => nothing_selected(state),
        },
        Command::UndoEdit => state.edit_target().map(Effect::UndoEdit).into_iter().collect(),
        Command::RedoEdit => state.edit_target().map(Effect::RedoEdit).into_iter().collect(),
        Command::ToggleTokens => {
            state.recipe.as_table = !state.recipe.as_table;
            state.recipe.scroll = 0;
            vec![]
        }
        Command::ShowChanges => show_changes(state),
        Command::SaveRunFile => {
            let title = "write these settings to (a file in the project)".into();
            state.overlay = Some(Overlay::Input { title, text: "my-run.yaml".into(), then: InputFor::RunFile });
            vec![]
        }
        _ => vec![],
    }
}

/// The teacher's rationale of the selected question.
fn rationale(state: &State) -> Option<&str> {
    state.data.selected.as_ref()?.example.rationale.as_deref()
}

pub fn nothing_selected(state: &mut State) -> Vec<Effect> {
    state.say(Notice::info("no question is selected; 1 goes to the data pane"));
    vec![]
}

/// Everything that depends on the settings of the next run, asked for again.
pub fn refresh(state: &mut State) -> Vec<Effect> {
    let mut effects = data::reload(state);
    effects.extend(ask_preview(state));
    effects.extend(attribution::ask(state));
    effects
}

/// Asks what the student would see now.
pub fn ask_preview(state: &mut State) -> Vec<Effect> {
    let Some(selected) = state.data.selected.clone() else { return vec![] };
    let generation = state.next_generation();
    state.recipe.generation = generation;
    let mut effects = vec![Effect::Preview {
        generation,
        spec: Box::new(state.draft.clone()),
        split: state.data.split.clone(),
        place: selected.row,
        example: Box::new(selected.example),
    }];
    effects.extend(spell(state));
    effects.extend(ask_original(state));
    effects
}

/// Asks how the student spells the word under the cursor.
fn spell(state: &mut State) -> Vec<Effect> {
    let text = rationale(state).unwrap_or_default().trim();
    let Some(word) = words(text).get(state.recipe.word).cloned() else {
        (state.recipe.spelled, state.recipe.spelling) = (None, 0);
        return vec![];
    };
    let byte = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(at, _)| at);
    let around = Around::of(text, byte(word.start)..byte(word.end));
    let effect = editor::ask(state, around);
    state.recipe.spelling = state.generation;
    vec![effect]
}

/// Shows what was changed of the selected question, or its text again.
fn show_changes(state: &mut State) -> Vec<Effect> {
    if state.edit_target().is_none() {
        return nothing_selected(state);
    }
    state.recipe.shows_changes = !state.recipe.shows_changes;
    state.recipe.as_table = false;
    state.recipe.scroll = 0;
    if state.recipe.shows_changes && !layout::is_visible(state, Pane::Rationale) {
        super::focus(state, Pane::Rationale);
    }
    ask_original(state)
}

/// Asks for the selected question as its files have it, where it is compared with them.
fn ask_original(state: &mut State) -> Vec<Effect> {
    let Some(row) = state.data.selected.as_ref().map(|selected| selected.row) else { return vec![] };
    let is_known = state.recipe.original.as_ref().map(|(target, _)| target) == state.edit_target().as_ref();
    if is_known {
        compare(state);
    }
    if !state.recipe.shows_changes || is_known {
        return vec![];
    }
    state.recipe.changes = None;
    browse::ask(state, Ask::Original(row))
}

/// A question as its files have it.
pub fn original_read(state: &mut State, place: Place, example: Box<Example>) {
    let Place { dataset, split, source } = place;
    let target = EditTarget { dataset, split, id: example.id.clone(), source };
    state.recipe.original = Some((target, example));
    compare(state);
}

/// Works out what was changed of the selected question, where it is known how it was.
fn compare(state: &mut State) {
    state.recipe.changes = None;
    let target = state.edit_target();
    let (Some(selected), Some((of, original))) = (&state.data.selected, &state.recipe.original) else { return };
    if target.as_ref() == Some(of) && state.recipe.shows_changes {
        let text = |example: &Example| example.rationale.as_deref().unwrap_or_default().trim().to_owned();
        let rationale = changes(&text(original), &text(&selected.example));
        state.recipe.changes = Some((rationale, changes(&original.question, &selected.example.question)));
    }
}

/// The preview again, after questions were changed.
pub fn refresh_preview(state: &mut State) -> Vec<Effect> {
    let mut effects = ask_preview(state);
    effects.extend(attribution::ask(state));
    effects
}

/// Takes over another recipe.
pub fn set_recipe(state: &mut State, recipe: Recipe) -> Vec<Effect> {
    let other_source = recipe.source != state.draft.rationale.source;
    // A question that is hidden leaves nothing to write a rationale from.
    state.draft.evaluation.rationale = if recipe.hide == Hide::Nothing { Given::Own } else { Given::Teacher };
    if recipe.ablations.len() > state.draft.rationale.ablations.len() {
        state.recipe.cursor = recipe.ablations.len() - 1;
    }
    state.draft.rationale = recipe;
    if other_source {
        return data::reload(state);
    }
    ask_preview(state)
}

/// Takes over settings that were edited as YAML.
pub fn set_settings(state: &mut State, text: &str) -> Vec<Effect> {
    match RunSpec::parse(text, std::path::Path::new("the settings"), &[]) {
        Ok(spec) => {
            let other = spec.dataset != state.draft.dataset;
            state.draft = RunSpec { record: None, ..spec };
            state.say(Notice::info("the next run has these settings"));
            if other {
                return vec![Effect::OpenDataset(state.draft.dataset.clone())];
            }
            refresh(state)
        }
        Err(error) => {
            state.say(Notice::error(error.to_string()));
            vec![]
        }
    }
}

fn menu(state: &mut State, title: &str, items: Vec<MenuItem>) -> Vec<Effect> {
    state.overlay = Some(Overlay::Menu(Menu::new(title, items)));
    vec![]
}

/// A recipe with one ablation put in, as a menu item.
fn with(recipe: &Recipe, place: usize, ablation: Ablation, replace: bool) -> MenuItem {
    let mut changed = recipe.clone();
    if replace {
        changed.ablations[place] = ablation.clone();
    } else {
        changed.ablations.insert(place, ablation.clone());
        if changed.placement == Placement::None {
            changed.placement = Placement::Post;
        }
    }
    MenuItem { label: ablation.to_string(), note: explain(&ablation).into(), then: Chosen::Recipe(changed) }
}

fn explain(ablation: &Ablation) -> &'static str {
    match ablation {
        Ablation::Shuffle(_) => "does their order matter?",
        Ablation::Mask(_) => "how many are needed?",
        Ablation::Keep(Keep { by: KeepBy::Attribution, .. }) => "do a few key ones suffice?",
        Ablation::Keep(Keep { by: KeepBy::Highlight, .. }) => "those that you marked",
        Ablation::Keep(Keep { by: KeepBy::Similarity, .. }) => "does nearness to the label make them key?",
        Ablation::Keep(_) => "the control for key tokens",
        Ablation::Truncate(_) => "does it matter how it ends?",
        Ablation::Remove(_) => "can it learn to do without them?",
        Ablation::Swap(Swap { with: SwapWith::AnotherExample, .. }) => "does it matter what is said?",
        Ablation::Swap(Swap { with: SwapWith::SameLabel, .. }) => "do words that go with the label suffice?",
        Ablation::Swap(Swap { with: SwapWith::OtherLabel, .. }) => "do words of other labels harm?",
        Ablation::Swap(Swap { with: SwapWith::WrongChoice, .. }) => "does it matter what is argued for?",
        Ablation::Fill(fill) if fill.pauses() => "is it time to compute? (learned)",
        Ablation::Fill(_) => "is it the length alone?",
    }
}

fn keep(by: KeepBy, count: Option<usize>) -> Ablation {
    Ablation::Keep(Keep::of(by, count))
}

fn shuffle(unit: Unit, anew: Option<Anew>) -> Ablation {
    Ablation::Shuffle(Shuffle { unit, anew })
}

fn swap(with: SwapWith) -> Ablation {
    Ablation::Swap(Swap { with, source: None })
}

fn remove(count: Option<usize>, fraction: Option<f64>) -> Ablation {
    Ablation::Remove(Remove { count, fraction, from: CutFrom::Start, smoothing: None })
}

fn pause(count: usize) -> Ablation {
    Ablation::Fill(Fill { with: Some(PAUSE.into()), in_loss: false, count: Some(count) })
}

/// Shares to choose from.
const SHARES: [f64; 4] = [0.2, 0.4, 0.6, 0.8];

fn add_menu(recipe: &Recipe) -> Vec<MenuItem> {
    let ablations = [
        shuffle(Unit::Token, None),
        shuffle(Unit::Word, None),
        shuffle(Unit::Sentence, None),
        Ablation::Mask(Mask::default()),
        Ablation::Mask(Mask { how: MaskHow::Drop, ..Mask::default() }),
        keep(KeepBy::Attribution, Some(3)),
        keep(KeepBy::Random, Some(3)),
        keep(KeepBy::First, Some(3)),
        keep(KeepBy::Last, Some(3)),
        keep(KeepBy::Highlight, None),
        keep(KeepBy::Similarity, Some(3)),
        Ablation::Truncate(Truncate { count: None, fraction: Some(0.5), from: CutFrom::End }),
        remove(Some(2), None),
        swap(SwapWith::AnotherExample),
        swap(SwapWith::SameLabel),
        swap(SwapWith::OtherLabel),
        swap(SwapWith::WrongChoice),
        Ablation::Fill(Fill::default()),
        pause(10),
    ];
    ablations.into_iter().map(|ablation| with(recipe, recipe.ablations.len(), ablation, false)).collect()
}

/// What the selected ablation could be instead.
fn change_menu(recipe: &Recipe, place: usize) -> Vec<MenuItem> {
    let Some(ablation) = recipe.ablations.get(place) else { return vec![] };
    let variants: Vec<Ablation> = match ablation {
        Ablation::Shuffle(settings) => [Unit::Token, Unit::Word, Unit::Sentence]
            .map(|unit| shuffle(unit, settings.anew))
            .into_iter()
            .chain([None, Some(Anew::Epoch)].map(|anew| shuffle(settings.unit, anew)))
            .collect(),
        Ablation::Mask(mask) => SHARES
            .into_iter()
            .map(|fraction| Mask { fraction, ..mask.clone() })
            .chain([
                Mask { how: MaskHow::Replace, ..mask.clone() },
                Mask { how: MaskHow::Drop, ..mask.clone() },
                Mask { in_loss: !mask.in_loss, how: MaskHow::Replace, ..mask.clone() },
            ])
            .map(Ablation::Mask)
            .collect(),
        Ablation::Keep(settings) => {
            let count = settings.count.or(Some(3));
            let by = KeepBy::ALL.map(|by| keep(by, if by == KeepBy::Highlight { None } else { count }));
            let with = |count, fraction| Ablation::Keep(Keep { count, fraction, ..settings.clone() });
            let counts = [1, 3, 5, 10, 15, 20].map(|count| with(Some(count), None));
            let shares = SHARES.map(|fraction| with(None, Some(fraction)));
            by.into_iter().chain(counts).chain(shares).collect()
        }
        Ablation::Truncate(settings) => {
            let with = |count, fraction| Ablation::Truncate(Truncate { count, fraction, ..settings.clone() });
            let sides =
                [CutFrom::End, CutFrom::Start].map(|from| Ablation::Truncate(Truncate { from, ..settings.clone() }));
            let shares = SHARES.map(|fraction| with(None, Some(fraction)));
            let counts = [1, 3, 5, 10, 15, 20].map(|count| with(Some(count), None));
            sides.into_iter().chain(shares).chain(counts).collect()
        }
        Ablation::Remove(settings) => {
            let sides =
                [CutFrom::Start, CutFrom::End].map(|from| Ablation::Remove(Remove { from, ..settings.clone() }));
            let counts = [1, 2, 4, 8, 16].map(|count| remove(Some(count), None));
            let shares = [0.1, 0.2, 0.5].map(|fraction| remove(None, Some(fraction)));
            sides.into_iter().chain(counts).chain(shares).collect()
        }
        Ablation::Swap(settings) => {
            let sources = settings.source.is_some().then(|| ablation.clone());
            SwapWith::ALL.map(swap).into_iter().chain(sources).collect()
        }
        Ablation::Fill(fill) if fill.pauses() => [1, 5, 10, 20, 50].map(pause).into(),
        Ablation::Fill(fill) => [false, true]
            .map(|in_loss| Fill { in_loss, ..fill.clone() })
            .into_iter()
            .chain([None, Some(10), Some(20), Some(50)].map(|count| Fill { count, ..fill.clone() }))
            .map(Ablation::Fill)
            .collect(),
    };
    let mut items: Vec<MenuItem> = Vec::new();
    for variant in variants {
        let mut item = with(recipe, place, variant, true);
        if item.label == ablation.to_string() {
            item.note = NOW.into();
        }
        if items.iter().all(|other| other.label != item.label) {
            items.push(item);
        }
    }
    items
}

fn hide_menu(state: &State) -> Vec<MenuItem> {
    let item = |label: &str, note: &str, hide| {
        let recipe = Recipe { hide, ..state.draft.rationale.clone() };
        MenuItem { label: label.into(), note: note.into(), then: Chosen::Recipe(recipe) }
    };
    let mut items = vec![item("nothing", "the whole question is seen", Hide::Nothing)];
    if data::has_subject(state) {
        items.push(item("the subject", "the label must be read off the rationale", Hide::Subject));
    }
    items.push(item("the question", "only choices and rationale are seen", Hide::Question));
    items
}

/// Changes an ablation's number by a step. False when it has none.
fn adjust(ablation: &mut Ablation, up: bool) -> bool {
    match ablation {
        Ablation::Mask(Mask { fraction, .. })
        | Ablation::Keep(Keep { fraction: Some(fraction), .. })
        | Ablation::Remove(Remove { fraction: Some(fraction), .. })
        | Ablation::Truncate(Truncate { fraction: Some(fraction), .. }) => {
            let tenths = (*fraction * 10.0).round() + if up { 1.0 } else { -1.0 };
            *fraction = tenths.clamp(0.0, 10.0) / 10.0;
            true
        }
        Ablation::Fill(Fill { count: Some(count), .. }) | Ablation::Remove(Remove { count: Some(count), .. }) => {
            *count = if up { *count + 1 } else { (*count - 1).max(1) };
            true
        }
        Ablation::Keep(Keep { count: Some(count), .. }) | Ablation::Truncate(Truncate { count: Some(count), .. }) => {
            *count = if up { *count + 1 } else { count.saturating_sub(1) };
            true
        }
        _ => false,
    }
}

/// Marks the word under the cursor as key, or unmarks it.
fn highlight(state: &mut State) -> Vec<Effect> {
    let (Some(target), Some(selected)) = (state.edit_target(), &state.data.selected) else {
        return nothing_selected(state);
    };
    let text = selected.example.rationale.as_deref().unwrap_or_default();
    let Some(word) = words(text).get(state.recipe.word).cloned() else {
        state.say(Notice::info("this question has no rationale to mark; `e` writes one"));
        return vec![];
    };
    let mut ranges = selected.example.highlights.clone();
    let before = ranges.len();
    ranges.retain(|range| range.end <= word.start || word.end <= range.start);
    if ranges.len() == before {
        ranges.push(word);
        ranges.sort_by_key(|range| range.start);
    }
    vec![Effect::Edit { target, patch: Patch::Highlights(ranges) }]
}

/// Stores an edited rationale; an empty one is none.
pub fn set_rationale(state: &mut State, target: EditTarget, text: String) -> Vec<Effect> {
    let text = text.trim().to_owned();
    if state.edit_target().as_ref() == Some(&target) && rationale(state).unwrap_or_default().trim() == text {
        state.say(Notice::info("nothing was changed"));
        return vec![];
    }
    // Key words that are still there stay key words.
    let own = state.data.selected.as_ref().filter(|_| state.edit_target().as_ref() == Some(&target));
    let marks = own.map_or_else(Vec::new, |own| {
        carried(own.example.rationale.as_deref().unwrap_or_default().trim(), &text, &own.example.highlights)
    });
    let mut patches = vec![Patch::Rationale((!text.is_empty()).then_some(text))];
    if !marks.is_empty() {
        patches.push(Patch::Highlights(marks));
    }
    vec![Effect::EditAll { target, patches }]
}

/// An edit is on the disk: the row is read again.
pub fn edited(state: &mut State, id: &str, result: Result<usize, String>) -> Vec<Effect> {
    match result {
        Ok(edits) => {
            state.is_project = true;
            let plural = if edits == 1 { "" } else { "s" };
            let undo = if edits == 0 { "`U` brings back what was undone" } else { "`u` takes one back" };
            let split = &state.data.split;
            let note = if split == "train" { String::new() } else { format!(" · training reads train, not {split}") };
            state.say(Notice::info(format!("{id}: {edits} edit{plural}, in edits.jsonl{note} · {undo}")));
        }
        Err(error) => state.say(Notice::error(error)),
    }
    let mut effects = data::forget(state, id);
    effects.extend(attribution::ask(state));
    effects
}
