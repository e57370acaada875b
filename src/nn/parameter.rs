//! A parameter: the cell that points to one value after another.

use crate::capture;
use crate::error::{Error, Result};
use crate::op::Meta;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// A parameter or buffer: a shared cell that points to one tensor after another.
#[derive(Clone)]
pub struct Parameter(Arc<Cell>);

struct Cell {
    path: String,
    trainable: bool,
    value: RwLock<Tensor>,
    /// Whether the value is another's, for a while.
    lent: AtomicBool,
}

impl Parameter {
    pub(super) fn new(path: String, trainable: bool, value: Tensor) -> Self {
        Parameter(Arc::new(Cell { path, trainable, value: RwLock::new(value), lent: AtomicBool::new(false) }))
    }

    /// The dotted path.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Whether it is trained, or a buffer.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable
    }

    /// The current value. That of a trained parameter is a variable, the same one until the value is
    /// replaced: all uses between two steps of an optimiser add to one gradient.
    pub fn get(&self) -> Tensor {
        let value = self.value();
        if self.0.lent.load(Relaxed) { value } else { capture::read(self, value) }
    }

    /// The current value, itself in a capture too.
    pub(crate) fn value(&self) -> Tensor {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What tells it from others.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Replaces the value, and with it the variable.
    ///
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`] if it is not like the one before;
    /// whatever computing it, where it is still pending, reports.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        self.check(value)?;
        // A parameter that stayed pending would carry its whole history along.
        value.view()?;
        capture::set(self, value)?;
        self.point_to(value)
    }

    /// [`set`](Self::set) to what is known to fit.
    pub(crate) fn point_to(&self, value: &Tensor) -> Result<()> {
        let value = value.detach();
        self.replace(if self.0.trainable { value.variable()? } else { value });
        Ok(())
    }

    pub(crate) fn check(&self, value: &Tensor) -> Result<()> {
        let now = self.value();
        now.device().check_same("params", value.device())?;
        let given = || format!("{} for `{}`, which is {}", value.describe(), self.path(), now.describe());
        if value.dtype() != now.dtype() {
            return Err(Error::dtype("params", given(), "Convert it with to_dtype."));
        }
        if value.shape() != now.shape() {
            return Err(Error::shape("params", given(), "A parameter keeps its shape."));
        }
        Ok(())
    }

    /// The value in the type of `x`, where that stores half as much: a parameter of f32 meets an input of
    /// f16 as f16, and its gradient comes back as f32.
    ///
    /// Errors: [`Error::DType`] if the device does not store f16.
    pub fn for_input(&self, x: &Tensor) -> Result<Tensor> {
        let value = self.get();
        if value.dtype() != x.dtype() && value.dtype() == x.dtype().wide() {
            return value.to_dtype(x.dtype());
        }
        Ok(value)
    }

    /// Exchanges the value, and says whether it is lent; returns what was there and whether that was.
    pub(super) fn lend(&self, value: Tensor, lent: bool) -> (Tensor, bool) {
        (self.replace(value), self.0.lent.swap(lent, Relaxed))
    }

    fn replace(&self, value: Tensor) -> Tensor {
        let mut place = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut place, value)
    }

    /// The extents.
    pub fn shape(&self) -> Shape {
        *self.value().shape()
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.value().count()
    }

    pub(crate) fn meta(&self) -> Meta {
        self.value().meta()
    }
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path(), self.value().describe())
    }
}
