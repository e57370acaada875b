//! Two-dimensional convolution (cross-correlation, as the field calls it) and its two gradients.
//!
//! With x `[B, C, H, W]`, w `[O, C/groups, kh, kw]` and source(p, t) = p·stride + t·dilation − padding:
//!
//! y\[b, o, p\] = Σ_{c, t} w\[o, c, t\] · x\[b, c, source(p, t)\], where taps outside the image read zero.
//!
//! The three operations share one trilinear form ⟨y, conv(x, w)⟩ = ⟨x, dx(y, w)⟩ = ⟨w, dw(x, y)⟩, so each
//! is the gradient of the others and the family is closed under differentiation.

mod cases;
mod cpu;
mod depthwise;
mod gpu;
mod more;
mod more_cases;
mod options;
mod subgroup;
mod tiled;
mod transposed;

pub(super) use options::same;
pub use options::{Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvOptions};

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    cases::rooms().into_iter().chain(more_cases::rooms()).collect()
}

use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The extents of a convolution, all checked.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub batch: usize,
    /// Channels of x and of y, of one group.
    pub cin: usize,
    pub cout: usize,
    pub x: [usize; 2],
    pub y: [usize; 2],
    pub kernel: [usize; 2],
    pub options: Conv2dOptions,
}

const OP: &str = "conv2d";

