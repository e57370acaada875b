//! Matrix products, batched, of any strides, with an optional bias.

use crate::autodiff::At;
use crate::choice::{self, Product};
use crate::cpu::Array;
use crate::cpu::gemm::{self, Matrix};
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::reduce;
use crate::real::Real;
use crate::shape::{Layout, MAX_RANK, Shape, coalesce};
use crate::tensor::Tensor;
use rayon::prelude::*;

static NAIVE: Shader = shader!("matmul/naive.wgsl");
static QUADS: Shader = shader!("matmul/quads.wgsl");
static REGISTER: Shader = shader!("matmul/register.wgsl");
static SUBGROUP: Shader = shader!("matmul/subgroup.wgsl");
static TILED: Shader = shader!("matmul/tiled.wgsl");

/// Y = A·B, over broadcast batch axes, plus a bias along the last axis if there is a third input.
pub(crate) struct Matmul;

/// The extents of the matrices of a product: m, k, n.
fn extents(a: &Shape, b: &Shape) -> [usize; 3] {
    [a[a.rank() - 2], a[a.rank() - 1], b[b.rank() - 1]]
}

/// Where the matrix of x begins that stands in each of the product's, whose shape is `out`.
fn starts<T>(x: &Array<T>, out: &Shape) -> Vec<usize> {
    let mut own = Layout::contiguous(x.shape);
    own.shape = Shape::known(&x.shape[..x.shape.rank() - 2]);
    own.broadcast_to(Shape::known(&out[..out.rank() - 2])).positions().collect()
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        let (a, b) = (inputs[0], inputs[1]);
        if let Some(integer) = inputs.iter().find(|m| !m.dtype.is_float()) {
            return Err(Error::dtype("matmul", integer.to_string(), "Convert to a float with to_dtype."));
        }
        if a.shape.rank() < 2 || b.shape.rank() < 2 {
            return Err(Error::shape(
                "matmul",
                format!("lhs {a} × rhs {b}: a matrix has at least two axes"),
                "Give a vector an axis with unsqueeze.",
            ));
        }
        let [m, k, n] = extents(&a.shape, &b.shape);
        if b.shape[b.shape.rank() - 2] != k {
            return Err(Error::shape(
                "matmul",
                format!("inner dimensions differ, lhs {a} × rhs {b} ({k} ≠ {})", b.shape[b.shape.rank() - 2]),
                "Transpose rhs or check `in_features`.",
            ));
        }
        let batch = |s: &Shape| Shape::known(&s[..s.rank() - 2]);
        let mut dims = Shape::broadcast("matmul", &batch(&a.shape), &batch(&b.shape))?.to_vec();
        dims.extend([m, n]);
        if let Some(bias) = inputs.get(2)
            && *bias.shape != [n]
        {
            return Err(Error::shape(
                "matmul",
                format!("bias {bias} for {n} columns"),
                "The bias has one entry for each column of rhs.",
            ));
        }
        Ok(vec![Meta::new(Shape::new(&dims)?, a.dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let (a, b) = (inputs.real(0), inputs.real(1));
        let [m, k, n] = extents(&a.shape, &b.shape);
        let shape = outputs[0].shape;
        let (starts_a, starts_b) = (starts(a, &shape), starts(b, &shape));
        // Columns of b as rows, so that a dot product runs through memory in order.
        let mut columns = vec![R::default(); b.data.len()];
        for (matrix, out) in b.data.chunks((k * n).max(1)).zip(columns.chunks_mut((k * n).max(1))) {
            out.par_chunks_mut(k.max(1)).enumerate().for_each(|(j, column)| {
                column.iter_mut().enumerate().for_each(|(i, to)| *to = matrix[i * n + j]);
            });
        }
        vec![Data::Real(Array::from_rows(shape, n, |row| {
            if k == 0 {
                // Where there are no terms there is no data either, and a start lies beyond its end.
                let empty = |j: usize| if inputs.len() > 2 { inputs.real(2).data[j] } else { R::default() };
                return (0..n).map(empty).collect();
            }
            let a_row = &a.data[starts_a[row / m] + row % m * k..][..k];
            let matrix = &columns[starts_b[row / m]..];
            (0..n)
                .map(|j| {
                    let column = &matrix[j * k..][..k];
                    let sum = R::dot(a_row.iter().copied().zip(column.iter().copied()));
                    if inputs.len() > 2 { sum + inputs.real(2).data[j] } else { sum }
                })
                .collect()
        }))]
    }

    fn strided(&self) -> bool {
        true
    }

    fn epilogue(&self) -> bool {
        true
    }

    fn native(&self, inputs: &Inputs<f32>, outputs: &[Meta]) -> Option<Vec<Data<f32>>> {
        let (a, b, shape) = (inputs.real(0), inputs.real(1), outputs[0].shape);
        let [m, k, n] = extents(&a.shape, &b.shape);
        let mut data = vec![0.0; shape.count()];
        if k > 0 && m * n > 0 {
            let (starts_a, starts_b) = (starts(a, &shape), starts(b, &shape));
            let operands = |matrix: usize| {
                let a = Matrix::new(&a.data[starts_a[matrix]..], m, k);
                (a, Matrix::new(&b.data[starts_b[matrix]..], k, n))
            };
            // Many matrices: each on a thread. Few: all threads on each.
            if data.len() / (m * n) >= rayon::current_num_threads() {
                data.par_chunks_mut(m * n).enumerate().for_each(|(matrix, y)| {
                    let (a, b) = operands(matrix);
                    gemm::product_here(a, b, y, false);
                });
            } else {
                for (matrix, y) in data.chunks_mut(m * n).enumerate() {
                    let (a, b) = operands(matrix);
                    gemm::product(a, b, y, false);
                }
            }
        }
        if inputs.len() > 2 {
            let bias = &inputs.real(2).data;
            for row in data.chunks_mut(n.max(1)) {
                row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
        Some(vec![Data::Real(Array { shape, data })])
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        let (a, b) = (&inputs[0].layout, &inputs[1].layout);
        let [m, k, n] = extents(&a.shape, &b.shape);
        let out = outputs[0].shape();
        let batch = Shape::known(&out[..out.rank() - 2]);
        let matrices = |x: &Layout| {
            let mut outer = *x;
            outer.shape = Shape::known(&x.shape[..x.shape.rank() - 2]);
            outer.broadcast_to(batch)
        };
        let mut outer = [matrices(a), matrices(b)];
        coalesce(&mut outer);
        let stride = |x: &Layout, back: usize| x.strides[x.shape.rank() - back] as u32;
        let batches = batch.count();
        let candidates = choice::product(&gpu.capabilities(), batches, [m, k, n]);
        let kernel = gpu.choose("matmul", &[batches, m, k, n], candidates);
        let work = kernel.work(batches, m, n);
        let bias = inputs.get(2).map(|bias| bias_view(gpu, bias)).transpose()?;
        // Of a sum in pieces, the terms of one, whole steps of the kernel.
        let (pieces, terms) = match kernel {
            Product::Tiled { pieces, step, .. } => {
                (pieces as usize, k.div_ceil(pieces as usize).next_multiple_of(step as usize))
            }
            _ => (1, k),
        };
        let mut params = MatmulParams {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            tiles: work as u32,
            lhs_offset: a.offset as u32,
            lhs_m: stride(a, 2),
            lhs_k: stride(a, 1),
            rhs_offset: b.offset as u32,
            rhs_k: stride(b, 2),
            rhs_n: stride(b, 1),
            terms: terms as u32,
            batches: batches as u32,
            batch_dims: [1; MAX_RANK],
            ..Default::default()
        };
        for (axis, &extent) in outer[0].shape.iter().enumerate() {
            params.batch_dims[axis] = extent as u32;
            params.lhs_batch[axis] = outer[0].strides[axis] as u32;
            params.rhs_batch[axis] = outer[1].strides[axis] as u32;
        }
        let has_bias = ("BIAS", u32::from(bias.is_some()));
        let mut constants = vec![has_bias];
        let shader = match kernel {
            Product::Naive => &NAIVE,
            Product::Quads { lanes, .. } => {
                let (lhs, rhs) = (lying(a, &outer[0]) == Lie::Rows, lying(b, &outer[1]));
                let held = |fours: bool| if fours { 4 } else { 1 };
                constants.extend([
                    ("WIDE", (n as u32 > 4 * lanes).into()),
                    ("LHS_QUADS", lhs.into()),
                    ("RHS_ALONG_N", (rhs == Lie::Rows).into()),
                    ("RHS_ALONG_K", (rhs == Lie::Columns).into()),
                    ("Lhs", held(lhs)),
                    ("Rhs", held(rhs != Lie::Otherwise)),
                ]);
                &QUADS
            }
            Product::Register { .. } => &REGISTER,
            Product::Subgroup { .. } => &SUBGROUP,
            Product::Tiled { wy, step, .. } => {
                let whole = m % (8 * wy as usize) == 0 && n % 64 == 0 && k % step as usize == 0;
                constants.push(("FULL", whole.into()));
                &TILED
            }
        };
        let constants = choice::with(&kernel, &constants);
        let count = outputs[0].shape().count();
        let y = match pieces {
            1 => outputs[0].buffer.clone(),
            _ => gpu.buffer("matmul", 4 * (pieces * count) as u64)?,
        };
        let bias = bias.as_ref().unwrap_or(&inputs[1].buffer);
        gpu.dispatch(Dispatch {
            op: "matmul",
            source: Source::File(shader, &constants),
            params: bytemuck::bytes_of(&params),
            buffers: &[&inputs[0].buffer, &inputs[1].buffer, bias, &y],
            groups: gpu.fold(work, if kernel == Product::Naive { 64 } else { 1 }),
        })?;
        if pieces == 1 {
            return Ok(());
        }
        let parts = Layout::contiguous(Shape::known(&[pieces, count]));
        reduce::sum_axis(gpu, &y, &parts, 0, &outputs[0].buffer)
    }

    fn flops(&self, inputs: &[Meta], outputs: &[Meta]) -> u64 {
        2 * (outputs[0].shape.count() * inputs[0].shape[inputs[0].shape.rank() - 1]) as u64
    }

    fn keeps(&self) -> (u32, u32) {
        (0b11, 0)
    }

    // y = a·b + bias: da = dy·bᵀ and db = aᵀ·dy, summed over broadcast batch axes; dbias = Σ rows of dy.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let Some(dy) = &dy[0] else { return Ok(vec![None; at.inputs()]) };
        let mut out = vec![None; at.inputs()];
        if at.needs(0) {
            out[0] = Some(dy.matmul(&at.input(1)?.t()?)?.sum_to(&at.input_meta(0).shape)?);
        }
        if at.needs(1) {
            out[1] = Some(at.input(0)?.t()?.matmul(dy)?.sum_to(&at.input_meta(1).shape)?);
        }
        if at.inputs() > 2 && at.needs(2) {
            out[2] = Some(dy.sum_to(&at.input_meta(2).shape)?);
        }
        Ok(out)
    }

    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let terms = [
            dx[0].as_ref().map(|da| da.matmul(&at.input(1)?)).transpose()?,
            dx[1].as_ref().map(|db| at.input(0)?.matmul(db)).transpose()?,
            dx.get(2)
                .and_then(Option::as_ref)
                .map(|d| d.broadcast_to(at.output_meta(0).shape))
                .transpose()?,
        ];
        let mut terms = terms.into_iter().flatten();
        let Some(first) = terms.next() else { return Ok(vec![None]) };
        Ok(vec![Some(terms.try_fold(first, |sum, term| sum.add(&term))?)])
    }
}

/// The bias dense at the start of a buffer: a vector, so a copy where it is not costs nothing.
fn bias_view(gpu: &Gpu, bias: &GpuView) -> Result<std::sync::Arc<crate::gpu::Buffer>> {
    if bias.layout.is_contiguous() && bias.offset() == 0 {
        return Ok(bias.buffer.clone());
    }
    let copy = gpu.buffer("matmul", 4 * bias.shape().count() as u64)?;
    let dense = Layout::contiguous(*bias.shape());
    let f32 = crate::dtype::DType::F32;
    crate::gpu::pointwise(
        gpu,
        &crate::Formula::input(0),
        &[(&bias.buffer, bias.layout, f32)],
        (&copy, dense, f32),
    )?;
    Ok(copy)
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct MatmulParams {
    m: u32,
    n: u32,
    k: u32,
    tiles: u32,
    lhs_offset: u32,
    lhs_m: u32,
    lhs_k: u32,
    rhs_offset: u32,
    rhs_k: u32,
    rhs_n: u32,
    terms: u32,
    batches: u32,
    batch_dims: [u32; MAX_RANK],
    lhs_batch: [u32; MAX_RANK],
    rhs_batch: [u32; MAX_RANK],
}

/// How the elements of a matrix lie, for reads of four neighbours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Fours of a row are neighbours, and every one begins at a multiple of four.
    Rows,
    /// Those of a column.
    Columns,
    Otherwise,
}

fn lying(x: &Layout, batch: &Layout) -> Lie {
    let [row, column] = [2, 1].map(|back| x.strides[x.shape.rank() - back]);
    let [rows, columns] = [2, 1].map(|back| x.shape[x.shape.rank() - back]);
    let fours = |stride: usize| stride.is_multiple_of(4);
    if !fours(x.offset) || !(0..batch.shape.rank()).all(|axis| fours(batch.strides[axis])) {
        return Lie::Otherwise;
    }
    if column == 1 && fours(columns) && fours(row) {
        Lie::Rows
    } else if row == 1 && fours(rows) && fours(column) {
        Lie::Columns
    } else {
        Lie::Otherwise
    }
}

/// The most terms of a sum that a kernel adds in one loop: llvmpipe leaves a loop, without a word, after 65 535
/// turns. Longer sums are those of several products.
const TERMS: usize = 1 << 15;

/// The product in parts along the inner axis, if that is too long for a kernel's loop.
fn in_parts(lhs: &Tensor, rhs: &Tensor) -> Result<Option<Tensor>> {
    let (a, b) = (lhs.shape(), rhs.shape());
    let terms = a.last().copied().unwrap_or(0);
    let fits = lhs.device().is_cpu() || terms <= TERMS;
    if fits || a.rank() < 2 || b.rank() < 2 || b[b.rank() - 2] != terms {
        return Ok(None);
    }
    let mut sum: Option<Tensor> = None;
    for first in (0..terms).step_by(TERMS) {
        let last = terms.min(first + TERMS);
        let part = lhs.slice(-1, first, last)?.matmul(&rhs.slice(-2, first, last)?)?;
        sum = Some(sum.map_or(Ok(part.clone()), |sum| sum.add(&part))?);
    }
    Ok(sum)
}

impl Tensor {
    /// The matrix product over the last two axes; the axes before them broadcast.
    ///
    /// `self` `[.., m, k]`, `rhs` `[.., k, n]` → `[.., m, n]`. Any strides: a transpose costs nothing.
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`].
    pub fn matmul(&self, rhs: &Tensor) -> Result<Tensor> {
        if let Some(product) = in_parts(self, rhs)? {
            return Ok(product);
        }
        Ok(op::apply(Matmul, &[self, rhs])?.swap_remove(0))
    }

    /// [`matmul`](Self::matmul) plus a `bias` `[n]`, in one kernel.
    pub fn matmul_bias(&self, rhs: &Tensor, bias: &Tensor) -> Result<Tensor> {
        if let Some(product) = in_parts(self, rhs)? {
            return product.add(bias);
        }
        Ok(op::apply(Matmul, &[self, rhs, bias])?.swap_remove(0))
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<crate::verify::Room> {
    use crate::verify::{Case, Input, Room};
    let mut cases = Vec::new();
    let sizes = [
        [1, 1, 1],
        [4, 4, 4],
        [7, 9, 8],
        [8, 16, 8],
        [9, 17, 9],
        [63, 15, 63],
        [64, 16, 64],
        [65, 17, 65],
        [41, 47, 55],
        [61, 3, 130],
        [1, 70, 33],
        [33, 70, 1],
        [3, 5, 200],
        [200, 31, 5],
    ];
    for [m, k, n] in sizes {
        for exact in [true, false] {
            let make = |shape: [usize; 2]| if exact { Input::whole(shape) } else { Input::any(shape) };
            let detail = format!("{m}x{k}x{n}{}", if exact { " whole" } else { "" });
            let case = Case::new("matmul", &detail, [make([m, k]), make([k, n])], |x| x[0].matmul(&x[1]));
            cases.push(if exact { case.exact() } else { case });
        }
    }
    let exact = |detail: &str, a: Input, b: Input| {
        Case::new("matmul", detail, [a, b], |x| x[0].matmul(&x[1])).exact()
    };
    let whole = |shape: &[usize]| Input::whole(shape);
    cases.push(exact("transposed lhs", whole(&[70, 19]).transposed(), whole(&[19, 66])));
    cases.push(exact("transposed rhs", whole(&[70, 19]), whole(&[19, 66]).transposed()));
    cases.push(exact("strided", whole(&[12, 20]).strided(), whole(&[20, 11]).strided()));
    cases.push(exact("stride 0", whole(&[12, 20]).repeated(), whole(&[20, 11]).repeated()));
    cases.push(exact("batched", whole(&[3, 2, 9, 10]), whole(&[3, 2, 10, 11])));
    cases.push(exact("broadcast batch", whole(&[2, 1, 5, 4]), whole(&[3, 4, 6])));
    cases.push(exact("batch stride 0", whole(&[5, 9, 10]).repeated(), whole(&[5, 10, 12])));
    cases.push(exact("rank 6", whole(&[2, 1, 3, 1, 4, 5]), whole(&[1, 2, 1, 2, 5, 6])));
    // Batches that no two axes of can be merged, of matrices below and above the smallest tile.
    cases.push(
        exact("rank 8", whole(&[2, 1, 3, 1, 2, 1, 5, 4]), whole(&[1, 2, 1, 2, 1, 3, 4, 6])).value_only(),
    );
    cases.push(exact("rank 8, 2x3x3", whole(&[2, 1, 3, 1, 2, 1, 2, 3]), whole(&[1, 2, 1, 2, 1, 3, 3, 3])));
    // Whole tiles: one too many, and the second matrix is not found.
    for m in [8, 64, 128] {
        let inputs = [whole(&[2, m, 3]), whole(&[2, 3, 64])];
        cases.push(Case::new("matmul", &format!("batched {m}x3x64"), inputs, |x| x[0].matmul(&x[1])).exact());
    }
    // The same for the tiles of a subgroup, of which no case above has two beside and two above each other.
    cases.push(exact("rank 8, 16x4x6", whole(&[2, 1, 3, 1, 2, 1, 16, 4]), whole(&[1, 2, 1, 2, 1, 3, 4, 6])));
    cases.push(exact("batched 65x3x128", whole(&[2, 65, 3]), whole(&[2, 3, 128])));
    cases.push(exact("batched 65x3x129", whole(&[2, 65, 3]), whole(&[2, 3, 129])));
    // Six workgroups of one output an invocation, but for one output.
    cases.push(exact("1x3x383", whole(&[1, 3]), whole(&[3, 383])));
    cases.push(exact("70000 rows", whole(&[70_000, 2]), whole(&[2, 4])).value_only());
    cases.push(exact("66000 matrices", whole(&[66_000, 4, 1]), whole(&[1, 4])).value_only());
    // Sums longer than a loop of llvmpipe.
    cases.push(exact("2x70000x3", whole(&[2, 70_000]), whole(&[70_000, 3])).value_only());
    cases.push(exact("9x66000x9", whole(&[9, 66_000]), whole(&[66_000, 9])).value_only());
    cases.push(exact("no terms", whole(&[3, 0]), whole(&[0, 4])));
    cases.push(exact("no terms, batched", whole(&[2, 3, 0]), whole(&[2, 0, 4])));
    cases.push(exact("no rows", whole(&[0, 3]), whole(&[3, 4])));
    cases.push(exact("empty batch", whole(&[0, 2, 3]), whole(&[3, 4])));
    cases.push(exact("inner dimensions differ", whole(&[2, 3]), whole(&[4, 2])).fails());
    for (m, n) in [(9, 66), (2, 7)] {
        let inputs = [whole(&[m, 12]), whole(&[12, n]), whole(&[n])];
        let with_bias = |x: &[Tensor]| x[0].matmul_bias(&x[1], &x[2]);
        cases.push(Case::new("matmul", &format!("bias {m}x{n}"), inputs, with_bias).exact());
    }
    let inputs = [Input::any([9, 512]), Input::any([512, 10]), Input::any([10]).strided()];
    cases.push(Case::new("matmul", "bias 9x512x10", inputs, |x| x[0].matmul_bias(&x[1], &x[2])));
    vec![Room { op: "matmul", cases }]
}
