//! The workbench as its users meet it: by keys alone.

mod bench;
mod browsing;
mod charts;
mod comparing;
mod demo;
mod editing;
mod every_pane;
mod finding;
mod hostile;
mod jobs;
mod lens;
mod loupe;
mod recipes;
mod reconnect;
mod recording;
mod screens;
mod trying;
mod typing;
mod watching;
