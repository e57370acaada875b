//! One element of each row, chosen by a label: what cross-entropy reads.

use super::{check_integers, in_range};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static PICK: Shader = shader!("index/pick.wgsl");
static UNPICK: Shader = shader!("index/unpick.wgsl");

/// y[r] = x[r, labels[r]].
struct Pick;

/// y[r,c] = x[r] where c = labels[r], else zero.
struct Unpick {
    classes: usize,
}

/// The rule common to both: floats, and one label for each of `rows`.
fn check(op: &'static str, x: &Meta, rows: &[usize], labels: &Meta) -> Result<()> {
    if !x.dtype.is_float() {
        return Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."));
    }
    check_integers(op, labels)?;
    if *labels.shape != *rows {
        return Err(Error::shape(op, format!("{x} with labels {labels}"), "Give one label for each row."));
    }
    Ok(())
}

fn launch(
    gpu: &Gpu,
    shader: &'static Shader,
    classes: usize,
    inputs: &[GpuView],
    output: &GpuView,
) -> Result<()> {
    let count = output.shape().count();
    gpu.dispatch(Dispatch {
        op: "pick",
        source: Source::File(shader, &[]),
        params: bytemuck::cast_slice(&[count as u32, classes as u32]),
        buffers: &[&inputs[0].buffer, &inputs[1].buffer, &output.buffer],
        groups: gpu.fold(count, 64),
    })
}

impl Op for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, labels) = (inputs[0], inputs[1]);
        let Some((_, rows)) = x.shape.split_last() else {
            return Err(Error::shape("pick", x.to_string(), "Give at least one axis, the classes."));
        };
        check("pick", &x, rows, &labels)?;
        Ok(vec![Meta::new(labels.shape, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, labels) = (inputs.real(0), inputs.int(1));
        let classes = x.shape[x.shape.rank() - 1];
        vec![Data::Real(Array::from_fn(outputs[0].shape, |r| x.row(r, classes)[labels.data[r] as usize]))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let x = inputs[0].shape();
        launch(gpu, &PICK, x[x.rank() - 1], inputs, &outputs[0])
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and putting back among zeros is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let x = at.input_meta(0).shape;
        let unpick = Unpick { classes: x[x.rank() - 1] };
        Ok(vec![Some(op::apply(unpick, &[dy, &at.input(1)?])?.swap_remove(0)), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        op::apply(Pick, &[dx, &at.input(1)?]).map(|y| y.into_iter().map(Some).collect())
    }
}

impl Op for Unpick {
    fn name(&self) -> &'static str {
        "unpick"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (x, labels) = (inputs[0], inputs[1]);
        check("unpick", &x, &x.shape, &labels)?;
        let mut dims = x.shape.to_vec();
        dims.push(self.classes);
        Ok(vec![Meta::new(Shape::new(&dims)?, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, labels) = (inputs.real(0), inputs.int(1));
        vec![Data::Real(Array::from_rows(outputs[0].shape, self.classes, |r| {
            let mut row = vec![R::default(); self.classes];
            row[labels.data[r] as usize] = x.data[r];
            row
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        launch(gpu, &UNPICK, self.classes, inputs, &outputs[0])
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and picking is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(op::apply(Pick, &[dy, &at.input(1)?])?.swap_remove(0)), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        op::apply(Unpick { ..*self }, &[dx, &at.input(1)?]).map(|y| y.into_iter().map(Some).collect())
    }
}

impl Tensor {
    /// One element of each row along the last axis: y[..] = x[.., labels[..]].
    ///
    /// x `[.., C]` float, labels `[..]` i32 → `[..]`. Gradient: [`unpick`](Self::unpick), saving the
    /// labels. Exact. Errors: [`Error::Index`] for a label outside 0..C, [`Error::Shape`],
    /// [`Error::DType`].
    pub fn pick(&self, labels: &Tensor) -> Result<Tensor> {
        let classes = self.shape().last().copied().unwrap_or(0);
        let labels = in_range("pick", labels, classes)?;
        Ok(op::apply(Pick, &[self, &labels])?.swap_remove(0))
    }

    /// Each element at its label among `classes` zeros: y[.., c] = x[..] where c = labels[..], else 0. The
    /// transpose of [`pick`](Self::pick); of ones it is the one-hot code of the labels.
    ///
    /// x `[..]` float, labels `[..]` i32 → `[.., classes]`. Gradient: `pick`, saving the labels. Exact.
    /// Errors: [`Error::Index`], [`Error::Shape`], [`Error::DType`].
    pub fn unpick(&self, labels: &Tensor, classes: usize) -> Result<Tensor> {
        let labels = in_range("unpick", labels, classes)?;
        Ok(op::apply(Unpick { classes }, &[self, &labels])?.swap_remove(0))
    }
}
