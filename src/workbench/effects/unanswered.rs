//! What an effect that broke down would have answered: without it a pane would wait for ever.

use crate::workbench::message::{Effect, Message};

/// Makes the answer out of why there is none.
pub type Answer = Box<dyn FnOnce(String) -> Message>;

/// The answer to an effect that a pane waits for.
pub fn of(effect: &Effect) -> Option<Answer> {
    Some(match effect {
        Effect::Preview { generation, .. } => {
            let generation = *generation;
            Box::new(move |why| Message::Previewed { generation, result: Err(why) })
        }
        Effect::Attribute(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::Attributed { generation, result: Box::new(Err(why)) })
        }
        Effect::WhatIf(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::WhatIf { generation, result: Err(why) })
        }
        Effect::ReadLens(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::LensRead { generation, result: Box::new(Err(why)) })
        }
        Effect::MakeBoard { generation, .. } => {
            let generation = *generation;
            Box::new(move |why| Message::Board { generation, result: Box::new(Err(why)) })
        }
        Effect::Disagree(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::Disagreed { generation, result: Box::new(Err(why)) })
        }
        Effect::ReadBatch(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::BatchRead { generation, result: Box::new(Err(why)) })
        }
        Effect::MeasureLoss(request) => {
            let generation = request.generation;
            Box::new(move |why| Message::LossMeasured { generation, result: Box::new(Err(why)) })
        }
        _ => return None,
    })
}
