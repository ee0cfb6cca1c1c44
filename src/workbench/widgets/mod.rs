//! Pieces that the panes are made of.

pub mod chart;
pub mod flow;