impl Extents {
    /// From the shapes of x and w.
    fn new(x: &Meta, w: &Meta, options: Conv2dOptions) -> Result<Self> {
        let (image, kernel) = options.check(OP, x, w, false)?;
        let y = options.extent(0, image[0], kernel[0]).zip(options.extent(1, image[1], kernel[1]));
        let Some((yh, yw)) = y else {
            let given = format!("input {x}, weight {w}, {options:?}");
            return Err(Error::shape(OP, given, "The kernel is larger than the padded image: pad more."));
        };
        let (batch, cin, cout) = (x.shape[0], w.shape[1], w.shape[0] / options.groups);
        Ok(Extents { batch, cin, cout, x: image, y: [yh, yw], kernel, options })
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn x_shape(&self) -> Result<Shape> {
        Shape::new(&[self.batch, self.cin * self.options.groups, self.x[0], self.x[1]])
    }

    fn y_shape(&self) -> Result<Shape> {
        Shape::new(&[self.batch, self.cout * self.options.groups, self.y[0], self.y[1]])
    }

    fn w_shape(&self) -> Result<Shape> {
        Shape::new(&[self.cout * self.options.groups, self.cin, self.kernel[0], self.kernel[1]])
    }

    /// For a line of output positions of one image and group: what each of them reads, tap by tap for
    /// each channel, one position after the other.
    fn patches<R: Real>(&self, x: &[R], image: usize, group: usize, line: usize) -> Vec<R> {
        let plane = self.x[0] * self.x[1];
        let first = (image * self.options.groups + group) * self.cin * plane;
        let mut out = Vec::with_capacity(self.y[1] * self.cin * self.taps());
        for px in 0..self.y[1] {
            for c in 0..self.cin {
                for i in 0..self.kernel[0] {
                    let sy = self.options.source(0, line, i, self.x[0]);
                    for j in 0..self.kernel[1] {
                        let at = sy.zip(self.options.source(1, px, j, self.x[1]));
                        out.push(
                            at.map_or(R::default(), |(y, x_)| x[first + c * plane + y * self.x[1] + x_]),
                        );
                    }
                }
            }
        }
        out
    }

    /// For a line of input positions: what was read there, from the output's side.
    fn readers<R: Real>(&self, dy: &[R], image: usize, group: usize, line: usize) -> Vec<R> {
        let plane = self.y[0] * self.y[1];
        let first = (image * self.options.groups + group) * self.cout * plane;
        let mut out = Vec::with_capacity(self.x[1] * self.cout * self.taps());
        for px in 0..self.x[1] {
            for o in 0..self.cout {
                for i in 0..self.kernel[0] {
                    let sy = self.options.reader(0, line, i, self.y[0]);
                    for j in 0..self.kernel[1] {
                        let at = sy.zip(self.options.reader(1, px, j, self.y[1]));
                        out.push(at.map_or(R::default(), |(y, x)| dy[first + o * plane + y * self.y[1] + x]));
                    }
                }
            }
        }
        out
    }
}

/// A product of lines: y\[b, g·rows + m, line, p\] = Σ_k lhs\[g, m, k\]·patches(b, g, line)\[p, k\].
fn lines<R: Real>(
    shape: Shape,
    lhs: &[R],
    (rows, terms, groups): (usize, usize, usize),
    patches: impl Fn(usize, usize, usize) -> Vec<R> + Send + Sync,
) -> Array<R> {
    use rayon::prelude::*;
    let (height, width) = (shape[2], shape[3]);
    let mut data = vec![R::default(); shape.count()];
    data.par_chunks_mut((rows * height * width).max(1)).enumerate().for_each(|(at, out)| {
        let (image, group) = (at / groups, at % groups);
        for line in 0..height {
            let patch = patches(image, group, line);
            for m in 0..rows {
                let row = &lhs[(group * rows + m) * terms..][..terms];
                for px in 0..width {
                    let column = &patch[px * terms..][..terms];
                    out[(m * height + line) * width + px] =
                        R::dot(row.iter().copied().zip(column.iter().copied()));
                }
            }
        }
    });
    Array { shape, data }
}

/// conv(x, w), plus a bias for each output channel if there is a third input.
struct Conv2d(Conv2dOptions);
/// The gradient with respect to x, from (dy, w).
struct InputGradient(Extents);
/// The gradient with respect to w, from (x, dy).
struct WeightGradient(Extents);

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        OP
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let e = Extents::new(&inputs[0], &inputs[1], self.0)?;
        if let Some(bias) = inputs.get(2)
            && !bias.dtype.is_float()
        {
            return Err(Error::dtype(OP, format!("bias {bias}"), "Convert to a float with to_dtype."));
        }
        if let Some(bias) = inputs.get(2)
            && *bias.shape != [inputs[1].shape[0]]
        {
            let given = format!("bias {bias} for weight {}", inputs[1]);
            return Err(Error::shape(OP, given, "The bias has one entry for each output channel."));
        }
        Ok(vec![Meta::new(e.y_shape()?, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (x, w) = (inputs.real(0), inputs.real(1));
        let meta = |a: &Array<R>| Meta::new(a.shape, outputs[0].dtype);
        let Ok(e) = Extents::new(&meta(x), &meta(w), self.0) else { return vec![] };
        let product = (e.cout, e.cin * e.taps(), self.0.groups);
        let mut y = lines(outputs[0].shape, &w.data, product, |b, g, line| e.patches(&x.data, b, g, line));
        if inputs.len() > 2 {
            let (bias, plane) = (&inputs.real(2).data, e.y[0] * e.y[1]);
            for (channel, plane) in y.data.chunks_mut(plane.max(1)).enumerate() {
                plane.iter_mut().for_each(|y| *y = *y + bias[channel % bias.len()]);
            }
        }
        vec![Data::Real(y)]
    }

    fn native(&self, inputs: &Inputs<f32>, outputs: &[Meta]) -> Option<Vec<Data<f32>>> {
        let (x, w) = (inputs.real(0), inputs.real(1));
        let meta = |a: &Array<f32>| Meta::new(a.shape, outputs[0].dtype);
        let e = Extents::new(&meta(x), &meta(w), self.0).ok()?;
        let bias = (inputs.len() > 2).then(|| &inputs.real(2).data[..]);
        let data = cpu::forward(&e, &x.data, &w.data, bias);
        Some(vec![Data::Real(Array { shape: outputs[0].shape, data })])
    }

    fn epilogue(&self) -> bool {
        true
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let meta = |v: &GpuView| Meta::new(*v.shape(), crate::dtype::DType::F32);
        let e = Extents::new(&meta(&inputs[0]), &meta(&inputs[1]), self.0)?;
        gpu::product(gpu, &e, false, (&inputs[1], &inputs[0], inputs.get(2)), &outputs[0])
    }

    fn flops(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        2 * (outputs[0].shape.count() * inputs[1].shape[1..].iter().product::<usize>()) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11, 0)
    }

    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; at.inputs()]) };
        let e = Extents::new(&at.input_meta(0), &at.input_meta(1), self.0)?;
        let mut out = vec![None; at.inputs()];
        if at.needs(0) {
            out[0] = Some(single(InputGradient(e), &[dy, &at.input(1)?])?);
        }
        if at.needs(1) {
            out[1] = Some(single(WeightGradient(e), &[&at.input(0)?, dy])?);
        }
        if at.inputs() > 2 && at.needs(2) {
            out[2] = Some(dy.sum(&[0, 2, 3], false)?);
        }
        Ok(out)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut terms = Vec::new();
        if let Some(dx) = &dx[0] {
            terms.push(dx.conv2d(&at.input(1)?, None, self.0)?);
        }
        if let Some(dw) = &dx[1] {
            terms.push(at.input(0)?.conv2d(dw, None, self.0)?);
        }
        if let Some(Some(db)) = dx.get(2) {
            terms.push(db.reshape([1, db.count(), 1, 1])?.broadcast_to(at.output_meta(0).shape)?);
        }
        add_all(terms)
    }
}

