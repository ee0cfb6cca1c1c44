//! The workbench as its users meet it: by keys alone.

mod bench;
mod browsing;
mod comparing;
mod finding;
mod lens;
mod loupe;
mod recipes;
mod screens;
mod trying;
mod watching;
