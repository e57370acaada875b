//! Softmax and its logarithm, along any axis.

use crate::autodiff::At;
use crate::choice::{self, Lanes};
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;

static SOFTMAX: Shader = shader!("softmax/softmax.wgsl");

/// exp(x − max) / Σ exp(x − max) along one axis, or the logarithm of that.
pub(crate) struct Softmax {
    pub axis: usize,
    pub log: bool,
}

impl Softmax {
    /// How many elements lie before the axis, along it, and behind it.
    fn extents(&self, shape: &Shape) -> (usize, usize, usize) {
        (shape[..self.axis].iter().product(), shape[self.axis], shape[self.axis + 1..].iter().product())
    }

    fn sum(&self, x: &Tensor) -> Result<Tensor> {
        x.sum(&[self.axis as isize], true)
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let x = inputs[0];
        if !x.dtype.is_float() {
            return Err(Error::dtype(self.name(), x.to_string(), "Convert to a float with to_dtype."));
        }
        Ok(vec![Meta::new(x.shape, x.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, _: &[Meta]) -> Vec<Data<R>> {
        let x = inputs.real(0);
        let (outer, terms, inner) = self.extents(&x.shape);
        // The maximum of each row, and the sum of its exponentials.
        let rows = Array::from_fn(Shape::known(&[outer * inner]), |row| {
            let base = row / inner * terms * inner + row % inner;
            let values = || (0..terms).map(|term| x.data[base + term * inner]);
            let largest = values().reduce(R::max).unwrap_or_default();
            (largest, R::sum(values().map(|value| (value - largest).exp())))
        });
        vec![Data::Real(Array::from_fn(x.shape, |i| {
            let (largest, total) = rows.data[i / (terms * inner) * inner + i % inner];
            let difference = x.data[i] - largest;
            if self.log { difference - total.ln() } else { difference.exp() / total }
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (outer, terms, inner) = self.extents(inputs[0].shape());
        let rows = outer * inner;
        let candidates = choice::rows(&gpu.capabilities(), rows, terms, inner);
        let Lanes(lanes) = gpu.choose(self.name(), &[rows, terms, inner], candidates);
        let width = if inner == 1 && terms.is_multiple_of(4) { 4 } else { 1 };
        let turns = choice::turns_of_rows(lanes, terms / width as usize);
        choice::check_turns(&gpu.capabilities(), self.name(), turns)?;
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(
                &SOFTMAX,
                &[("LANES", lanes), ("LOG", self.log.into()), ("WIDTH", width), ("X", width)],
            ),
            params: bytemuck::cast_slice(&[rows as u32, terms as u32 / width, inner as u32]),
            buffers: &op::buffers(inputs, outputs),
            groups: gpu.fold(rows, (64 / lanes) as usize),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 1)
    }

    // y = softmax x: dx = y ⊙ (dy − Σ y·dy). y = log_softmax x: dx = dy − exp(y)·Σ dy.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None]) };
        let y = at.output(0)?;
        let dx = if self.log {
            Tensor::map([dy, &y, &self.sum(dy)?], |[dy, y, total]| dy - y.exp() * total)?
        } else {
            Tensor::map([dy, &y, &self.sum(&y.mul(dy)?)?], |[dy, y, total]| y * (dy - total))?
        };
        Ok(vec![Some(dx)])
    }

    // The Jacobian of softmax, diag y − y·yᵀ, is symmetric; that of log_softmax is 1 − 1·exp(y)ᵀ.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dx) = &dx[0] else { return Ok(vec![None]) };
        let y = at.output(0)?;
        let dy = if self.log {
            dx.sub(&self.sum(&Tensor::map([dx, &y], |[dx, y]| y.exp() * dx)?)?)?
        } else {
            Tensor::map([dx, &y, &self.sum(&y.mul(dx)?)?], |[dx, y, total]| y * (dx - total))?
        };
        Ok(vec![Some(dy)])
    }
}

impl Tensor {
    fn softmax_of(&self, axis: isize, log: bool) -> Result<Tensor> {
        let axis = self.shape().axis(if log { "log_softmax" } else { "softmax" }, axis)?;
        Ok(op::apply(Softmax { axis, log }, &[self])?.swap_remove(0))
    }

    /// Softmax along `axis` (negative ones count from the end): yᵢ = exp(xᵢ − max x) / Σⱼ exp(xⱼ − max x).
    ///
    /// Logits in nats, of any size: nothing overflows. Same shape and type; an axis of extent zero gives an
    /// empty result. To mask an element, add a large negative number: WGSL does not promise infinities.
    /// Gradient: dx = y ⊙ (dy − Σ y·dy), keeping y.
    /// Errors: [`Error::Axis`], [`Error::DType`] for integers.
    pub fn softmax(&self, axis: isize) -> Result<Tensor> {
        self.softmax_of(axis, false)
    }

    /// The logarithm of [`softmax`](Self::softmax): yᵢ = (xᵢ − max x) − ln Σⱼ exp(xⱼ − max x), in nats.
    ///
    /// Accurate where softmax itself is too small for a float. Gradient: dx = dy − exp(y)·Σ dy, keeping y.
    /// Errors: [`Error::Axis`], [`Error::DType`] for integers.
    pub fn log_softmax(&self, axis: isize) -> Result<Tensor> {
        self.softmax_of(axis, true)
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    vec![
        crate::verify::Room { op: "softmax", cases: cases("softmax", Tensor::softmax) },
        crate::verify::Room { op: "log_softmax", cases: cases("log_softmax", Tensor::log_softmax) },
    ]
}

fn cases(op: &'static str, f: fn(&Tensor, isize) -> Result<Tensor>) -> Vec<crate::verify::Case> {
    use crate::verify::{Case, Input};
    let case = move |detail: &str, input: Input, axis: isize| {
        Case::new(op, detail, [input], move |x| f(&x[0], axis))
    };
    let shapes: [(&[usize], isize); 29] = [
        (&[1], 0),
        (&[7, 1], 1),
        (&[5, 2], -1),
        (&[9, 7], 1),
        (&[9, 8], 1),
        (&[9, 9], 1),
        (&[3, 31], 1),
        (&[3, 32], 1),
        (&[5, 63], 1),
        (&[5, 64], 1),
        (&[5, 65], 1),
        (&[3, 127], 1),
        (&[3, 129], 1),
        (&[41, 47], 0),
        (&[3, 61, 5], 1),
        (&[2, 3, 4, 5], 0),
        (&[2, 3, 4, 5], -2),
        (&[2, 500], 1),
        (&[31, 36], 1),
        (&[41, 36], 1),
        (&[255, 35], 1),
        (&[259, 32], 1),
        (&[300, 39], 1),
        (&[511, 33], 1),
        (&[513, 41], 1),
        (&[41, 600], 0),
        (&[33, 4100], 0),
        (&[4097, 37], 1),
        (&[66_000, 3], 1),
    ];
    let mut cases: Vec<Case> = shapes
        .into_iter()
        .map(|(shape, axis)| {
            let made = case(&format!("{shape:?} axis {axis}"), Input::any(shape), axis);
            if shape.iter().product::<usize>() < 4000 { made } else { made.value_only() }
        })
        .collect();
    cases.extend([
        case("55x61 transposed", Input::any([55, 61]).transposed(), 1),
        case("55x61 transposed, axis 0", Input::any([55, 61]).transposed(), 0),
        case("9x8 stride 2", Input::any([9, 8]).strided(), 1),
        case("9x8 stride 0", Input::any([9, 8]).repeated(), 0),
        case("±80", Input::uniform([7, 33], -80.0, 80.0), 1),
        case("±80 of 3x41x9", Input::uniform([3, 41, 9], -80.0, 80.0), 1).value_only(),
        case("±1e4", Input::uniform([6, 70], -1e4, 1e4), 1).value_only(),
        case("near 1e4", Input::uniform([6, 70], 9_998.0, 10_002.0), 1),
        case("all alike", Input::fixed([2, 3], &[4.0; 6]), 1),
        case("3x0 empty axis", Input::any([3, 0]), 1).value_only(),
        case("0x3 no rows", Input::any([0, 3]), 1).value_only(),
        case("axis out of range", Input::any([2, 3]), 2).fails(),
        case("integers", Input::index([2, 3], 5), 1).fails(),
    ]);
    // A row of one: what its maximum is taken for must be that one.
    cases.push(case("one far below zero", Input::uniform([3, 1], -9_998.0, -9_000.0), 1).value_only());
    // For one, 8 and 64 lanes: a maximum that is missed, or too small, overflows or underflows.
    for shape in [[9, 7], [9, 8], [43, 41], [43, 40], [6, 130], [6, 132]] {
        for (detail, low, high) in [("±1e3", -1e3, 1e3), ("near -1e4", -10_002.0, -9_998.0)] {
            cases.push(
                case(&format!("{detail} of {shape:?}"), Input::uniform(shape, low, high), 1).value_only(),
            );
        }
    }
    cases
}