impl Op for InputGradient {
    fn name(&self) -> &'static str {
        "conv2d_input_gradient"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(self.0.x_shape()?, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (e, dy, w) = (&self.0, inputs.real(0), inputs.real(1));
        let (taps, groups) = (e.taps(), e.options.groups);
        // The weight with input channels as rows: [groups, cin, cout, taps].
        let turned = Array::from_fn(w.shape, |at| {
            let (g, rest) = (at / (e.cin * e.cout * taps), at % (e.cin * e.cout * taps));
            let (c, o, t) = (rest / (e.cout * taps), rest / taps % e.cout, rest % taps);
            w.data[((g * e.cout + o) * e.cin + c) * taps + t]
        });
        let product = (e.cin, e.cout * taps, groups);
        vec![Data::Real(lines(outputs[0].shape, &turned.data, product, |b, g, line| {
            e.readers(&dy.data, b, g, line)
        }))]
    }

    fn native(&self, inputs: &Inputs<f32>, outputs: &[Meta]) -> Option<Vec<Data<f32>>> {
        let data = cpu::input_gradient(&self.0, &inputs.real(0).data, &inputs.real(1).data);
        Some(vec![Data::Real(Array { shape: outputs[0].shape, data })])
    }

    fn epilogue(&self) -> bool {
        true
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        gpu::product(gpu, &self.0, true, (&inputs[1], &inputs[0], None), &outputs[0])
    }

    fn flops(&self, inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        2 * (inputs[0].shape.count() * inputs[1].shape[1..].iter().product::<usize>()) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11, 0)
    }

    // Linear in both: the cotangent u of dx has the shape of x.
    fn vjp(&self, at: &At, u: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(u) = &u[0] else { return Ok(vec![None; 2]) };
        Ok(vec![
            at.needs(0).then(|| u.conv2d(&at.input(1)?, None, self.0.options)).transpose()?,
            at.needs(1).then(|| single(WeightGradient(self.0), &[u, &at.input(0)?])).transpose()?,
        ])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut terms = Vec::new();
        if let Some(d) = &dx[0] {
            terms.push(single(InputGradient(self.0), &[d, &at.input(1)?])?);
        }
        if let Some(d) = &dx[1] {
            terms.push(single(InputGradient(self.0), &[&at.input(0)?, d])?);
        }
        add_all(terms)
    }
}

