//! Gradients of weights, handed past candle's store of gradients.
//!
//! The store makes zeros of a weight's shape for each gradient and adds it to them, which for weights is as much traffic as
//! the optimiser's. A weight is a leaf, so whoever differentiates can as well be handed its gradient directly.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

thread_local! {
    /// What the backward pass of this thread has been handed; `None` while no [`Gradients::of`] is on its way.
    static HANDED: RefCell<Option<HashMap<TensorId, Tensor>>> = const { RefCell::new(None) };
}

/// The gradients of one backward pass.
pub struct Gradients {
    store: GradStore,
    handed: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// Differentiates a scalar.
    pub fn of(total: &Tensor) -> Result<Self> {
        HANDED.set(Some(HashMap::new()));
        let store = total.backward();
        let handed = HANDED.take().unwrap_or_default();
        Ok(Self { store: store?, handed })
    }

    /// The gradient of a tensor, if the scalar depends on it.
    pub fn remove(&mut self, tensor: &Tensor) -> Result<Option<Tensor>> {
        match (self.handed.remove(&tensor.id()), self.store.remove(tensor)) {
            (Some(one), Some(other)) => Ok(Some((one + other)?)),
            (one, other) => Ok(one.or(other)),
        }
    }
}

/// What a backward pass returns for a weight: its gradient, or nothing where it could be handed on.
pub(super) fn hand(weight: &Tensor, gradient: Tensor) -> Result<Option<Tensor>> {
    // What is made of weights must go through the graph to reach them.
    if !weight.is_variable() {
        return Ok(Some(gradient));
    }
    HANDED.with_borrow_mut(|handed| {
        let Some(handed) = handed else { return Ok(Some(gradient)) };
        let sum = match handed.remove(&weight.id()) {
            Some(before) => (before + gradient)?,
            None => gradient,
        };
        handed.insert(weight.id(), sum);
        Ok(None)
    })
}
