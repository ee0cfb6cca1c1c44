//! The workbench as its users meet it: by keys alone.

mod bench;
mod browsing;
mod comparing;
mod demo;
mod lens;
mod loupe;
mod recipes;
mod recording;
mod screens;
mod trying;
mod watching;
