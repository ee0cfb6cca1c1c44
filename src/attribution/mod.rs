//! Attribution: which tokens a student's answer rests on.

pub mod example;
mod integrated_gradients;
pub mod quadrature;

pub use example::{AttributionError, ExampleAttribution, Over, attribute};
pub use integrated_gradients::{Attribution, IntegratedGradients};
