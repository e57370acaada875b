//! Sums over windows, and the transpose that spreads each output over its window.

use super::{Pool2d, launch, plane};
use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::Result;
use crate::gpu::{Gpu, Shader, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static SUM: Shader = shader!("pool/sum.wgsl");
static SPREAD: Shader = shader!("pool/spread.wgsl");

/// y = Σ x over each window.
pub(super) struct SumPool {
    pub pool: Pool2d,
}

impl Op for SumPool {
    fn name(&self) -> &'static str {
        "sum_pool2d"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(self.pool.output("sum_pool2d", &inputs[0])?, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, shape) = (inputs.real(0), outputs[0].shape);
        let (windows, columns) = (shape[2] * shape[3], shape[3]);
        vec![Data::Real(Array::from_fn(shape, |o| {
            let image = x.row(o / windows, x.shape[2] * x.shape[3]);
            R::sum(self.pool.positions(o % windows, columns, plane(&x.shape)).map(|at| image[at]))
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (x, y) = (inputs[0].shape(), outputs[0].shape());
        launch(gpu, (&SUM, &[]), &self.pool, (x, y, y.count()), &op::buffers(inputs, outputs))
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        Ok(vec![Some(spread(dy, self.pool, at.input_meta(0).shape)?)])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| dx.sum_pool2d(self.pool)).transpose()?])
    }
}

/// dx = Σ dy over the windows that contain an element.
struct Spread {
    pool: Pool2d,
    images: Shape,
}

pub(super) fn spread(dy: &Tensor, pool: Pool2d, images: Shape) -> Result<Tensor> {
    Ok(op::apply(Spread { pool, images }, &[dy])?.swap_remove(0))
}

impl Op for Spread {
    fn name(&self) -> &'static str {
        "sum_pool2d_spread"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(self.images, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let dy = inputs.real(0);
        let (windows, columns) = (dy.shape[2] * dy.shape[3], dy.shape[3]);
        let size = self.images[2] * self.images[3];
        vec![Data::Real(Array::from_rows(outputs[0].shape, size, |p| {
            let mut terms = vec![Vec::new(); size];
            for (o, &dy) in dy.row(p, windows).iter().enumerate() {
                self.pool.positions(o, columns, plane(&self.images)).for_each(|at| terms[at].push(dy));
            }
            terms.into_iter().map(R::sum).collect()
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (y, x) = (inputs[0].shape(), outputs[0].shape());
        launch(gpu, (&SPREAD, &[]), &self.pool, (x, y, x.count()), &op::buffers(inputs, outputs))
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, _: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dy[0].as_ref().map(|dy| dy.sum_pool2d(self.pool)).transpose()?])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| spread(dx, self.pool, self.images)).transpose()?])
    }
}
