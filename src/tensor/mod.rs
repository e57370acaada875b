//! The tensor: an immutable, strided, possibly still pending array on a device, with its place in the
//! graph of derivatives.

mod cast;
mod display;
mod fusion;
mod methods;
pub(crate) mod packed;
mod pending;
mod read;
mod views;
mod write;

use crate::autodiff::Edge;
use crate::cpu::{CpuData, Stored};
use crate::device::{Device, Kind};
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Fused};
use crate::op::Meta;
use crate::real::{Bounded, Real};
use crate::shape::{Layout, Shape};
use pending::Pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An array of numbers on a device.
///
/// Values never change once they are there, so cloning is cheap and shares them. Pointwise work is
/// recorded and fused; it runs when something structured or a reader needs it. A tensor that came from
/// a [`variable`](Tensor::variable) carries the graph that [`backward`](Tensor::backward) walks.
///
/// The storage designs not chosen: a generic parameter for the rank or the type would catch some mistakes
/// at compile time, at the price that models could not be built from data; an in-place tensor would save
/// memory that the buffer pool saves already.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) value: Arc<Value>,
    pub(crate) edge: Option<Edge>,
}

/// A tensor's value, shared by its clones and by the graph.
pub(crate) struct Value {
    pub meta: Meta,
    pub device: Device,
    state: Mutex<State>,
}

enum State {
    /// Computed, or recorded on the device to be computed before anything that reads it.
    Ready(View),
    /// A formula of other values that nobody has needed yet.
    Pending(Pending),
    /// A kernel that has not been launched yet, for pointwise work behind it to go into it.
    Later(Launch),
}

/// Launches the kernel that makes a value, with a formula for what it stores, if one is given.
pub(crate) type Launch = Box<dyn Fn(Option<Fused>) -> Result<View> + Send + Sync>;

/// Where the elements lie.
#[derive(Clone)]
pub(crate) struct View {
    pub storage: Storage,
    pub layout: Layout,
}

#[derive(Clone)]
pub(crate) enum Storage {
    Cpu(CpuData),
    Gpu(Arc<Buffer>),
}

impl Value {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Rust type whose slices tensors are made from: `half::f16`, `f32`, `f64`, [`Bounded`], `i32`.
#[allow(private_bounds, reason = "how the CPU device stores it is nobody's business")]
pub trait Host: Element + Stored + bytemuck::Pod {}
impl<T: Element + Stored + bytemuck::Pod> Host for T {}

impl Tensor {
    /// A value that is there.
    pub(crate) fn ready(device: &Device, meta: Meta, view: View) -> Self {
        let state = Mutex::new(State::Ready(view));
        Tensor { value: Arc::new(Value { meta, device: device.clone(), state }), edge: None }
    }

    /// A value whose kernel is launched when somebody needs it.
    pub(crate) fn later(device: &Device, meta: Meta, launch: Launch) -> Self {
        let state = Mutex::new(State::Later(launch));
        Tensor { value: Arc::new(Value { meta, device: device.clone(), state }), edge: None }
    }

    /// A tensor with these elements, row-major.
    ///
    /// Errors: [`Error::Shape`] if their number is not that of the shape, [`Error::DType`] if the device
    /// does not store the type, [`Error::OutOfMemory`].
    pub fn from_slice<T: Host>(device: &Device, data: &[T], shape: impl AsRef<[usize]>) -> Result<Self> {
        let shape = Shape::new(shape.as_ref())?;
        if shape.count() != data.len() {
            return Err(Error::shape(
                "from_slice",
                format!("{} elements for {shape}, which has {}", data.len(), shape.count()),
                "Give as many elements as the shape holds.",
            ));
        }
        Tensor::from_vec(device, data.to_vec(), shape)
    }

    /// A tensor of elements whose number has been checked.
    pub(crate) fn from_vec<T: Host>(device: &Device, data: Vec<T>, shape: Shape) -> Result<Self> {
        let mut meta = Meta::new(shape, T::DTYPE);
        let bytes: &[u8] = bytemuck::cast_slice(&data);
        if T::DTYPE == DType::I32 {
            let integers: &[i32] = bytemuck::cast_slice(bytes);
            meta.range = integers.iter().copied().min().zip(integers.iter().copied().max());
        }
        let storage = match &device.0 {
            Kind::Cpu => Storage::Cpu(T::wrap(data)),
            Kind::Gpu(gpu) => {
                let buffer = gpu.elements("from_slice", T::DTYPE, data.len())?;
                gpu.upload(&buffer, bytes);
                Storage::Gpu(buffer)
            }
        };
        Ok(Tensor::ready(device, meta, View { storage, layout: Layout::contiguous(shape) }))
    }

