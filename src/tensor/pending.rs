//! Pointwise work that waits, and how it runs.
//!
//! A pending value holds a formula over other values. When it is forced, pending inputs that nobody else
//! holds are merged into the formula; those that somebody else may still ask for are computed once, into
//! a buffer of their own. Depth, size and the number of inputs are limited, so a loop of ten thousand
//! updates runs as many small kernels instead of growing one without end.

use super::{State, Storage, Tensor, Value, View, fusion};
use crate::autodiff;
use crate::cpu::{CpuData, StoredReal};
use crate::device::{Device, Kind};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::{Formula, Program};
use crate::gpu::{Gpu, Operand};
use crate::op::{Meta, unsupported};
use crate::real::Bounded;
use crate::shape::{Layout, Shape};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::{Arc, Mutex};

/// Inputs of one kernel: eight storage buffers, less the output.
pub(crate) const MAX_INPUTS: usize = 7;
/// Pending values on the longest path below a pending value.
const MAX_DEPTH: usize = 24;

pub(super) struct Pending {
    pub formula: Formula,
    pub inputs: Vec<Arc<Value>>,
    pub depth: usize,
}

/// An input of a fused kernel: its place in memory and its type.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub view: View,
    pub dtype: DType,
}

impl Tensor {
    /// A pointwise function of tensors that broadcast to one shape.
    ///
    /// The function is read as a [`Formula`]: as a WGSL kernel fused with its neighbours, and as its own
    /// derivative. Inputs have one floating-point type, which is the output's.
    ///
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`]; [`Error::Argument`] for more than
    /// seven inputs.
    pub fn map<const N: usize>(
        inputs: [&Tensor; N],
        function: impl FnOnce([Formula; N]) -> Formula,
    ) -> Result<Tensor> {
        Tensor::map_named("map", &inputs, &function(std::array::from_fn(Formula::input)))
    }

    pub(crate) fn map_named(op: &'static str, inputs: &[&Tensor], formula: &Formula) -> Result<Tensor> {
        let Some(first) = inputs.first() else {
            return Err(Error::argument(op, "no inputs", "Use Tensor::full for a constant."));
        };
        if inputs.len() > MAX_INPUTS {
            return Err(Error::argument(
                op,
                format!("{} inputs", inputs.len()),
                format!("A pointwise function takes at most {MAX_INPUTS}: split it."),
            ));
        }
        let mut shape = *first.shape();
        for input in inputs {
            input.require_float(op)?;
            first.device().check_same(op, input.device())?;
            if input.dtype() != first.dtype() {
                return Err(Error::dtype(
                    op,
                    format!("{} meets {}", first.describe(), input.describe()),
                    "Convert one of them with to_dtype.",
                ));
            }
            shape = Shape::broadcast(op, &shape, input.shape())?;
        }
        let values: Vec<Arc<Value>> = inputs.iter().map(|t| t.value.clone()).collect();
        let output =
            Tensor::pending(first.device(), Meta::new(shape, first.dtype()), formula.clone(), values)?;
        Ok(autodiff::record_map(op, inputs, formula, output))
    }

    /// Pointwise work that waits; the types of its inputs, which may differ, are the caller's affair.
    pub(super) fn pending(
        device: &Device,
        meta: Meta,
        formula: Formula,
        inputs: Vec<Arc<Value>>,
    ) -> Result<Tensor> {
        let mut depth = 0;
        for input in &inputs {
            let below = input.depth();
            if below >= MAX_DEPTH {
                input.force()?;
            } else {
                depth = depth.max(below);
            }
        }
        let state = Mutex::new(State::Pending(Pending { formula, inputs, depth: depth + 1 }));
        let value = Arc::new(Value { meta, device: device.clone(), state });
        Ok(Tensor { value, edge: None })
    }
}

impl Value {
    fn depth(&self) -> usize {
        match &*self.state() {
            State::Ready(_) | State::Later(_) => 0,
            State::Pending(pending) => pending.depth,
        }
    }

    /// Makes the value ready and says where it lies.
    pub(super) fn force(&self) -> Result<View> {
        let mut state = self.state();
        let view = match &*state {
            State::Ready(view) => return Ok(view.clone()),
            State::Later(launch) => launch(None)?,
            State::Pending(pending) => fusion::run(pending, &self.device, self.meta.shape, self.meta.dtype)?,
        };
        *state = State::Ready(view.clone());
        Ok(view)
    }
}

/// Computes a formula of leaves into a new dense buffer.
pub(super) fn evaluate(
    device: &Device,
    formula: &Formula,
    leaves: &[Leaf],
    shape: Shape,
    dtype: DType,
) -> Result<View> {
    let layout = Layout::contiguous(shape);
    let storage = match &device.0 {
        Kind::Cpu => Storage::Cpu(match dtype {
            DType::F16 | DType::F32 => on_cpu::<f32>(formula, leaves, (shape, dtype), device)?,
            DType::F64 => on_cpu::<f64>(formula, leaves, (shape, dtype), device)?,
            DType::Bounded | DType::BoundedF16 => on_cpu::<Bounded>(formula, leaves, (shape, dtype), device)?,
            DType::I32 => return Err(unsupported("map", dtype, device)),
        }),
        Kind::Gpu(gpu) => {
            let buffer = gpu.elements("map", dtype, shape.count())?;
            on_gpu(gpu, formula, leaves, (&buffer, layout, dtype))?;
            Storage::Gpu(buffer)
        }
    };
    Ok(View { storage, layout })
}

/// Elements a thread takes at a time: enough to repay the registers of the program.
const CHUNK: usize = 16384;

fn on_cpu<R: StoredReal>(
    f: &Formula,
    leaves: &[Leaf],
    (shape, dtype): (Shape, DType),
    device: &Device,
) -> Result<CpuData> {
    let count = shape.count();
    let columns: Result<Vec<Cow<[R]>>> = leaves
        .iter()
        .map(|leaf| {
            let Storage::Cpu(data) = &leaf.view.storage else {
                return Err(unsupported("map", leaf.dtype, device));
            };
            let layout = &leaf.view.layout;
            let whole = |data: &Vec<R>| layout.is_contiguous() && layout.offset == 0 && data.len() == count;
            if let Some(data) = R::unwrap(data).filter(|data| whole(data)) {
                return Ok(Cow::Borrowed(data.as_slice()));
            }
            let loaded = R::load(data, layout).ok_or_else(|| unsupported("map", leaf.dtype, device))?;
            Ok(Cow::Owned(loaded))
        })
        .collect();
    let (columns, program) = (columns?, Program::new(f));
    let mut out = vec![R::default(); count];
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
        let start = chunk * CHUNK;
        let slices: Vec<&[R]> = columns.iter().map(|c| &c[start..start + out.len()]).collect();
        program.run(&slices, out);
    });
    Ok(R::store(out, dtype))
}

fn on_gpu(gpu: &Gpu, formula: &Formula, leaves: &[Leaf], output: Operand) -> Result<()> {
    let inputs: Result<Vec<Operand>> = leaves
        .iter()
        .map(|leaf| match &leaf.view.storage {
            Storage::Gpu(buffer) => Ok((&**buffer, leaf.view.layout, leaf.dtype)),
            Storage::Cpu(_) => Err(Error::device("map", "a tensor of the CPU", "Move it with to_device.")),
        })
        .collect();
    crate::gpu::pointwise(gpu, formula, &inputs?, output)
}
