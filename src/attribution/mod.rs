//! Attribution: which tokens a student's answer rests on.

mod integrated_gradients;
pub mod quadrature;

pub use integrated_gradients::{Attribution, IntegratedGradients};
