//! Pieces that the panes are made of.

pub mod bars;
pub mod chart;
pub mod flow;