    /// A tensor without axes.
    pub fn scalar(device: &Device, value: f32) -> Result<Self> {
        Tensor::from_slice(device, &[value], [])
    }

    /// Zeros, f32.
    pub fn zeros(device: &Device, shape: impl AsRef<[usize]>) -> Result<Self> {
        Tensor::full(device, DType::F32, shape, 0.0)
    }

    /// Ones, f32.
    pub fn ones(device: &Device, shape: impl AsRef<[usize]>) -> Result<Self> {
        Tensor::full(device, DType::F32, shape, 1.0)
    }

    /// One value everywhere, held once.
    pub fn full(device: &Device, dtype: DType, shape: impl AsRef<[usize]>, value: f64) -> Result<Self> {
        let (shape, one) = (Shape::new(shape.as_ref())?, Shape::known(&[]));
        let scalar = match dtype {
            DType::F32 => Tensor::from_vec(device, vec![value as f32], one)?,
            DType::F64 => Tensor::from_vec(device, vec![value], one)?,
            DType::Bounded => Tensor::from_vec(device, vec![Bounded::from_f64(value)], one)?,
            DType::BoundedF16 => {
                Tensor::from_vec(device, vec![Bounded::from_f64(value)], one)?.to_dtype(dtype)?
            }
            DType::I32 => Tensor::from_vec(device, vec![value as i32], one)?,
            DType::F16 => Tensor::from_vec(device, vec![half::f16::from_f64(value)], one)?,
        };
        scalar.broadcast_to(shape)
    }

    /// A constant of this tensor's shape, type and device.
    pub fn full_like(&self, value: f64) -> Result<Self> {
        Tensor::full(self.device(), self.dtype(), *self.shape(), value)
    }

    /// `start`, `start` + 1, … below `end`, as i32.
    pub fn arange(device: &Device, start: i32, end: i32) -> Result<Self> {
        let data: Vec<i32> = (start..end).collect();
        let shape = Shape::new(&[data.len()])?;
        Tensor::from_vec(device, data, shape)
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.value.meta.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.shape().count()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.value.meta.dtype
    }

    /// The device it lives on.
    pub fn device(&self) -> &Device {
        &self.value.device
    }

    pub(crate) fn meta(&self) -> Meta {
        self.value.meta
    }

    /// Shape and type, as error messages show them.
    pub(crate) fn describe(&self) -> String {
        self.meta().to_string()
    }

    /// The error for a tensor that is not of floating point where one is needed.
    pub(crate) fn require_float(&self, op: &'static str) -> Result<()> {
        if self.dtype().is_float() {
            return Ok(());
        }
        Err(Error::dtype(op, self.describe(), "Convert to a floating-point type with to_dtype."))
    }

    /// Where the elements lie; runs what is pending.
    pub(crate) fn view(&self) -> Result<View> {
        self.value.force()
    }

    /// Where the elements lie, if nothing is pending.
    pub(crate) fn known_view(&self) -> Option<View> {
        match &*self.value.state() {
            State::Ready(view) => Some(view.clone()),
            State::Pending(_) | State::Later(_) => None,
        }
    }

    /// The same elements, row-major from the start of a buffer of their own if they are not already.
    pub(crate) fn dense(&self) -> Result<Tensor> {
        let layout = self.view()?.layout;
        if layout.is_contiguous() && layout.offset == 0 { Ok(self.clone()) } else { cast::copy(self) }
    }

    /// The GPU buffer, if the tensor is there, fills it densely, and nobody else can see it: what a kernel
    /// may write over.
    pub(crate) fn sole_buffer(&mut self) -> Option<Arc<Buffer>> {
        let Value { meta, state, .. } = Arc::get_mut(&mut self.value)?;
        let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let State::Ready(View { storage: Storage::Gpu(buffer), layout }) = state else { return None };
        let dense = *layout == Layout::contiguous(meta.shape);
        let bytes = (meta.dtype.size() * meta.shape.count()) as u64;
        let whole = buffer.bytes() == bytes.max(4).next_multiple_of(4);
        (dense && whole && Arc::strong_count(buffer) == 1).then(|| buffer.clone())
    }

    /// A copy without strides or sharing, where there were any. The gradient passes through.
    pub fn contiguous(&self) -> Result<Tensor> {
        let dense = self.dense()?;
        Ok(Tensor { value: dense.value, edge: self.edge.clone() })
    }
}

impl AsRef<[usize]> for Shape {
    fn as_ref(&self) -> &[usize] {
        self
    }
}
