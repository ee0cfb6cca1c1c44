//! The workbench as its users meet it: by keys alone.

mod bench;
mod browsing;
mod comparing;
mod lens;
mod recipes;
mod screens;
mod watching;
