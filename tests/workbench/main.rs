//! The workbench as its users meet it: by keys alone.

mod bench;
mod browsing;
mod charts;
mod comparing;
mod lens;
mod loupe;
mod recipes;
mod screens;
mod trying;
mod watching;
