//! Dense linear algebra: Cholesky factors, triangular systems, and eigenvalues of symmetric operators.
//!
//! What is iterated n times compounds a worst-case bound, so large results are judged by their residual:
//! each method states its criterion, and `tests/linalg.rs` holds the device to it. The cases here are of small,
//! well-conditioned matrices, whose elements have bounds that still say something.

mod cases;
mod cholesky;
mod lanczos;
mod triangular;

pub(super) use self::cases::rooms;
pub use self::lanczos::{Spectrum, lanczos};
use crate::choice::TURNS;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::op::Meta;

/// The ranges of 0..n that fit into a dispatch each, where element i takes `turns(i)`; one at least.
fn dispatches(n: usize, turns: impl Fn(usize) -> usize) -> Vec<std::ops::Range<usize>> {
    let (mut ranges, mut first, mut taken) = (Vec::new(), 0, 0);
    for i in 0..n {
        if i > first && taken + turns(i) > TURNS {
            ranges.push(first..i);
            (first, taken) = (i, 0);
        }
        taken += turns(i);
    }
    ranges.push(first..n);
    ranges
}

/// Floats of at least 32 bits, and the last two axes of one extent.
fn check_square(op: &'static str, a: &Meta) -> Result<()> {
    if !a.dtype.is_float() {
        return Err(Error::dtype(op, a.to_string(), "Convert to a float with to_dtype."));
    }
    // Each entry is computed from those before it, which f16 would have rounded away.
    if matches!(a.dtype, DType::F16 | DType::BoundedF16) {
        return Err(Error::dtype(op, a.to_string(), "Factor and solve in f32: convert with to_dtype."));
    }
    let rank = a.shape.rank();
    if rank < 2 || a.shape[rank - 1] != a.shape[rank - 2] {
        return Err(Error::shape(op, a.to_string(), "Give square matrices [.., n, n]."));
    }
    Ok(())
}
