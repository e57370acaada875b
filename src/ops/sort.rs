//! Sorting along an axis: the order, the values, and the largest few.
//!
//! The order is the operation; values are gathered by it, so gradients are those of `gather`. Blocks of up to
//! 32 are sorted by counting, then neighbouring runs merge, each element finding its place in the other run
//! by bisection: about log₂(n/32) launches, no workgroup memory, and equal elements keep their order.

use crate::autodiff::At;
use crate::cpu::Array;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::index::{Along, choose};
use crate::real::Real;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

static RANK: Shader = shader!("sort/rank.wgsl");
static MERGE: Shader = shader!("sort/merge.wgsl");

/// How many neighbours are sorted by counting.
const BLOCK: usize = 32;

/// Where along the axis the elements are, in order.
struct Order {
    axis: usize,
    descending: bool,
    integer: bool,
}

/// The order of floats or integers along an axis, equal ones as they come.
pub(super) fn order(x: &Tensor, axis: usize, descending: bool) -> Result<Tensor> {
    let integer = !x.dtype().is_float();
    Ok(op::apply(Order { axis, descending, integer }, &[x])?.swap_remove(0))
}

impl Order {
    /// The order of each line of numbers whose `total_cmp` is that of the elements.
    fn sorted(&self, x: &Array<f64>) -> Array<i32> {
        let (terms, inner) = (x.shape[self.axis], x.shape[self.axis + 1..].iter().product::<usize>());
        let mut order = Array { shape: x.shape, data: vec![0; x.data.len()] };
        for line in 0..x.data.len() / terms.max(1) {
            let start = line / inner * terms * inner + line % inner;
            let value = |t: usize| x.data[start + t * inner];
            let mut places: Vec<usize> = (0..terms).collect();
            // Stable in both directions: equal elements keep their order.
            places.sort_by(|&a, &b| {
                let (first, second) = if self.descending { (b, a) } else { (a, b) };
                value(first).total_cmp(&value(second))
            });
            for (t, place) in places.into_iter().enumerate() {
                order.data[start + t * inner] = place as i32;
            }
        }
        order
    }
}

