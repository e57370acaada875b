//! Maxima over windows: the values and where they are, the scatter that is their gradient, and its transpose.

use super::{Pool2d, launch, plane};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::Result;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static MAX: Shader = shader!("pool/max.wgsl");
static SCATTER: Shader = shader!("pool/scatter.wgsl");
static GATHER: Shader = shader!("pool/gather.wgsl");

/// y = the largest of each window, and where in the plane it is.
pub(super) struct MaxPool {
    pub pool: Pool2d,
}

impl Op for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        let shape = self.pool.output("max_pool2d", &x)?;
        let mut positions = Meta::new(shape, DType::I32);
        positions.range = Some((0, (x.shape[2] * x.shape[3]) as i32 - 1));
        Ok(vec![Meta::new(shape, x.dtype), positions])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, shape) = (inputs.real(0), outputs[0].shape);
        let (windows, columns) = (shape[2] * shape[3], shape[3]);
        let image = |o: usize| x.row(o / windows, x.shape[2] * x.shape[3]);
        let window = |o: usize| self.pool.positions(o % windows, columns, plane(&x.shape));
        let largest = |o: usize| window(o).map(|at| image(o)[at]).reduce(R::max).unwrap_or_default();
        let first = |o: usize| {
            let value = |at: usize| image(o)[at].to_f64();
            window(o).reduce(|best, at| if value(at) > value(best) { at } else { best }).unwrap_or_default()
        };
        vec![
            Data::Real(Array::from_fn(shape, largest)),
            Data::Int(Array::from_fn(shape, |o| first(o) as i32)),
        ]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y) = (inputs[0].shape(), outputs[0].shape());
        launch(gpu, (&MAX, &[]), &self.pool, (x, y, y.count()), &op::buffers(inputs, outputs))
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0b10)
    }

    // y = x[position]: dx = dy at the position, and the position itself has derivative zero.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        let images = at.input_meta(0).shape;
        Ok(vec![Some(scatter(dy, &at.output(1)?.detach(), self.pool, images)?)])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(gather(dx, &at.output(1)?.detach(), self.pool)?), None])
    }
}

/// dx[p, position[o]] = Σ dy[o]. Positions come from [`MaxPool`]: each lies in its own window.
struct Scatter {
    pool: Pool2d,
    images: Shape,
}

pub(super) fn scatter(dy: &Tensor, positions: &Tensor, pool: Pool2d, images: Shape) -> Result<Tensor> {
    Ok(op::apply(Scatter { pool, images }, &[dy, positions])?.swap_remove(0))
}

impl Op for Scatter {
    fn name(&self) -> &'static str {
        "max_pool2d_scatter"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(self.images, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (dy, positions) = (inputs.real(0), inputs.int(1));
        let size = self.images[2] * self.images[3];
        let windows = dy.shape[2] * dy.shape[3];
        vec![Data::Real(Array::from_rows(outputs[0].shape, size, |p| {
            let (dy, positions) = (dy.row(p, windows), positions.row(p, windows));
            let mut order: Vec<usize> = (0..windows).collect();
            order.sort_by_key(|&o| positions[o]);
            let mut dx = vec![R::default(); size];
            for group in order.chunk_by(|&a, &b| positions[a] == positions[b]) {
                dx[positions[group[0]] as usize] = R::sum(group.iter().map(|&o| dy[o]));
            }
            dx
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (y, x) = (inputs[0].shape(), outputs[0].shape());
        let apart = (0..2).all(|k| self.pool.reach(k).is_some_and(|reach| reach <= self.pool.stride[k]));
        let count = if apart { y.count() } else { x.count() };
        let constants = [("APART", apart.into())];
        launch(gpu, (&SCATTER, &constants), &self.pool, (x, y, count), &op::buffers(inputs, outputs))
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in dy, and gathering is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        Ok(vec![Some(gather(dy, &at.input(1)?, self.pool)?), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        Ok(vec![Some(scatter(dx, &at.input(1)?, self.pool, self.images)?)])
    }
}

/// y[o] = x[p, position[o]].
struct Gather {
    pool: Pool2d,
}

pub(super) fn gather(x: &Tensor, positions: &Tensor, pool: Pool2d) -> Result<Tensor> {
    Ok(op::apply(Gather { pool }, &[x, positions])?.swap_remove(0))
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "max_pool2d_gather"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(inputs[1].shape, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, positions) = (inputs.real(0), inputs.int(1));
        let windows = positions.shape[2] * positions.shape[3];
        let image = |o: usize| x.row(o / windows, x.shape[2] * x.shape[3]);
        vec![Data::Real(Array::from_fn(outputs[0].shape, |o| image(o)[positions.data[o] as usize]))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y) = (inputs[0].shape(), outputs[0].shape());
        let params = [y.count() as u32, (x[2] * x[3]) as u32, (y[2] * y[3]) as u32];
        gpu.dispatch(Dispatch {
            op: "max_pool2d_gather",
            source: Source::File(&GATHER, &[]),
            params: bytemuck::cast_slice(&params),
            buffers: &op::buffers(inputs, outputs),
            groups: gpu.fold(y.count(), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b10, 0)
    }

    // Linear in x, and scattering is its transpose.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let images = at.input_meta(0).shape;
        Ok(vec![Some(scatter(dy, &at.input(1)?, self.pool, images)?), None])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        Ok(vec![Some(gather(dx, &at.input(1)?, self.pool)?)])
    }
}
