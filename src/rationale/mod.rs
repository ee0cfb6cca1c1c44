//! The rationale: what the user wants done to it ([`Recipe`]), the ablations that do it, and the rendering of an
//! example into tokens with roles. Pure and deterministic; no tensor is seen here.

pub mod ablation;
pub mod batch;
pub mod chat;
pub mod lenders;
pub mod method;
pub mod recipe;
pub mod render;
pub mod similarity;
pub mod spelling;
pub mod tokens;
pub mod word_vectors;

pub use batch::{Batch, Encoded};
pub use chat::Framing;
pub use lenders::Lenders;
pub use recipe::{Ablation, Chat, Placement, Recipe};
pub use render::{Borrowed, LossWeights, RenderError, Rendered, RenderedToken, Renderer, Role};
pub use similarity::Vectors;