impl Op for Order {
    fn name(&self) -> &'static str {
        "argsort"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let mut order = Meta::new(inputs[0].shape, DType::I32);
        order.range = Some((0, (inputs[0].shape[self.axis] as i32 - 1).max(0)));
        Ok(vec![order])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let shape = outputs[0].shape;
        let numbers = if self.integer {
            inputs.int(0).data.iter().map(|&x| f64::from(x)).collect()
        } else {
            // Adding zero makes −0 the same as +0.
            inputs.real(0).data.iter().map(|x| x.to_f64() + 0.0).collect()
        };
        vec![Data::Int(self.sorted(&Array { shape, data: numbers }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let x = &inputs[0];
        let (count, terms) = (x.shape().count(), x.shape()[self.axis]);
        let inner: usize = x.shape()[self.axis + 1..].iter().product();
        let constants = [("INTEGER", self.integer.into()), ("DESCENDING", self.descending.into())];
        let groups = gpu.fold(count, 64);
        let passes = terms.div_ceil(BLOCK).next_power_of_two().ilog2();
        // The last pass writes to the output, those before to one buffer and another in turn.
        let spare = match passes {
            0 => outputs[0].buffer.clone(),
            _ => gpu.buffer("argsort", 4 * count as u64)?,
        };
        let pair = if passes % 2 == 0 { [&outputs[0].buffer, &spare] } else { [&spare, &outputs[0].buffer] };
        gpu.dispatch(Dispatch {
            op: "argsort",
            source: Source::File(&RANK, &constants),
            params: bytemuck::cast_slice(&[count as u32, terms as u32, inner as u32]),
            buffers: &[&x.buffer, pair[0]],
            groups,
        })?;
        for pass in 0..passes as usize {
            let width = (BLOCK << pass) as u32;
            gpu.dispatch(Dispatch {
                op: "argsort",
                source: Source::File(&MERGE, &constants),
                params: bytemuck::cast_slice(&[count as u32, terms as u32, inner as u32, width]),
                buffers: &[&x.buffer, pair[pass % 2], pair[(pass + 1) % 2]],
                groups,
            })?;
        }
        Ok(())
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // The output is of integers: autodiff never asks.
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

impl Tensor {
    /// Where along `axis` the elements are, in rising or falling order, as i32.
    ///
    /// Of floats or integers, the same shape. Stable: equal elements, −0 and +0 among them, keep their
    /// order. Costs log₂(n/32) launches of n·log n comparisons. Exact, without gradient.
    /// Errors: [`Error::Axis`].
    pub fn argsort(&self, axis: isize, descending: bool) -> Result<Tensor> {
        let axis = self.shape().axis("argsort", axis)?;
        order(&self.detach(), axis, descending)
    }

    /// The elements along `axis` in rising or falling order, and where they were, as i32.
    ///
    /// Order and errors are those of [`argsort`](Self::argsort). Gradient: back to where the values were.
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let order = self.argsort(axis, descending)?;
        let axis = self.shape().axis("sort", axis)?;
        Ok((choose(self, &order, Along::elements(axis))?, order))
    }

    /// The `k` largest elements along `axis` (or smallest), the most extreme first, and where they were.
    ///
    /// x `[.., E, ..]` → two of `[.., k, ..]`. Of equal elements the first is taken. Sorts all of the axis.
    /// Gradient: back to where the values were.
    /// Errors: [`Error::Axis`]; [`Error::Argument`] if there are fewer than k.
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        let at = self.shape().axis("topk", axis)?;
        if k > self.shape()[at] {
            let given = format!("the first {k} along axis {axis} of {}", self.describe());
            return Err(Error::argument("topk", given, "Ask for at most as many as there are."));
        }
        let order = self.argsort(axis, largest)?.slice(axis, 0, k)?;
        Ok((choose(self, &order, Along::elements(at))?, order))
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let (mut orders, mut sorts, mut tops) = (vec![], vec![], vec![]);
    let shapes: [(&[usize], isize, bool); 14] = [
        (&[1], 0, true),
        (&[31], 0, true),
        (&[32], 0, true),
        (&[33, 2], 0, true),
        (&[3, 64], 1, true),
        (&[65, 3], 0, true),
        (&[2, 97, 2], 1, true),
        (&[5, 7, 11], 0, true),
        (&[3, 0], 1, true),
        (&[0, 3], 1, true),
        (&[2, 257], -1, false),
        (&[1023], 0, false),
        (&[66_000, 2], 1, false),
        (&[4099], 0, false),
    ];
    for (shape, axis, gradient) in shapes {
        for descending in [false, true] {
            let detail = format!("{shape:?} axis {axis}{}", if descending { " falling" } else { "" });
            let limited = |case: Case| if gradient { case } else { case.value_only() };
            let order = move |x: &[Tensor]| x[0].argsort(axis, descending);
            orders.push(Case::new("argsort", &detail, [Input::distinct(shape)], order).value_only());
            let ties = [Input::whole(shape)];
            orders.push(Case::new("argsort", &format!("{detail} ties"), ties, order).value_only());
            let integers = [Input::index(shape, 1 << 30)];
            orders.push(Case::new("argsort", &format!("{detail} integers"), integers, order).value_only());
            let run = move |x: &[Tensor]| Ok(x[0].sort(axis, descending)?.0);
            sorts.push(limited(Case::new("sort", &detail, [Input::distinct(shape)], run).exact()));
        }
    }
    // Subnormal numbers are not zero: f32 holds 1.4e-45.
    let zeros: Vec<f64> = (0..42).map(|i| [0.0, -0.0, 1.0, -1.0, 1.4e-45, -1.4e-45][i * 5 % 6]).collect();
    let zeros = || Input::fixed([42], &zeros);
    orders.push(
        Case::new("argsort", "zeros of both signs", [zeros()], |x| x[0].argsort(0, false)).value_only(),
    );
    orders.push(Case::new("argsort", "zeros falling", [zeros()], |x| x[0].argsort(0, true)).value_only());
    let extremes: Vec<i32> = (0..70).map(|i| [i32::MIN, -1, 0, 1, i32::MAX][i * 3 % 5]).collect();
    orders.push(
        Case::new("argsort", "all integers", [Input::fixed_index([70], &extremes)], |x| {
            x[0].argsort(0, false)
        })
        .value_only(),
    );
    orders.push(Case::new("argsort", "axis beyond", [Input::any([3])], |x| x[0].argsort(1, false)).fails());
    let x = || Input::distinct([6, 40]);
    for (detail, x) in
        [("strided", x().strided()), ("transposed", x().transposed()), ("repeated", x().repeated())]
    {
        sorts.push(Case::new("sort", detail, [x], |x| Ok(x[0].sort(1, false)?.0)).exact());
    }
    sorts.push(
        Case::new("sort", "integers", [Input::index([5, 40], 50)], |x| Ok(x[0].sort(1, true)?.0))
            .value_only(),
    );
    sorts.push(Case::new("sort", "axis beyond", [Input::any([3])], |x| Ok(x[0].sort(1, false)?.0)).fails());
    let few: [(&[usize], isize, usize, bool); 6] = [
        (&[1], 0, 1, true),
        (&[7, 33], 1, 3, true),
        (&[7, 33], 0, 7, false),
        (&[3, 41, 2], 1, 5, true),
        (&[4, 5], 1, 0, true),
        (&[2, 0], 1, 0, false),
    ];
    for (shape, axis, k, largest) in few {
        let detail = format!("{k} {} of {shape:?} axis {axis}", if largest { "largest" } else { "smallest" });
        let run = move |x: &[Tensor]| Ok(x[0].topk(k, axis, largest)?.0);
        tops.push(Case::new("topk", &detail, [Input::distinct(shape)], run).exact());
        let run = move |x: &[Tensor]| Ok(x[0].topk(k, axis, largest)?.1);
        let detail = format!("{detail}, places");
        tops.push(Case::new("topk", &detail, [Input::whole(shape)], run).value_only());
    }
    tops.push(
        Case::new("topk", "more than there are", [Input::any([3])], |x| Ok(x[0].topk(4, 0, true)?.0)).fails(),
    );
    vec![
        Room { op: "argsort", cases: orders },
        Room { op: "sort", cases: sorts },
        Room { op: "topk", cases: tops },
    ]
}
