//! From published weight names and layouts to ours and back, as a table for each family.

use candle_core::{DType, Result, Tensor};

use crate::student::Architecture;
use crate::student::architecture::Parameter;

/// How a family calls its weights and lays them out.
pub struct Names {
    /// `words`, `positions`, `norm` and `output`.
    pub whole: &'static [(&'static str, &'static str)],
    /// What stands before a layer's parts, with `{}` for its number.
    pub layer: &'static str,
    /// Our parts and theirs: one, or several that ours joins side by side.
    pub parts: &'static [(&'static str, &'static [&'static str])],
    pub layout: Layout,
}

/// How the published matrices lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// (inputs, outputs), as ours (GPT-2's `Conv1D`).
    Inputs,
    /// (outputs, inputs), as PyTorch's `Linear`.
    Outputs,
    /// The same, with the joined queries, keys and values lying head by head (GPT-NeoX).
    OutputsByHead,
}

impl Names {
    /// The published tensors behind one of our parameters, in order.
    pub fn published(&self, ours: &str) -> Vec<String> {
        let (stem, suffix) = match ours {
            "words" | "positions" | "output" => (ours, "weight"),
            _ => ours.rsplit_once('.').unwrap_or((ours, "weight")),
        };
        if let Some((_, theirs)) = self.whole.iter().find(|(name, _)| *name == stem) {
            return vec![format!("{theirs}.{suffix}")];
        }
        let rest = stem.strip_prefix("layers.").unwrap_or(stem);
        let (number, part) = rest.split_once('.').unwrap_or((rest, ""));
        let theirs = self.parts.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, theirs)| theirs);
        let layer = self.layer.replace("{}", number);
        theirs.iter().map(|name| format!("{layer}.{name}.{suffix}")).collect()
    }

    /// The shapes of the published tensors behind a parameter.
    pub fn shapes(&self, architecture: &Architecture, parameter: &Parameter) -> Vec<Vec<usize>> {
        let count = self.published(&parameter.name).len();
        if count <= 1 && !(self.is_matrix(parameter) && self.layout != Layout::Inputs) {
            return vec![parameter.shape.clone()];
        }
        let columns = match count {
            0 | 1 => vec![*parameter.shape.last().unwrap_or(&0)],
            _ => architecture.joined(part_of(&parameter.name)),
        };
        let shape = |columns: usize| match (self.is_matrix(parameter), self.layout) {
            (false, _) => vec![columns],
            (true, Layout::Inputs) => vec![parameter.shape[0], columns],
            (true, _) => vec![columns, parameter.shape[0]],
        };
        columns.into_iter().map(shape).collect()
    }

    /// A parameter from its published tensors, in `f32`.
    pub fn join(&self, architecture: &Architecture, parameter: &Parameter, published: &[Tensor]) -> Result<Tensor> {
        let is_matrix = self.is_matrix(parameter);
        let mut parts = Vec::with_capacity(published.len());
        for tensor in published {
            let tensor = tensor.to_dtype(if tensor.dtype() == DType::F64 { DType::F64 } else { DType::F32 })?;
            let tensor = if self.is_by_head(parameter) { by_part(&tensor, architecture)? } else { tensor };
            parts.push(if is_matrix && self.layout != Layout::Inputs { tensor.t()?.contiguous()? } else { tensor });
        }
        match &parts[..] {
            [one] => one.contiguous(),
            several => Tensor::cat(several, if is_matrix { 1 } else { 0 })?.contiguous(),
        }
    }

    /// The published tensors of a parameter.
    pub fn split(&self, architecture: &Architecture, parameter: &Parameter, ours: &Tensor) -> Result<Vec<Tensor>> {
        let shapes = self.shapes(architecture, parameter);
        let is_matrix = self.is_matrix(parameter);
        let turned = is_matrix && self.layout != Layout::Inputs;
        let mut from = 0;
        let mut parts = Vec::with_capacity(shapes.len());
        for shape in &shapes {
            let columns = if turned { shape[0] } else { *shape.last().unwrap_or(&0) };
            let part = match shapes.len() {
                1 => ours.clone(),
                _ => ours.narrow(if is_matrix { 1 } else { 0 }, from, columns)?,
            };
            from += columns;
            let part = if turned { part.t()?.contiguous()? } else { part.contiguous()? };
            parts.push(if self.is_by_head(parameter) { by_head(&part, architecture)? } else { part });
        }
        Ok(parts)
    }

    /// Rows of outputs (outputs, …) of a part's published map in our order, and back: what adapters add is ordered so too.
    pub fn outputs_to_ours(&self, part: &str, rows: &Tensor, architecture: &Architecture) -> Result<Tensor> {
        if self.lies_by_head(part) { by_part(rows, architecture) } else { Ok(rows.clone()) }
    }

    pub fn outputs_to_published(&self, part: &str, rows: &Tensor, architecture: &Architecture) -> Result<Tensor> {
        if self.lies_by_head(part) { by_head(rows, architecture) } else { Ok(rows.clone()) }
    }

    fn lies_by_head(&self, part: &str) -> bool {
        self.layout == Layout::OutputsByHead && part == "attention.in"
    }

    fn is_matrix(&self, parameter: &Parameter) -> bool {
        parameter.shape.len() == 2 && parameter.name.starts_with("layers.")
    }

    fn is_by_head(&self, parameter: &Parameter) -> bool {
        self.lies_by_head(part_of(&parameter.name))
    }
}

/// `attention.in` of `layers.3.attention.in.weight`.
fn part_of(name: &str) -> &str {
    let rest = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, rest)| rest);
    rest.rsplit_once('.').map_or(rest, |(part, _)| part)
}

/// Rows that lie (head, part, number) to (part, head, number).
fn by_part(tensor: &Tensor, architecture: &Architecture) -> Result<Tensor> {
    regroup(tensor, architecture.heads, 3, architecture.head)
}

/// And back.
fn by_head(tensor: &Tensor, architecture: &Architecture) -> Result<Tensor> {
    regroup(tensor, 3, architecture.heads, architecture.head)
}

fn regroup(tensor: &Tensor, outer: usize, inner: usize, head: usize) -> Result<Tensor> {
    let columns = tensor.elem_count() / (outer * inner * head);
    tensor.reshape((outer, inner, head * columns))?.transpose(0, 1)?.contiguous()?.reshape(tensor.shape())
}
