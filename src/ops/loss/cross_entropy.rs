//! Cross-entropy of rows of logits with their labels, in one pass each way, without their softmax in memory.

use crate::autodiff::At;
use crate::choice::{self, Lanes};
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::tensor::Tensor;

static CROSS_ENTROPY: Shader = shader!("loss/cross_entropy.wgsl");

/// Whole numbers up to here are exact in f32.
const EXACT: usize = 1 << 24;

/// x [.., C], labels [..] → loss = ln Σ exp(x − m) − (x\[label\] − m), m = max x, and that logarithm, each [..].
///
/// Of the last two only their sum, the logarithm of Σ exp x, is to be used behind x: as if m were a constant, which
/// leaves the derivative of the sum as it is, the cotangent of m is left out.
struct CrossEntropy;

/// What is known of each row of logits.
pub(super) struct Entropies {
    logits: Tensor,
    /// −ln softmax(logits)\[label\].
    pub losses: Tensor,
    largest: Tensor,
    spread: Tensor,
}

impl Entropies {
    /// Of logits `[.., C]` and labels `[..]` in 0..C.
    pub fn of(logits: &Tensor, labels: &Tensor) -> Result<Self> {
        let mut found = op::apply(CrossEntropy, &[logits, labels])?;
        let (spread, largest) = (found.swap_remove(2), found.swap_remove(1));
        Ok(Entropies { logits: logits.clone(), losses: found.swap_remove(0), largest, spread })
    }

    /// ln softmax(logits), `[.., C]`.
    pub fn log_softmax(&self) -> Result<Tensor> {
        log_softmax(&self.logits, &self.largest, &self.spread)?.to_dtype(self.logits.dtype())
    }
}

/// In the wide type.
fn log_softmax(x: &Tensor, largest: &Tensor, spread: &Tensor) -> Result<Tensor> {
    let [largest, spread] = [largest, spread].map(|t| t.unsqueeze(t.rank()));
    Tensor::map([&x.to_dtype(x.dtype().wide())?, &largest?, &spread?], |[x, m, rest]| (x - m) - rest)
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, labels) = (inputs[0], inputs[1]);
        if !x.dtype.is_float() {
            return Err(Error::dtype(self.name(), x.to_string(), "Convert to a float with to_dtype."));
        }
        if x.shape.last().is_some_and(|&classes| classes > EXACT) {
            return Err(Error::shape(self.name(), x.to_string(), "There may be 2^24 classes at most."));
        }
        let wide = Meta::new(labels.shape, x.dtype.wide());
        Ok(vec![Meta::new(labels.shape, x.dtype), wide, wide])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, labels) = (inputs.real(0), inputs.int(1));
        let classes = x.shape[x.shape.rank() - 1];
        let shape = outputs[0].shape;
        let largest =
            Array::from_fn(shape, |r| x.row(r, classes).iter().copied().reduce(R::max).unwrap_or_default());
        let spread = Array::from_fn(shape, |r| {
            R::sum(x.row(r, classes).iter().map(|&value| (value - largest.data[r]).exp())).ln()
        });
        let losses = Array::from_fn(shape, |r| {
            spread.data[r] - (x.row(r, classes)[labels.data[r] as usize] - largest.data[r])
        });
        [losses, largest, spread].into_iter().map(Data::Real).collect()
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (rows, x) = (outputs[0].shape().count(), inputs[0].shape());
        let terms = x[x.rank() - 1];
        let candidates = choice::rows(&gpu.capabilities(), rows, terms, 1);
        let Lanes(lanes) = gpu.choose(self.name(), &[rows, terms], candidates);
        let width = if terms.is_multiple_of(4) { 4 } else { 1 };
        let turns = choice::turns_of_rows(lanes, terms / width as usize);
        choice::check_turns(&gpu.capabilities(), self.name(), turns)?;
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&CROSS_ENTROPY, &[("LANES", lanes), ("WIDTH", width), ("X", width)]),
            params: bytemuck::cast_slice(&[rows as u32, terms as u32 / width]),
            buffers: &op::buffers(inputs, outputs),
            groups: gpu.fold(rows, (64 / lanes) as usize),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11, 0b110)
    }

    // With p = softmax x: dx = p·(dloss + dspread) − one-hot(label)·dloss.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let (x, labels) = (at.input(0)?, at.input(1)?);
        let wide = x.dtype().wide();
        let column = |t: &Tensor| t.unsqueeze(t.rank())?.to_dtype(wide);
        let log = log_softmax(&x, &at.output(1)?, &at.output(2)?)?;
        let dloss = dy[0].as_ref().map(column).transpose()?;
        let dspread = dy[2].as_ref().map(column).transpose()?;
        let slope = |dy: &Tensor| Tensor::map([&log, dy], |[log, dy]| log.exp() * dy);
        let mut dx = dspread.map(|dspread| slope(&dspread)).transpose()?;
        if let Some(dloss) = dloss {
            let classes = Tensor::arange(x.device(), 0, x.shape()[x.rank() - 1] as i32)?.to_dtype(wide)?;
            let own =
                Tensor::map([&log, &dloss, &column(&labels)?, &classes], |[log, dloss, label, class]| {
                    dloss * (log.exp() - label.equal(class))
                })?;
            dx = Some(dx.map_or(Ok(own.clone()), |dx| dx.add(&own))?);
        }
        Ok(vec![dx.map(|dx| dx.to_dtype(x.dtype())).transpose()?, None])
    }

    // With p = softmax x: spread' = Σ p·x', loss' = spread' − x'[label].
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None; 3]) };
        let (x, wide) = (at.input(0)?, dx.dtype().wide());
        let log = log_softmax(&x, &at.output(1)?, &at.output(2)?)?;
        let terms = Tensor::map([&log, &dx.to_dtype(wide)?], |[log, dx]| log.exp() * dx)?;
        let dspread = terms.sum(&[-1], false)?;
        let dloss = dspread.sub(&dx.pick(&at.input(1)?)?.to_dtype(wide)?)?.to_dtype(dx.dtype())?;
        Ok(vec![Some(dloss), None, Some(dspread)])
    }
}
