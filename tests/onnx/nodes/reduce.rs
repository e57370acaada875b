//! Sums, extrema and products over axes; softmax.

use super::{Answer, Call};
use gradus::{Result, Tensor};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "ReduceSum" => reduce(call, |x, axes, keep| x.sum(axes, keep)),
        "ReduceMean" => reduce(call, |x, axes, keep| x.mean(axes, keep)),
        "ReduceMax" => reduce(call, |x, axes, keep| x.max(axes, keep)),
        "ReduceMin" => reduce(call, |x, axes, keep| x.min(axes, keep)),
        "ReduceL1" => reduce(call, |x, axes, keep| x.norm(1.0, axes, keep)),
        "ReduceL2" => reduce(call, |x, axes, keep| x.norm(2.0, axes, keep)),
        "ReduceSumSquare" => reduce(call, |x, axes, keep| x.square()?.sum(axes, keep)),
        "ReduceProd" => reduce(call, |x, axes, keep| x.prod(axes, keep)),
        "ReduceLogSumExp" => reduce(call, |x, axes, keep| x.logsumexp(axes, keep)),
        "ReduceLogSum" => reduce(call, |x, axes, keep| x.sum(axes, keep)?.ln()),
        "ArgMax" => extremum(call, |x, axis| x.argmax(axis)),
        "ArgMin" => extremum(call, |x, axis| x.argmin(axis)),
        "Softmax" => along(call, |x, axis| x.softmax(axis)),
        "LogSoftmax" => along(call, |x, axis| x.log_softmax(axis)),
        _ => return None,
    })
}

fn along(call: &Call, f: fn(&Tensor, isize) -> Result<Tensor>) -> Answer {
    Ok(vec![f(&call.float(0)?, call.int("axis", -1) as isize)?])
}

fn reduce(call: &Call, f: impl Fn(&Tensor, &[isize], bool) -> Result<Tensor>) -> Answer {
    let x = call.float(0)?;
    let axes = if call.has(1) { call.whole(1) } else { vec![] };
    if axes.is_empty() && call.flag("noop_with_empty_axes") {
        return Ok(vec![x]);
    }
    let axes: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
    Ok(vec![f(&x, &axes, call.int("keepdims", 1) != 0)?])
}

/// The first of several is found, so for the last the axis is read backwards.
fn extremum(call: &Call, f: fn(&Tensor, isize) -> Result<Tensor>) -> Answer {
    let x = call.float(0)?;
    let axis = call.int("axis", 0) as isize;
    let axis = if axis < 0 { axis + x.rank() as isize } else { axis };
    let found = if call.flag("select_last_index") {
        let last = x.shape()[axis as usize] as i32 - 1;
        let back = f(&x.flip(&[axis])?, axis)?;
        let places: Vec<i32> = back.to_vec::<i32>()?.iter().map(|at| last - at).collect();
        call.index(&places, back.shape())?
    } else {
        f(&x, axis)?
    };
    Ok(vec![if call.int("keepdims", 1) != 0 { found.unsqueeze(axis as usize)? } else { found }])
}
