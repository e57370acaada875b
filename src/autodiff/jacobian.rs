//! Whole Jacobians and Hessians of functions of one tensor.

use super::transform::forward;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The extents of `a` before those of `b`.
fn joined(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
    Shape::new(&[&**a, &**b].concat()).map_err(|_| {
        let given = format!("a derivative of {a} by {b}");
        Error::shape(op, given, "Reshape the point or the value to fewer axes.")
    })
}

/// One at row-major position `index` of zeros shaped like `like`.
fn unit(like: &Tensor, index: usize) -> Result<Tensor> {
    let one = Tensor::full(like.device(), like.dtype(), [1], 1.0)?;
    one.pad(&[(index, like.count() - index - 1)], 0.0)?.reshape(like.shape())
}

/// All first derivatives of `f` at `x`: J\[i.., j..\] = ∂f\[i..\]/∂x\[j..\], of shape `[f.shape.., x.shape..]`.
///
/// `f` runs once. A value with no more elements than `x` takes one walk back for each of them; one with
/// more takes one walk forward for each element of `x`. Either way the graph is held until the last walk,
/// and the result is part of the graph: it can be differentiated again.
///
/// ```
/// use gradus::{Device, Tensor, autodiff::jacobian};
/// let x = Tensor::from_slice(&Device::cpu(), &[2.0f32, 3.0], [2])?;
/// let j = jacobian(|x| x.square(), &x)?;
/// assert_eq!(j.to_vec::<f32>()?, [4.0, 0.0, 0.0, 6.0]);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Errors: [`Error::DType`] for integers; [`Error::Shape`] where the two ranks together exceed
/// [`MAX_RANK`](crate::MAX_RANK); those of `f` and of the walks.
pub fn jacobian(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    x.require_float("jacobian")?;
    let x = x.tap();
    let y = f(&x)?;
    y.require_float("jacobian")?;
    let shape = joined("jacobian", y.shape(), x.shape())?;
    let (outputs, inputs) = (y.count(), x.count());
    if outputs == 0 || inputs == 0 || !y.is_tracked() {
        return Tensor::full(y.device(), y.dtype(), shape, 0.0);
    }
    let rows = |row: usize| y.pull_back(&unit(&y, row)?, &[&x])?.swap_remove(0).reshape([inputs]);
    let columns = |column: usize| along(&y, &x, column)?.reshape([outputs]);
    let lines: Result<Vec<Tensor>> =
        if outputs <= inputs { (0..outputs).map(rows).collect() } else { (0..inputs).map(columns).collect() };
    Tensor::stack(&lines?.iter().collect::<Vec<_>>(), usize::from(outputs > inputs))?.reshape(shape)
}

/// The derivative of `y` by the element of `x` at a row-major position.
fn along(y: &Tensor, x: &Tensor, element: usize) -> Result<Tensor> {
    let direction = unit(x, element)?;
    forward(y, std::slice::from_ref(x), &[&direction])?.map_or_else(|| y.full_like(0.0), Ok)
}

/// All second derivatives of the scalar function `f` at `x`: H\[i.., j..\] = ∂²f/∂x\[i..\]∂x\[j..\], of shape
/// `[x.shape.., x.shape..]`, part of the graph.
///
/// `f` and its gradient are computed once; then one walk forward for each element of `x` (forward over
/// reverse). For products with a vector alone, [`hvp`](super::hvp) is as cheap as one of these walks.
///
/// Errors: [`Error::Shape`] unless `f` gives one element, or where twice the rank of `x` exceeds
/// [`MAX_RANK`](crate::MAX_RANK); [`Error::DType`]; those of `f` and of the walks.
pub fn hessian(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    x.require_float("hessian")?;
    let shape = joined("hessian", x.shape(), x.shape())?;
    let x = x.tap();
    let gradient = f(&x)?.grad(&[&x])?.swap_remove(0);
    if x.count() == 0 || !gradient.is_tracked() {
        return Tensor::full(x.device(), x.dtype(), shape, 0.0);
    }
    let lines: Result<Vec<Tensor>> =
        (0..x.count()).map(|element| along(&gradient, &x, element)?.reshape([x.count()])).collect();
    Tensor::stack(&lines?.iter().collect::<Vec<_>>(), 0)?.reshape(shape)
}
