//! What layers with weights are given and give, for those who need more than the gradients of parameters.

use super::parameter::Parameter;
use crate::error::Result;
use crate::ops::Conv2dOptions;
use crate::tensor::Tensor;
use std::cell::RefCell;

/// One use of an affine layer.
pub(crate) struct Seen {
    pub weight: Parameter,
    pub bias: Option<Parameter>,
    pub input: Tensor,
    pub output: Tensor,
    pub map: Affine,
}

/// How the output of a layer comes from its input.
pub(crate) enum Affine {
    /// Each row times the weight.
    Linear,
    /// Each patch times the weight.
    Conv2d(Conv2dOptions),
    /// In some other way.
    Other,
}

thread_local! {
    static OPEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// Runs `body` and reports the affine layers it went through on this thread, in order.
pub(crate) fn observed<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Seen>)> {
    let _restore = Restore(OPEN.replace(Some(Vec::new())));
    let value = body()?;
    Ok((value, OPEN.take().unwrap_or_default()))
}

/// Puts back who observed before, in a panic too.
struct Restore(Option<Vec<Seen>>);

impl Drop for Restore {
    fn drop(&mut self) {
        OPEN.set(self.0.take());
    }
}

/// Tells the observer, if there is one, of a use.
pub(super) fn note(seen: impl FnOnce() -> Seen) {
    OPEN.with_borrow_mut(|open| {
        if let Some(all) = open {
            all.push(seen());
        }
    });
}
