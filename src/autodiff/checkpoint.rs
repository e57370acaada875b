//! Values that are computed again instead of kept.

use super::graph::{At, Differentiable, record_rule};
use super::transform::{cotangents, push_forward};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

type Function = dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync;

/// A function of its inputs whose own graph is made when a derivative is asked for.
struct Checkpoint {
    f: Box<Function>,
    /// The values of the inputs, without their place in the graph, which [`At`] knows.
    inputs: Vec<Tensor>,
}

impl Checkpoint {
    fn points(&self, at: &At) -> Vec<Tensor> {
        self.inputs.iter().enumerate().map(|(k, x)| at.placed(k, x)).collect()
    }
}

impl Differentiable for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut out = vec![None; self.inputs.len()];
        let Some(dy) = &dy[0] else { return Ok(out) };
        let mut points = self.points(at);
        let wanted: Vec<usize> = (0..points.len()).filter(|&k| at.needs(k)).collect();
        for &k in &wanted {
            points[k] = points[k].tap();
        }
        let y = (self.f)(&points)?;
        let targets: Vec<&Tensor> = wanted.iter().map(|&k| &points[k]).collect();
        for (&k, dx) in wanted.iter().zip(cotangents(&y, dy, &targets, at.is_tracked())?) {
            out[k] = Some(dx);
        }
        Ok(out)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let points = self.points(at);
        let moving: Vec<usize> = (0..points.len()).filter(|&k| dx[k].is_some()).collect();
        let at_rest = |taps: &[Tensor]| {
            let mut all = points.clone();
            for (&k, tap) in moving.iter().zip(taps) {
                all[k] = tap.clone();
            }
            (self.f)(&all)
        };
        let xs: Vec<&Tensor> = moving.iter().map(|&k| &points[k]).collect();
        let vs: Vec<&Tensor> = dx.iter().flatten().collect();
        push_forward(|taps| Ok(vec![at_rest(taps)?]), &xs, &vs)
    }
}

/// The value of `f` at `inputs`, keeping the inputs alone: what a derivative reads of the inside of `f` is
/// computed again when it is asked for.
///
/// Cutting n layers into √n checkpoints lets training hold about 2√n layers' values at a time instead of n,
/// for one more forward pass. The derivatives are those of `f` itself, of any order and in both modes; what
/// reaches one tensor on several ways may be added in another order. `f` must give the same value each time it is called; random numbers do, as they are functions of
/// seed and stream.
///
/// Source: Chen et al. 2016, arXiv:1604.06174.
/// Errors: [`Error::NoGradient`] if `f` reads a variable that is not among its inputs, whose gradient would
/// be lost (for layers use [`nn::Checkpoint`](crate::nn::Checkpoint)); those of `f`.
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    inputs: &[&Tensor],
) -> Result<Tensor> {
    let values: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect();
    let y = f(&values)?;
    if y.is_tracked() {
        return Err(Error::no_gradient(
            "checkpoint",
            "the function reads a variable that is not among its inputs",
            "Give every variable that it reads as an input, or detach it; for layers use nn::Checkpoint.",
        ));
    }
    // A pending value would hold what led to it.
    y.finish()?;
    Ok(record_rule(Checkpoint { f: Box::new(f), inputs: values }, inputs, y))
}
