//! Scans: running sums and products along an axis, and the linear recurrence that they are cases of.
//!
//! A running sum is cut into chunks of 64: their totals are summed first, by the same operation, so that
//! chunks run side by side. The recurrence h_t = a_t·h_{t−1} + b_t runs its lines side by side and each line
//! in sequence; its gradient is the recurrence backwards, so the family is closed under differentiation.

use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

static SUM: Shader = shader!("scan/sum.wgsl");
static LINEAR: Shader = shader!("scan/linear.wgsl");

/// Terms of a chunk.
const CHUNK: usize = 64;

/// Which terms a running sum or product has come across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scan {
    /// Not the term at its own place: the first result is zero, or one for a product.
    pub exclusive: bool,
    /// From the last term to the first.
    pub reverse: bool,
}

/// The extents before, along and behind an axis.
fn extents(shape: &Shape, axis: usize) -> [usize; 3] {
    [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
}

fn check(op: &'static str, x: &Meta) -> Result<()> {
    if x.dtype.is_float() {
        return Ok(());
    }
    Err(Error::dtype(op, x.to_string(), "Convert to a float with to_dtype."))
}

/// The lines of dense arrays along an axis, each turned into a line of the result, first to last or reversed.
fn along<R: Real>(
    x: &[&Array<R>],
    axis: usize,
    reverse: bool,
    f: impl Fn(&[Vec<R>]) -> Vec<R> + Sync,
) -> Array<R> {
    let shape = x[0].shape;
    let [_, terms, inner] = extents(&shape, axis);
    let mut y = Array { shape, data: vec![R::default(); shape.count()] };
    for line in 0..shape.count() / terms.max(1) {
        let at = |t: usize| {
            let t = if reverse { terms - 1 - t } else { t };
            (line / inner * terms + t) * inner + line % inner
        };
        let lines: Vec<Vec<R>> = x.iter().map(|x| (0..terms).map(|t| x.data[at(t)]).collect()).collect();
        for (t, value) in f(&lines).into_iter().enumerate() {
            y.data[at(t)] = value;
        }
    }
    y
}

/// y_t = Σ x_s over the s up to t.
struct Sums {
    axis: usize,
    scan: Scan,
}

/// The sums of all terms before each, chunk by chunk.
fn before<R: Real>(x: &[R]) -> Vec<R> {
    let offsets = if x.len() > CHUNK {
        before(&x.chunks(CHUNK).map(|chunk| R::sum(chunk.iter().copied())).collect::<Vec<R>>())
    } else {
        vec![R::default()]
    };
    let within = |t: usize| x[t / CHUNK * CHUNK..t].iter().copied();
    (0..x.len()).map(|t| R::sum([offsets[t / CHUNK]].into_iter().chain(within(t)))).collect()
}

impl Sums {
    /// Launches the sums of `x`, of these extents, into `y`; chunks of a long line are summed first.
    fn launch(gpu: &Gpu, x: &Buffer, y: &Buffer, extents: [usize; 3], scan: Scan) -> Result<()> {
        let [outer, terms, inner] = extents;
        let (lines, chunks) = (outer * inner, terms.div_ceil(CHUNK));
        let kernel = |offsets: Option<&Buffer>, totals: bool, y: &Buffer| {
            let constants = [
                ("CHUNK", CHUNK as u32),
                ("REVERSE", scan.reverse.into()),
                ("EXCLUSIVE", scan.exclusive.into()),
                ("TOTALS", totals.into()),
                ("OFFSETS", offsets.is_some().into()),
            ];
            gpu.dispatch(Dispatch {
                op: "cumsum",
                source: Source::File(&SUM, &constants),
                params: bytemuck::cast_slice(&[lines * chunks, chunks, terms, inner].map(|v| v as u32)),
                buffers: &[x, offsets.unwrap_or(x), y],
                groups: gpu.fold(lines * chunks, 64),
            })
        };
        if chunks <= 1 {
            return kernel(None, false, y);
        }
        let bytes = 4 * (lines * chunks) as u64;
        let (totals, offsets) = (gpu.buffer("cumsum", bytes)?, gpu.buffer("cumsum", bytes)?);
        kernel(None, true, &totals)?;
        Sums::launch(gpu, &totals, &offsets, [lines, chunks, 1], Scan { exclusive: true, reverse: false })?;
        kernel(Some(&offsets), false, y)
    }
}

impl Op for Sums {
    fn name(&self) -> &'static str {
        "cumsum"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        check("cumsum", &inputs[0])?;
        Ok(vec![inputs[0]])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, _: &[Meta]) -> Vec<Data<R>> {
        vec![Data::Real(along(&[inputs.real(0)], self.axis, self.scan.reverse, |line| {
            let sums = before(&line[0]);
            if self.scan.exclusive { sums } else { sums.iter().zip(&line[0]).map(|(&s, &x)| s + x).collect() }
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let extents = extents(inputs[0].shape(), self.axis);
        Sums::launch(gpu, &inputs[0].buffer, &outputs[0].buffer, extents, self.scan)
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // Linear; the transpose runs the other way.
    fn vjp(&self, _: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let scan = Scan { reverse: !self.scan.reverse, ..self.scan };
        Ok(vec![dy[0].as_ref().map(|dy| dy.cumsum(self.axis as isize, scan)).transpose()?])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![dx[0].as_ref().map(|dx| dx.cumsum(self.axis as isize, self.scan)).transpose()?])
    }
}

/// h_t = a_t·h_{t−1} + b_t.
struct Linear {
    axis: usize,
    reverse: bool,
}

impl Linear {
    /// Moved on by `by` places against (or with) the direction of the scan, zero where nothing comes from.
    fn moved(&self, x: &Tensor, forward: bool) -> Result<Tensor> {
        let (axis, extent) = (self.axis as isize, x.shape()[self.axis]);
        let zero = x.like(x.shape().with(self.axis, extent.min(1)), 0.0)?;
        if forward != self.reverse {
            Tensor::concat(&[&zero, &x.slice(axis, 0, extent.saturating_sub(1))?], axis)
        } else {
            Tensor::concat(&[&x.slice(axis, extent.min(1), extent)?, &zero], axis)
        }
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear_scan"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (a, b) = (inputs[0], inputs[1]);
        check("linear_scan", &a)?;
        check("linear_scan", &b)?;
        if a.shape != b.shape {
            let given = format!("coefficients {a} for terms {b}");
            return Err(Error::shape("linear_scan", given, "Give one coefficient for each term."));
        }
        Ok(vec![b])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, _: &[Meta]) -> Vec<Data<R>> {
        let inputs = [inputs.real(0), inputs.real(1)];
        vec![Data::Real(along(&inputs, self.axis, self.reverse, |lines| {
            let mut last = None;
            let steps = lines[0].iter().zip(&lines[1]);
            steps
                .map(|(&a, &b)| {
                    let next = last.map_or(b, |h| a * h + b);
                    last = Some(next);
                    next
                })
                .collect()
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let [outer, terms, inner] = extents(inputs[0].shape(), self.axis);
        let carry = gpu.carry("linear_scan", terms, outer * inner)?;
        gpu.launches(terms).try_for_each(|[first, last]| {
            let [lines, terms, inner] = [outer * inner, terms, inner].map(|v| v as u32);
            gpu.dispatch(Dispatch {
                op: "linear_scan",
                source: Source::File(&LINEAR, &[("REVERSE", self.reverse.into())]),
                params: bytemuck::cast_slice(&[lines, terms, inner, first, last]),
                buffers: &[&inputs[0].buffer, &inputs[1].buffer, &outputs[0].buffer, &carry],
                groups: gpu.fold(lines as usize, 64),
            })
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0b01, 0b1)
    }

    // With g the cotangent of h, what comes after included, g_t = dy_t + a_{t+1}·g_{t+1}: the same
    // recurrence backwards. db = g, and da_t = g_t·h_{t−1}.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None, None]) };
        let g = self.moved(&at.input(0)?, false)?.linear_scan(dy, self.axis as isize, !self.reverse)?;
        let da = at.needs(0).then(|| g.mul(&self.moved(&at.output(0)?, true)?)).transpose()?;
        Ok(vec![da, Some(g)])
    }

    // dh_t = a_t·dh_{t−1} + (da_t·h_{t−1} + db_t).
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let mut terms = dx[1].clone();
        if let Some(da) = &dx[0] {
            let own = da.mul(&self.moved(&at.output(0)?, true)?)?;
            terms = Some(terms.map_or(Ok(own.clone()), |db| own.add(&db))?);
        }
        let run = |terms: &Tensor| at.input(0)?.linear_scan(terms, self.axis as isize, self.reverse);
        Ok(vec![terms.as_ref().map(run).transpose()?])
    }
}

impl Tensor {
    /// The running sum along `axis`: y_t = Σ x_s over the s up to t, in the order and from the place that
    /// `scan` says.
    ///
    /// Of floats, the same shape. Gradient: the running sum the other way. Chunks of 64 terms are summed side
    /// by side. Errors: [`Error::Axis`], [`Error::DType`].
    pub fn cumsum(&self, axis: isize, scan: Scan) -> Result<Tensor> {
        let axis = self.shape().axis("cumsum", axis)?;
        Ok(op::apply(Sums { axis, scan }, &[self])?.swap_remove(0))
    }

    /// The running product along `axis`: y_t = Π x_s over the s up to t, in the order and from the place that
    /// `scan` says.
    ///
    /// Of floats, the same shape. Gradient: by a recurrence backwards, without dividing, so that zeros are no
    /// harm. Terms of a line follow one another. Errors: [`Error::Axis`], [`Error::DType`].
    pub fn cumprod(&self, axis: isize, scan: Scan) -> Result<Tensor> {
        let at = self.shape().axis("cumprod", axis)?;
        self.require_float("cumprod")?;
        let extent = self.shape()[at];
        let first = if scan.reverse { extent.saturating_sub(1)..extent } else { 0..extent.min(1) };
        let mut around = vec![(0, 0); self.rank()];
        around[at] = (first.start, extent - first.end);
        let start = self.slice(axis, first.start, first.end)?.pad(&around, 0.0)?;
        let products = self.linear_scan(&start, axis, scan.reverse)?;
        if !scan.exclusive {
            return Ok(products);
        }
        let one = self.detach().like(self.shape().with(at, extent.min(1)), 1.0)?;
        if scan.reverse {
            Tensor::concat(&[&products.slice(axis, extent.min(1), extent)?, &one], axis)
        } else {
            Tensor::concat(&[&one, &products.slice(axis, 0, extent.saturating_sub(1))?], axis)
        }
    }

    /// The linear recurrence along `axis` whose coefficients are these: h_t = self_t·h_{t−1} + terms_t, from
    /// the first or with `reverse` from the last. The first of a line is its term: what comes before is zero.
    ///
    /// Both floats of one shape, which is the result's. Lines run side by side, the steps of a line in
    /// sequence. Gradient: the recurrence backwards, saving coefficients and results.
    /// Errors: [`Error::Axis`], [`Error::Shape`], [`Error::DType`].
    pub fn linear_scan(&self, terms: &Tensor, axis: isize, reverse: bool) -> Result<Tensor> {
        let axis = self.shape().axis("linear_scan", axis)?;
        Ok(op::apply(Linear { axis, reverse }, &[self, terms])?.swap_remove(0))
    }
}

const WAYS: [(&str, Scan); 4] = [
    ("", Scan { exclusive: false, reverse: false }),
    (" exclusive", Scan { exclusive: true, reverse: false }),
    (" reverse", Scan { exclusive: false, reverse: true }),
    (" exclusive reverse", Scan { exclusive: true, reverse: true }),
];

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let (mut sums, mut products, mut linear) = (vec![], vec![], vec![]);
    let shapes: [(&[usize], isize, bool); 12] = [
        (&[1], 0, true),
        (&[7, 11], 1, true),
        (&[7, 11], 0, true),
        (&[64], 0, true),
        (&[2, 65, 3], 1, true),
        (&[129, 2], 0, true),
        (&[3, 0], 1, true),
        (&[0, 3], 1, true),
        (&[2, 2, 5, 3], -2, true),
        (&[4161], 0, false),
        (&[2, 4097, 2], 1, false),
        (&[66_000, 3], 1, false),
    ];
    for (shape, axis, small) in shapes {
        for (way, scan) in WAYS {
            let limited = |case: Case| if small { case } else { case.value_only() };
            let detail = format!("{shape:?} axis {axis}{way}");
            let run = move |x: &[Tensor]| x[0].cumsum(axis, scan);
            sums.push(limited(Case::new("cumsum", &detail, [Input::whole(shape)], run).exact()));
            let any = Case::new("cumsum", &format!("{detail} any"), [Input::any(shape)], run);
            sums.push(limited(any));
            if small && shape != [129, 2] {
                let run = move |x: &[Tensor]| x[0].cumprod(axis, scan);
                let near = [Input::uniform(shape, 0.5, 1.5)];
                products.push(Case::new("cumprod", &detail, near, run));
            }
        }
        for reverse in [false, true] {
            let detail = format!("{shape:?} axis {axis}{}", if reverse { " reverse" } else { "" });
            let run = move |x: &[Tensor]| x[0].linear_scan(&x[1], axis, reverse);
            if small {
                let inputs = [Input::uniform(shape, -0.9, 0.9), Input::any(shape)];
                linear.push(Case::new("linear_scan", &detail, inputs, run));
            } else if shape[0] == 66_000 {
                let inputs = [Input::whole(shape), Input::whole(shape)];
                linear.push(Case::new("linear_scan", &detail, inputs, run).exact().value_only());
            }
        }
    }
    let x = || Input::whole([5, 6]);
    for (detail, x) in
        [("strided", x().strided()), ("transposed", x().transposed()), ("repeated", x().repeated())]
    {
        sums.push(Case::new("cumsum", detail, [x], |x| x[0].cumsum(0, Scan::default())).exact());
    }
    let zeros = Input::fixed([2, 4], &[2.0, 0.0, 3.0, 0.0, 0.0, 1.0, -2.0, 4.0]);
    products.push(Case::new("cumprod", "over zeros", [zeros], |x| x[0].cumprod(1, Scan::default())).exact());
    let integers = || Input::index([3], 4);
    sums.push(Case::new("cumsum", "integers", [integers()], |x| x[0].cumsum(0, Scan::default())).fails());
    sums.push(Case::new("cumsum", "axis beyond", [x()], |x| x[0].cumsum(2, Scan::default())).fails());
    products
        .push(Case::new("cumprod", "integers", [integers()], |x| x[0].cumprod(0, Scan::default())).fails());
    // More lines than terms, and these in several launches.
    let many = [Input::uniform([50, 40], -0.9, 0.9), Input::any([50, 40])];
    linear.push(Case::new("linear_scan", "50 lines", many, |x| x[0].linear_scan(&x[1], 1, false)));
    linear.push(
        Case::new("linear_scan", "shapes differ", [x(), Input::any([5, 1])], |x| {
            x[0].linear_scan(&x[1], 0, false)
        })
        .fails(),
    );
    vec![
        Room { op: "cumsum", cases: sums },
        Room { op: "cumprod", cases: products },
        Room { op: "linear_scan", cases: linear },
    ]
}
