//! The rationale: what the user wants done to it ([`Recipe`]), the ablations that do it, and the rendering of an
//! example into tokens with roles. Pure and deterministic; no tensor is seen here.

pub mod ablation;
pub mod batch;
pub mod chat;
pub mod recipe;
pub mod render;
pub mod tokens;

pub use batch::{Batch, Encoded};
pub use chat::Framing;
pub use recipe::{Ablation, Chat, Placement, Recipe};
pub use render::{Borrowed, LossWeights, RenderError, Rendered, RenderedToken, Renderer, Role};
