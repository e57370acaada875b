//! Of all that is written to one place, the one that stays.

use crate::autodiff::At;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::tensor::Tensor;

use super::along::{Along, add_at, choose};

static WINNER: Shader = shader!("index/winner.wgsl");

/// Which of several stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wins {
    Last,
    Largest,
    Smallest,
}

/// y[o,v,i] = of base[o,v,i] and all x[o,j,i] with indices[o,j,i] = v the one that wins, and where it comes
/// from: v, or the extent + j. Inputs: base, x, the indices, and the order that sorts them.
struct Winner {
    axis: usize,
    wins: Wins,
}

/// What stays, and where it comes from.
pub(super) fn winners(
    base: &Tensor,
    x: &Tensor,
    indices: &Tensor,
    axis: usize,
    wins: Wins,
) -> Result<[Tensor; 2]> {
    let order = crate::ops::sort::order(indices, axis, false)?;
    let mut outputs = op::apply(Winner { axis, wins }, &[base, x, indices, &order])?;
    let source = outputs.swap_remove(1);
    Ok([outputs.swap_remove(0), source])
}

pub(super) fn winner(base: &Tensor, x: &Tensor, indices: &Tensor, axis: usize, wins: Wins) -> Result<Tensor> {
    winners(base, x, indices, axis, wins).map(|[y, _]| y)
}

impl Winner {
    fn chosen<T: Copy>(
        &self,
        base: &Array<T>,
        x: &Array<T>,
        indices: &[i32],
        beats: impl Fn(T, T) -> bool,
    ) -> (Array<T>, Array<i32>) {
        let inner: usize = base.shape[self.axis + 1..].iter().product();
        let (extent, chosen) = (base.shape[self.axis], x.shape[self.axis]);
        let mut y = base.clone();
        let places = (0..y.data.len()).map(|own| (own / inner % extent) as i32).collect();
        let mut source = Array { shape: base.shape, data: places };
        for (e, &index) in indices.iter().enumerate() {
            let (row, i) = (e / inner, e % inner);
            let to = (row / chosen * extent + index as usize) * inner + i;
            if beats(x.data[e], y.data[to]) {
                y.data[to] = x.data[e];
                source.data[to] = (extent + row % chosen) as i32;
            }
        }
        (y, source)
    }

    /// base and x one behind the other, as the places of winners count.
    fn both(&self, base: &Option<Tensor>, x: &Option<Tensor>, at: &At) -> Result<Option<Tensor>> {
        if base.is_none() && x.is_none() {
            return Ok(None);
        }
        let base = base.clone().map_or_else(|| at.zero_input(0), Ok)?;
        let x = x.clone().map_or_else(|| at.zero_input(1), Ok)?;
        Tensor::concat(&[&base, &x], self.axis as isize).map(Some)
    }
}

impl Op for Winner {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (base, x) = (inputs[0], inputs[1]);
        let mut source = Meta::new(base.shape, DType::I32);
        let range = base.range.zip(x.range).map(|((al, ah), (bl, bh))| (al.min(bl), ah.max(bh)));
        source.range = Some((0, (base.shape[self.axis] + x.shape[self.axis]) as i32 - 1));
        Ok(vec![Meta { range, ..base }, source])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let indices = &inputs.int(2).data;
        if !outputs[0].dtype.is_float() {
            let (y, source) = self.chosen(inputs.int(0), inputs.int(1), indices, |_, _| true);
            return vec![Data::Int(y), Data::Int(source)];
        }
        let (base, x) = (inputs.real(0), inputs.real(1));
        let (mut y, source) = self.chosen(base, x, indices, |new, old| match self.wins {
            Wins::Last => true,
            Wins::Largest => new.to_f64() > old.to_f64(),
            Wins::Smallest => new.to_f64() < old.to_f64(),
        });
        // What is known of the winner's value is what is known of the largest: another might be it.
        if self.wins != Wins::Last {
            let inner: usize = base.shape[self.axis + 1..].iter().product();
            let (extent, chosen) = (base.shape[self.axis], x.shape[self.axis]);
            let extreme = if self.wins == Wins::Largest { R::max } else { R::min };
            y = base.clone();
            for (e, &index) in indices.iter().enumerate() {
                let to = (e / inner / chosen * extent + index as usize) * inner + e % inner;
                y.data[to] = extreme(y.data[to], x.data[e]);
            }
        }
        vec![Data::Real(y), Data::Int(source)]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (base, x) = (inputs[0].shape(), inputs[1].shape());
        let inner: usize = base[self.axis + 1..].iter().product();
        let params = [base.count(), base[self.axis], x[self.axis], inner].map(|extent| extent as u32);
        let constants = [("LARGEST", self.wins == Wins::Largest), ("SMALLEST", self.wins == Wins::Smallest)];
        gpu.launches(x[self.axis]).try_for_each(|range| {
            gpu.dispatch(Dispatch {
                op: "scatter",
                source: Source::File(&WINNER, &constants.map(|(name, on)| (name, on.into()))),
                params: bytemuck::cast_slice(&[&params[..], &range].concat()),
                buffers: &op::buffers(inputs, outputs),
                groups: gpu.fold(base.count(), 64),
            })
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0b10)
    }

    // y = (base, x)[source], and the places themselves have derivative zero.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; 4]) };
        let extents = [0, 1].map(|k| at.input_meta(k).shape[self.axis]);
        let (axis, total) = (self.axis as isize, extents[0] + extents[1]);
        let both = add_at(dy, &at.output(1)?.detach(), Along::elements(self.axis), total)?;
        let base = both.slice(axis, 0, extents[0])?;
        Ok(vec![Some(base), Some(both.slice(axis, extents[0], total)?), None, None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(both) = self.both(&dx[0], &dx[1], at)? else { return Ok(vec![None, None]) };
        let dy = choose(&both, &at.output(1)?.detach(), Along::elements(self.axis))?;
        Ok(vec![Some(dy), None])
    }
}