impl Op for WeightGradient {
    fn name(&self) -> &'static str {
        "conv2d_weight_gradient"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(self.0.w_shape()?, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (e, x, dy) = (&self.0, inputs.real(0), inputs.real(1));
        let (taps, groups, plane) = (e.taps(), e.options.groups, e.y[0] * e.y[1]);
        let (cin, cout) = (e.cin, e.cout);
        // A row of dw at a time: the terms of one output channel, then of each of its taps, over all images.
        let rows = Array::from_rows(outputs[0].shape, taps, |row| {
            let (o, c) = (row / cin, row % cin);
            let g = o / cout;
            let read: Vec<R> = (0..e.batch)
                .flat_map(|b| dy.data[(b * groups * cout + o) * plane..][..plane].iter().copied())
                .collect();
            (0..taps)
                .map(|t| {
                    let (i, j) = (t / e.kernel[1], t % e.kernel[1]);
                    let terms = (0..e.batch * plane).map(|at| {
                        let (b, p) = (at / plane, at % plane);
                        let sy = e.options.source(0, p / e.y[1], i, e.x[0]);
                        let sx = e.options.source(1, p % e.y[1], j, e.x[1]);
                        let first = (b * groups * cin + g * cin + c) * e.x[0];
                        let value = sy.zip(sx).map(|(y, x_)| x.data[(first + y) * e.x[1] + x_]);
                        (read[at], value.unwrap_or_default())
                    });
                    R::dot(terms)
                })
                .collect()
        });
        vec![Data::Real(rows)]
    }

    fn native(&self, inputs: &Inputs<f32>, outputs: &[Meta]) -> Option<Vec<Data<f32>>> {
        let data = cpu::weight_gradient(&self.0, &inputs.real(0).data, &inputs.real(1).data);
        Some(vec![Data::Real(Array { shape: outputs[0].shape, data })])
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        gpu::weight_gradient(gpu, &self.0, &inputs[1], &inputs[0], &outputs[0])
    }

    fn flops(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        2 * (inputs[1].shape.count() * outputs[0].shape[1..].iter().product::<usize>()) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11, 0)
    }

    fn vjp(&self, at: &At, u: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(u) = &u[0] else { return Ok(vec![None; 2]) };
        Ok(vec![
            at.needs(0).then(|| single(InputGradient(self.0), &[&at.input(1)?, u])).transpose()?,
            at.needs(1).then(|| at.input(0)?.conv2d(u, None, self.0.options)).transpose()?,
        ])
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut terms = Vec::new();
        if let Some(d) = &dx[0] {
            terms.push(single(WeightGradient(self.0), &[d, &at.input(1)?])?);
        }
        if let Some(d) = &dx[1] {
            terms.push(single(WeightGradient(self.0), &[&at.input(0)?, d])?);
        }
        add_all(terms)
    }
}

fn single(op: impl Op, inputs: &[&Tensor]) -> Result<Tensor> {
    Ok(op::apply(op, inputs)?.swap_remove(0))
}

fn add_all(terms: Vec<Tensor>) -> Result<Vec<Option<Tensor>>> {
    let mut terms = terms.into_iter();
    let Some(first) = terms.next() else { return Ok(vec![None]) };
    Ok(vec![Some(terms.try_fold(first, |sum, term| sum.add(&term))?)])
}

impl Tensor {
    /// Two-dimensional convolution, as cross-correlation.
    ///
    /// `self` `[B, C, H, W]`, `weight` `[O, C/groups, kh, kw]`, `bias` `[O]` → `[B, O, H′, W′]` with
    /// H′ = ⌊(H + padding on both sides − dilation·(kh − 1) − 1)/stride⌋ + 1, and W′ alike. Gradients: by the transposed
    /// product and the correlation of input and cotangent; each can be differentiated again.
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`]; [`Error::Argument`] for a zero stride,
    /// dilation or number of groups. Source: Dumoulin & Visin 2016, arXiv:1603.07285.
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, options: Conv2dOptions) -> Result<Tensor> {
        match bias {
            Some(bias) => single(Conv2d(options), &[self, weight, bias]),
            None => single(Conv2d(options), &[self, weight]),
        }
    }
}
