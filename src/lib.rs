//! afterthought: a terminal workbench that shows why chain-of-thought rationales help distillation.

pub mod attribution;
pub mod commands;
pub mod corpus;
pub mod curve;
pub mod evaluation;
pub mod files;
pub mod journal;
pub mod rationale;
pub mod runs;
pub mod seeds;
pub mod student;
pub mod studies;
pub mod text;
pub mod training;
pub mod workbench;
