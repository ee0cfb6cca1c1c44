//! What a workbench shows, kept for the next one: a closed laptop, a dropped line or a kill costs at most a second of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::attribution::{Looked, Scale};
use super::board::{Shown, Sort};
use super::charts::{Metric, Smoothing};
use super::display::Forced;
use super::editor::Unsaved;
use super::hints::Hints;
use super::layout::Split;
use super::pane::Pane;
use super::state::{Curve, DataView, Overlay, State};
use crate::attribution::Asked;
use crate::attribution::what_if::Changes;
use crate::corpus::filter::Field;
use crate::corpus::order;
use crate::rationale::recipe::Unit;
use crate::runs::RunSpec;
use crate::runs::curves::Axis;
use crate::runs::lenses::Which;
use crate::studies::Baseline;

/// The file in a project that holds it.
pub const PATH: &str = ".afterthought/session.json";

/// All that is kept. What an older version did not know has its usual value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub focus: Pane,
    pub before_board: Pane,
    pub zoomed: bool,
    pub split: Split,
    pub theme: String,
    #[serde(default)]
    pub display: Forced,
    pub draft: RunSpec,
    pub data: DataPart,
    pub recipe: RecipePart,
    pub runs: RunsPart,
    #[serde(default)]
    pub charts: ChartsPart,
    pub attribution: AttributionPart,
    pub board: BoardPart,
    /// A text that was being edited and is not kept yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editor: Option<Unsaved>,
    #[serde(default)]
    pub hints: Hints,
}

/// Of the data pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataPart {
    pub split: String,
    /// The question under the cursor, its row, and the row at the top of the screen.
    pub id: Option<String>,
    pub row: usize,
    pub above: usize,
    pub scroll: usize,
    pub filter: String,
    pub sort: Option<order::Sort>,
    pub columns: Vec<Field>,
    pub marks: Vec<Marked>,
}

/// The questions of a split that are marked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Marked {
    /// The data set and the split.
    pub of: (String, String),
    #[serde(serialize_with = "ids", deserialize_with = "shared_ids")]
    pub ids: Arc<BTreeSet<String>>,
}

fn ids<S: Serializer>(ids: &Arc<BTreeSet<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    ids.as_ref().serialize(serializer)
}

fn shared_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<BTreeSet<String>>, D::Error> {
    BTreeSet::deserialize(deserializer).map(Arc::new)
}

/// Of the charts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChartsPart {
    pub axis: Axis,
    pub smoothing: Smoothing,
    pub window: Option<(f64, f64)>,
    pub metric: Metric,
    pub has_bands: bool,
}

/// Of the rationale pane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecipePart {
    pub cursor: usize,
    pub word: usize,
    pub as_table: bool,
    pub scroll: usize,
}

/// Of the training pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunsPart {
    /// The selected run; `None` where the newest is followed.
    pub selected: Option<String>,
    pub overlaid: Vec<String>,
    pub curve: Curve,
    pub log_scale: bool,
    /// The run and the step under the cursor of the chart.
    pub step: Option<(String, usize)>,
}

/// Of the attribution pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttributionPart {
    pub run: Option<Looked>,
    pub beside: Option<Looked>,
    pub asked: Asked,
    pub unit: Unit,
    pub scale: Scale,
    pub top: usize,
    pub scroll: usize,
    pub cursor: usize,
    pub reads_own: bool,
    pub changes: Changes,
    pub lens: Option<Which>,
    pub shows_loss: bool,
}

/// Of the board.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoardPart {
    pub shown: Shown,
    pub sort: Sort,
    pub filter: String,
    pub baselines: Vec<Baseline>,
    pub cursor: usize,
}

/// In an order of their own, so that equal marks are equal files.
fn marks(data: &DataView) -> Vec<Marked> {
    let mut all: Vec<Marked> = data.marks.iter().map(|(of, ids)| Marked { of: of.clone(), ids: ids.clone() }).collect();
    all.retain(|marked| !marked.ids.is_empty());
    all.sort_by(|one, other| one.of.cmp(&other.of));
    all
}

impl Session {
    /// What a workbench shows now.
    pub fn of(state: &State) -> Self {
        let (data, view) = (&state.data, &state.attribution);
        // What is on its way back counts as being there: a workbench that is left at once must lose nothing.
        let pending = state.restoring.as_ref();
        let selected = data.selected.as_ref();
        Self {
            focus: state.focus,
            before_board: state.before_board,
            zoomed: state.zoomed,
            split: state.split,
            theme: state.theme_name.clone(),
            display: state.display.forced,
            draft: state.draft.clone(),
            data: match pending {
                Some(pending) => pending.data.clone(),
                None => DataPart {
                    split: data.split.clone(),
                    id: selected.map(|selected| selected.example.id.clone()),
                    row: selected.map_or(0, |selected| selected.row),
                    above: data.cursor.saturating_sub(data.offset),
                    scroll: data.scroll,
                    filter: data.filter.clone(),
                    sort: data.ordered.sort.clone(),
                    columns: data.columns.shown.clone(),
                    marks: marks(data),
                },
            },
            recipe: pending.map_or(
                RecipePart {
                    cursor: state.recipe.cursor,
                    word: state.recipe.word,
                    as_table: state.recipe.as_table,
                    scroll: state.recipe.scroll,
                },
                |pending| pending.recipe,
            ),
            runs: RunsPart {
                selected: match &state.runs.awaited {
                    Some(awaited) => Some(awaited.clone()),
                    None if state.runs.follows_newest => None,
                    None => state.runs.selected().map(|run| run.id.clone()),
                },
                overlaid: state.runs.overlaid.iter().cloned().collect(),
                curve: state.runs.curve,
                log_scale: state.runs.log_scale,
                step: state.loupe.cursor.clone(),
            },
            charts: ChartsPart {
                axis: state.charts.axis,
                smoothing: state.charts.smoothing,
                window: state.charts.window,
                metric: state.charts.metric,
                has_bands: state.charts.has_bands,
            },
            attribution: AttributionPart {
                run: view.run.clone(),
                beside: view.beside.run.clone(),
                asked: view.asked.clone(),
                unit: view.unit,
                scale: view.scale,
                top: view.top,
                scroll: pending.map_or(view.scroll, |pending| pending.attribution.scroll),
                cursor: pending.map_or(view.cursor, |pending| pending.attribution.cursor),
                reads_own: view.reads_own,
                changes: pending.map_or(&view.changes.now, |pending| &pending.attribution.changes).clone(),
                lens: state.lens.shown,
                shows_loss: state.loupe.shows_loss,
            },
            editor: match (&state.overlay, &state.kept_editor) {
                (Some(Overlay::Editor(editor)), _) | (_, Some(editor)) => Some(editor.unsaved()),
                _ => None,
            },
            board: BoardPart {
                shown: state.board.shown.clone(),
                sort: state.board.sort,
                filter: state.board.filter.clone(),
                baselines: state.board.baselines.clone(),
                cursor: state.board.cursor,
            },
            hints: state.hints.clone(),
        }
    }
}
