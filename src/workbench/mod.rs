//! The workbench: the terminal interface. Four panes about one question and one recipe, and the board.
//!
//! One loop ([`app`]) takes in messages; [`update`] is the pure function that changes the [`state`] and asks for
//! effects; [`effects`] does them elsewhere; [`panes`] draws. It knows neither how a tensor is computed nor how a run
//! is trained, only their front doors.

pub mod app;
pub mod attribution;
pub mod board;
pub mod browse;
pub mod charts;
pub mod command;
pub mod demo;
pub mod display;
pub mod dump;
pub mod editor;
pub mod effects;
pub mod hints;
pub mod jobs;
pub mod keymap;
pub mod layout;
pub mod lens;
pub mod loupe;
pub mod message;
pub mod messages;
pub mod palette;
pub mod pane;
pub mod panes;
pub mod player;
pub mod recording;
pub mod replace;
pub mod replay;
pub mod session;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod typing;
pub mod update;
pub mod widgets;

pub use app::{Options, run};
