//! A recurrent layer as tensor operations, step by step: the oracle of the fused operations, their path to
//! higher derivatives, and all there is of the cell that has no fused kernel.

use super::cell::Cell;
use super::forward::Kind;
use crate::error::Result;
use crate::tensor::Tensor;

/// The states `[S, T + 1, B, H]` from x, w, bias and the initial state, which stand first in `inputs`. `inner`
/// `[T, B, G·H]` is added to h·W + b.
pub(super) fn unroll(
    kind: Kind,
    inputs: &[Tensor],
    inner: Option<&Tensor>,
    lengths: &Option<Tensor>,
) -> Result<Tensor> {
    let [x, w, bias, initial] = [&inputs[0], &inputs[1], &inputs[2], &inputs[3]];
    let steps = x.shape()[0];
    let mut state: Vec<Tensor> =
        (0..kind.cell.states()).map(|s| initial.select(0, s)).collect::<Result<_>>()?;
    let mut slots = vec![state.clone(); steps + 1];
    let running = lengths.as_ref().map(|lengths| running(lengths, steps, x)).transpose()?;
    for time in kind.times(steps) {
        let inner = inner.map(|inner| inner.select(0, time)).transpose()?;
        let new = step(kind.cell, &x.select(0, time)?, w, bias, inner.as_ref(), &state)?;
        state = match &running {
            Some(running) => {
                let running = running.select(0, time)?;
                let keep = |(new, old): (&Tensor, &Tensor)| running.where_(new, old);
                new.iter().zip(&state).map(keep).collect::<Result<_>>()?
            }
            None => new,
        };
        slots[kind.slots(time).1] = state.clone();
    }
    let planes: Vec<Tensor> = (0..kind.cell.states())
        .map(|s| Tensor::stack(&slots.iter().map(|slot| &slot[s]).collect::<Vec<_>>(), 0))
        .collect::<Result<_>>()?;
    Tensor::stack(&planes.iter().collect::<Vec<_>>(), 0)
}

/// One for each time `[T, B, 1]` that lies within its sequence, zero from the length on; of the type of `like`.
pub(super) fn running(lengths: &Tensor, steps: usize, like: &Tensor) -> Result<Tensor> {
    let times = Tensor::arange(like.device(), 0, steps as i32)?.to_dtype(like.dtype())?;
    let lengths = lengths.to_dtype(like.dtype())?.reshape([1, lengths.count(), 1])?;
    times.reshape([steps, 1, 1])?.less(&lengths)
}

/// The new state from x `[B, G·H]` and the old one, a `[B, H]` each.
fn step(
    cell: Cell,
    x: &Tensor,
    w: &Tensor,
    bias: &Tensor,
    inner: Option<&Tensor>,
    state: &[Tensor],
) -> Result<Vec<Tensor>> {
    let (h, hidden) = (&state[0], w.shape()[0] as isize);
    let part = |t: &Tensor, axis: isize, gates: std::ops::Range<isize>| {
        t.slice(axis, (gates.start * hidden) as usize, (gates.end * hidden) as usize)
    };
    if cell == Cell::GruResetBefore {
        let rz =
            h.matmul_bias(&part(w, 1, 0..2)?, &part(bias, 0, 0..2)?)?.add(&part(x, 1, 0..2)?)?.sigmoid()?;
        let (r, z) = (part(&rz, 1, 0..1)?, part(&rz, 1, 1..2)?);
        let q = r.mul(h)?.matmul_bias(&part(w, 1, 2..3)?, &part(bias, 0, 2..3)?)?;
        let n = part(x, 1, 2..3)?.add(&q)?.tanh()?;
        return Ok(vec![Tensor::map([&n, &z, h], |[n, z, h]| n.clone() + z * (h - n))?]);
    }
    let mut product = h.matmul_bias(w, bias)?;
    if let Some(inner) = inner {
        product = product.add(inner)?;
    }
    if cell == Cell::Gru {
        let rz = part(&product, 1, 0..2)?.add(&part(x, 1, 0..2)?)?.sigmoid()?;
        let (r, z) = (part(&rz, 1, 0..1)?, part(&rz, 1, 1..2)?);
        let (q, x) = (part(&product, 1, 2..3)?, part(x, 1, 2..3)?);
        let n = Tensor::map([&x, &r, &q], |[x, r, q]| (x + r * q).tanh())?;
        return Ok(vec![Tensor::map([&n, &z, h], |[n, z, h]| n.clone() + z * (h - n))?]);
    }
    let gates = product.add(x)?;
    Ok(match cell {
        Cell::Tanh => vec![gates.tanh()?],
        Cell::Relu => vec![gates.relu()?],
        _ => {
            let gate = |g: isize| part(&gates, 1, g..g + 1);
            let c = Tensor::map([&gate(0)?, &gate(1)?, &gate(2)?, &state[1]], |[i, f, g, c]| {
                f.sigmoid() * c + i.sigmoid() * g.tanh()
            })?;
            vec![Tensor::map([&gate(3)?, &c], |[o, c]| o.sigmoid() * c.tanh())?, c]
        }
    })
}
