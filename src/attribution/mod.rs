//! Attribution: which tokens a student's answer rests on, and at which layer it can be read.

pub mod example;
mod integrated_gradients;
pub mod lens;
pub mod quadrature;

pub use example::{AttributionError, ExampleAttribution, Over, attribute};
pub use integrated_gradients::{Attribution, IntegratedGradients};
