//! Matrix products, batched, of any strides, with an optional bias.

mod cases;

pub(super) use self::cases::rooms;
use crate::autodiff::At;
use crate::choice::{self, Product, TURNS};
use crate::cpu::Array;
use crate::cpu::gemm::{self, Matrix};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Buffer, Dispatch, Gpu, Operand, Shader, Source, pointwise, shader};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::reduce;
use crate::real::Real;
use crate::shape::{Layout, MAX_RANK, Shape, coalesce};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::Arc;

static NAIVE: Shader = shader!("matmul/naive.wgsl");
static QUADS: Shader = shader!("matmul/quads.wgsl");
static REGISTER: Shader = shader!("matmul/register.wgsl");
static ROW: Shader = shader!("matmul/row.wgsl");
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
        let right = lying(b, &outer[1]);
        let candidates = choice::product(&gpu.capabilities(), batches, [m, k, n], right == Lie::Rows);
        let name = match right {
            Lie::Rows => "matmul",
            Lie::Columns => "matmul turned",
            Lie::Otherwise => "matmul odd",
        };
        let kernel = gpu.choose(name, &[batches, m, k, n], candidates);
        if matches!(kernel, Product::Quads { .. }) && !n.is_multiple_of(4) {
            return self.by_fours(gpu, inputs, &outputs[0]);
        }
        let work = kernel.work(batches, m, n);
        let bias = inputs.get(2).map(|bias| bias_view(gpu, bias)).transpose()?;
        // Of a sum in pieces, the terms of one, whole steps of the kernel.
        let (pieces, terms) = match kernel {
            Product::Tiled { pieces, step, .. } => {
                (pieces as usize, k.div_ceil(pieces as usize).next_multiple_of(step as usize))
            }
            Product::Row { pieces, .. } => (pieces as usize, k / pieces as usize),
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
            particular: [terms as u32, batches as u32],
            batch_dims: [1; MAX_RANK],
            ..Default::default()
        };
        for (axis, &extent) in outer[0].shape.iter().enumerate() {
            params.batch_dims[axis] = extent as u32;
            params.lhs_batch[axis] = outer[0].strides[axis] as u32;
            params.rhs_batch[axis] = outer[1].strides[axis] as u32;
        }
        let mut constants = vec![("BIAS", u32::from(bias.is_some()))];
        let shader = match kernel {
            Product::Naive => &NAIVE,
            Product::Quads { lanes, .. } => {
                let lhs = lying(a, &outer[0]) == Lie::Rows;
                let held = |fours: bool| if fours { 4 } else { 1 };
                // One kernel with a bias or without: such large ones take long to compile.
                params.particular = [bias.is_some().into(), 0];
                constants = vec![
                    ("WIDE", (n as u32 > 4 * lanes).into()),
                    ("LHS_QUADS", lhs.into()),
                    ("RHS_ALONG_N", (right == Lie::Rows).into()),
                    ("RHS_ALONG_K", (right == Lie::Columns).into()),
                    ("Lhs", held(lhs)),
                    ("Rhs", held(right != Lie::Otherwise)),
                ];
                &QUADS
            }
            Product::Register { .. } => &REGISTER,
            Product::Row { .. } => &ROW,
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

impl Matmul {
    /// A product whose columns do not come by fours, by the kernel that wants them so: the transpose of the product, if
    /// rows do, otherwise one with more columns, which nobody reads.
    fn by_fours(&self, gpu: &Gpu, inputs: &[GpuView], output: &GpuView) -> Result<()> {
        let [m, _, n] = extents(inputs[0].shape(), inputs[1].shape());
        let turn = m.is_multiple_of(4);
        let (operands, rows, columns) = match turn {
            true => ([&inputs[1], &inputs[0]].map(transposed), n, m),
            false => ([inputs[0].clone(), widened(gpu, &inputs[1])?], m, n.next_multiple_of(4)),
        };
        let mut dims = output.shape().to_vec();
        dims.truncate(dims.len() - 2);
        dims.extend([rows, columns]);
        let made = dense(gpu, &dims)?;
        self.plan(gpu, &operands, std::slice::from_ref(&made))?;
        let layout = match turn {
            true => transposed(&made).layout,
            false => made.layout.sliced(dims.len() - 1, 0, n, 1),
        };
        let product: Operand = (&made.buffer, layout, DType::F32);
        let to = (&*output.buffer, output.layout, DType::F32);
        match inputs.get(2) {
            None => pointwise(gpu, &Formula::input(0), &[product], to),
            Some(bias) => {
                let bias = (&*bias.buffer, bias.layout.broadcast_to(*output.shape()), DType::F32);
                pointwise(gpu, &(Formula::input(0) + Formula::input(1)), &[product, bias], to)
            }
        }
    }
}

/// f32 of this shape, unspecified.
fn dense(gpu: &Gpu, dims: &[usize]) -> Result<GpuView> {
    let layout = Layout::contiguous(Shape::known(dims));
    Ok(GpuView { buffer: gpu.buffer("matmul", 4 * layout.shape.count() as u64)?, layout })
}

fn transposed(x: &GpuView) -> GpuView {
    let mut order: Vec<usize> = (0..x.shape().rank()).collect();
    order.swap(x.shape().rank() - 2, x.shape().rank() - 1);
    GpuView { buffer: x.buffer.clone(), layout: x.layout.permuted(&order) }
}

/// A copy with as many columns as come by fours; those that were not there hold anything.
fn widened(gpu: &Gpu, x: &GpuView) -> Result<GpuView> {
    let (mut dims, last) = (x.shape().to_vec(), x.shape().rank() - 1);
    dims[last] = dims[last].next_multiple_of(4);
    let wide = dense(gpu, &dims)?;
    let there = wide.layout.sliced(last, 0, x.shape()[last], 1);
    let from: Operand = (&x.buffer, x.layout, DType::F32);
    pointwise(gpu, &Formula::input(0), &[from], (&wide.buffer, there, DType::F32))?;
    Ok(wide)
}

/// The bias dense at the start of a buffer: a vector, so a copy where it is not costs nothing.
fn bias_view(gpu: &Gpu, bias: &GpuView) -> Result<Arc<Buffer>> {
    if bias.layout.is_contiguous() && bias.offset() == 0 {
        return Ok(bias.buffer.clone());
    }
    let copy = dense(gpu, bias.shape())?;
    let from: Operand = (&bias.buffer, bias.layout, DType::F32);
    pointwise(gpu, &Formula::input(0), &[from], (&copy.buffer, copy.layout, DType::F32))?;
    Ok(copy.buffer)
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
    /// Where sums are cut, the terms of a piece and the batches; of quads, whether there is a bias.
    particular: [u32; 2],
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

/// The product in parts along the inner axis, if that is too long for a kernel's loop: the sum of several products.
fn in_parts(lhs: &Tensor, rhs: &Tensor) -> Result<Option<Tensor>> {
    let (a, b) = (lhs.shape(), rhs.shape());
    let terms = a.last().copied().unwrap_or(0);
    let fits = lhs.device().is_cpu() || terms <= TURNS;
    if fits || a.rank() < 2 || b.rank() < 2 || b[b.rank() - 2] != terms {
        return Ok(None);
    }
    let mut sum: Option<Tensor> = None;
    for first in (0..terms).step_by(TURNS) {
        let last = terms.min(first + TURNS);
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
