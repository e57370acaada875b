//! What an operation is: a room with its rule, reference, kernels and gradient.

use crate::autodiff::{self, At, Differentiable};
use crate::choice;
use crate::cpu::{self, Array, CpuData, Stored, StoredReal};
use crate::device::{Device, Kind};
use crate::dtype::DType;
use crate::error::{Error, Result};
pub use crate::footprint::footprint;
use crate::gpu::{Buffer, Fused, Gpu};
use crate::real::{Bounded, Real};
use crate::shape::{Layout, Shape};
use crate::tensor::{Storage, Tensor, View};
use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What a rule knows of a tensor: everything but its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meta {
    /// The extents.
    pub shape: Shape,
    /// The element type.
    pub dtype: DType,
    /// For integers, the smallest and largest value where they are known without asking the device.
    pub range: Option<(i32, i32)>,
}

impl Meta {
    /// A tensor of this shape and type.
    pub fn new(shape: Shape, dtype: DType) -> Self {
        Meta { shape, dtype, range: None }
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.shape, self.dtype)
    }
}

/// What a reference reads: dense arrays, real numbers or integers.
pub struct Inputs<R> {
    arrays: Vec<Data<R>>,
    /// What is given for an input that is not of the kind asked for; that it was asked for is an error.
    none: (Array<R>, Array<i32>),
    misread: OnceLock<String>,
}

/// An array of real numbers or of integers.
pub enum Data<R> {
    /// Real numbers.
    Real(Array<R>),
    /// Integers: labels or indices.
    Int(Array<i32>),
}

impl<R: Real> Inputs<R> {
    fn new(arrays: Vec<Data<R>>) -> Self {
        let shape = Shape::known(&[0]);
        let none = (Array { shape, data: vec![] }, Array { shape, data: vec![] });
        Inputs { arrays, none, misread: OnceLock::new() }
    }

    /// The `index`-th input, which the rule has found to be real. Of one that is not, it is nothing, and
    /// the operation fails once the reference returns.
    pub fn real(&self, index: usize) -> &Array<R> {
        match self.arrays.get(index) {
            Some(Data::Real(array)) => array,
            _ => self.miss(index, "real numbers", &self.none.0),
        }
    }

    /// The `index`-th input, which the rule has found to be of integers; otherwise as [`real`](Self::real).
    pub fn int(&self, index: usize) -> &Array<i32> {
        match self.arrays.get(index) {
            Some(Data::Int(array)) => array,
            _ => self.miss(index, "integers", &self.none.1),
        }
    }

    fn miss<'a, T>(&self, index: usize, wanted: &str, none: &'a Array<T>) -> &'a Array<T> {
        let found = match self.arrays.get(index) {
            Some(Data::Real(_)) => "is of real numbers",
            Some(Data::Int(_)) => "is of integers",
            None => "does not exist",
        };
        self.misread.get_or_init(|| format!("its reference reads input {index} as {wanted}, which {found}"));
        none
    }

    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.arrays.len()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }
}

/// A tensor on the GPU, as a kernel's plan sees it.
#[derive(Clone)]
pub struct GpuView {
    /// The buffer.
    pub buffer: Arc<Buffer>,
    /// How the view lies in it.
    pub(crate) layout: Layout,
}

impl GpuView {
    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.layout.shape
    }

    /// The strides, in elements.
    pub fn strides(&self) -> &[usize] {
        &self.layout.strides[..self.layout.shape.rank()]
    }

    /// The position of the first element.
    pub fn offset(&self) -> usize {
        self.layout.offset
    }
}

/// The buffers of inputs and outputs, where a kernel binds them in that order.
pub fn buffers<'a>(inputs: &'a [GpuView], outputs: &'a [GpuView]) -> Vec<&'a Buffer> {
    inputs.iter().chain(outputs).map(|view| &*view.buffer).collect()
}

/// A structured operation. Implementing the trait answers every question the engine asks of it; `verify`
/// holds the answers against each other.
pub trait Op: Send + Sync + 'static {
    /// The name, as errors and tables print it.
    fn name(&self) -> &'static str;

    /// The shapes and types of the outputs, or the error for inputs the operation does not take.
    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>>;

    /// The outputs, from the mathematics. What the shapes of the inputs do not tell stands in `outputs`.
    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>>;

    /// How the CPU device computes the outputs in f32 where a library does it faster than the reference, whose
    /// bound it keeps. `None` leaves it to the reference.
    fn native(&self, _inputs: &Inputs<f32>, _outputs: &[Meta]) -> Option<Vec<Data<f32>>> {
        None
    }

    /// Launches the kernels. They compute in f32; for tensors of f16 the launch sees to loads and stores (see
    /// `src/gpu/stored.rs`), so that what lies in an output between two launches is rounded. Inputs are dense and start at the beginning of their buffer, unless
    /// [`strided`](Self::strided); outputs always are.
    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()>;

    /// The floating-point operations of the matrix products in it, from the shapes: two for each multiplication
    /// with its addition. What is linear in the elements counts as nothing.
    fn flops(&self, _inputs: &[Meta], _outputs: &[Meta]) -> u64 {
        0
    }

    /// Whether the kernels read any strides.
    fn strided(&self) -> bool {
        false
    }

    /// Which inputs, as bits, may be pointwise work that waits, one of them at a time: the kernels, of at most four
    /// buffers, evaluate it where they read, which they do once for each element or nearly so. None if there is an
    /// [`epilogue`](Self::epilogue).
    fn prologue(&self) -> u32 {
        0
    }

    /// Whether the one output waits for pointwise work behind it: the kernels, of at most four buffers, evaluate that
    /// where they store an element, which they do once, and do not read it back.
    fn epilogue(&self) -> bool {
        false
    }

    /// Which inputs, as bits, are of the [wide](DType::wide) type of the others: statistics that a forward
    /// pass in f16 left in f32.
    fn wide(&self) -> u32 {
        0
    }

    /// Which inputs (bits of the first) and outputs (of the second) the gradient reads.
    fn keeps(&self) -> (u32, u32);

    /// The cotangent of each input, from those of the outputs, in tensor operations. `None` where the
    /// input has none or [`At::needs`] says nobody asks.
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;

    /// The tangent of each output, from those of the inputs, in tensor operations.
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>>;
}

impl<O: Op> Differentiable for O {
    fn name(&self) -> &'static str {
        Op::name(self)
    }
    fn keeps(&self) -> (u32, u32) {
        Op::keeps(self)
    }
    fn vjp(&self, at: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Op::vjp(self, at, dy)
    }
    fn jvp(&self, at: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Op::jvp(self, at, dx)
    }
}

thread_local! {
    /// The floating-point operations of everything this thread has launched.
    static FLOPS: Cell<u64> = const { Cell::new(0) };
}

/// The result of `work`, and the floating-point operations of the matrix products (convolutions, attention and
/// recurrences among them) that it launched from this thread, counted from their shapes.
///
/// ```
/// use gradus::{Device, Tensor, op::counted};
/// # fn main() -> gradus::Result<()> {
/// let a = Tensor::ones(&Device::cpu(), [3, 5])?;
/// let (product, flops) = counted(|| a.matmul(&a.t()?));
/// assert_eq!((product?.count(), flops), (9, 2 * 3 * 5 * 3));
/// # Ok(())
/// # }
/// ```
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = FLOPS.get();
    let result = work();
    (result, FLOPS.get().wrapping_sub(before))
}

/// Adds to what [`counted`] sees.
pub(crate) fn count(flops: u64) {
    FLOPS.set(FLOPS.get().wrapping_add(flops));
}

/// Applies an operation to tensors of one device and records it for autodiff. An operation without inputs
/// needs [`create`].
pub fn apply<O: Op>(op: O, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Some(first) = inputs.first() else {
        return Err(Error::argument(op.name(), "no inputs", "Use `create` to say on which device."));
    };
    create(op, first.device(), inputs)
}

/// [`apply`], with the device given.
pub fn create<O: Op>(op: O, device: &Device, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let op = Arc::new(op);
    let outputs = match &device.0 {
        Kind::Gpu(gpu) if op.epilogue() && choice::epilogues(&gpu.capabilities()) => {
            vec![later(gpu, &op, device, inputs)?]
        }
        _ => run(&*op, device, inputs, &[])?,
    };
    Ok(autodiff::record(op, inputs, outputs))
}

/// The output of an operation whose kernels are launched when somebody needs it.
fn later<O: Op>(gpu: &Gpu, op: &Arc<O>, device: &Device, inputs: &[&Tensor]) -> Result<Tensor> {
    let outputs = rule(&**op, device, inputs)?;
    let [meta] = outputs[..] else {
        let given = format!("its rule names {} outputs, and work behind one is to go into it", outputs.len());
        return Err(Error::validation(
            op.name(),
            given,
            "Only an operation with one output has an epilogue.",
        ));
    };
    let (gpu, op, args) = (gpu.clone(), op.clone(), views(gpu, &**op, inputs)?);
    let launch = move |fused: Option<Fused>| {
        let layout = Layout::contiguous(meta.shape);
        let whole = gpu.elements(op.name(), meta.dtype, meta.shape.count())?;
        if meta.shape.count() > 0 {
            let buffer = fused.map_or_else(|| whole.clone(), |fused| fused.output(&whole));
            op.plan(&gpu, &args, &[GpuView { buffer, layout }])?;
        }
        Ok(View { storage: Storage::Gpu(whole), layout })
    };
    Ok(Tensor::later(device, meta, Box::new(launch)))
}

/// [`apply`] outside the graph of derivatives. Output `o` takes the buffer `over[o]`, if there is one; where
/// it is that of an input, the plan finds it on both sides and lets the kernel write in place.
pub(crate) fn update<O: Op>(op: &O, inputs: &[&Tensor], over: &[Option<Arc<Buffer>>]) -> Result<Vec<Tensor>> {
    match inputs.first() {
        Some(first) => run(op, first.device(), inputs, over),
        None => Err(Error::argument(op.name(), "no inputs", "Give what is to be updated.")),
    }
}

fn run<O: Op>(
    op: &O,
    device: &Device,
    inputs: &[&Tensor],
    over: &[Option<Arc<Buffer>>],
) -> Result<Vec<Tensor>> {
    let outputs = rule(op, device, inputs)?;
    let name = op.name();
    let values = match &device.0 {
        Kind::Cpu => {
            let metas = inputs.iter().map(|t| t.meta());
            let float = metas.chain(outputs.iter().copied()).map(|m| m.dtype).find(|d| d.is_float());
            match float.unwrap_or(DType::F32) {
                DType::F16 | DType::F32 => on_cpu(op, inputs, &outputs, |given| {
                    op.native(given, &outputs).unwrap_or_else(|| op.reference(given, &outputs))
                })?,
                DType::F64 => on_cpu::<f64, O>(op, inputs, &outputs, |given| op.reference(given, &outputs))?,
                DType::Bounded | DType::BoundedF16 => {
                    on_cpu::<Bounded, O>(op, inputs, &outputs, |given| op.reference(given, &outputs))?
                }
                DType::I32 => return Err(unsupported(name, DType::I32, device)),
            }
        }
        Kind::Gpu(gpu) => on_gpu(gpu, op, inputs, &outputs, over)?,
    };
    Ok(outputs.iter().zip(values).map(|(meta, view)| Tensor::ready(device, *meta, view)).collect())
}

/// What the operation says of its outputs, its operands checked and its work counted.
fn rule<O: Op>(op: &O, device: &Device, inputs: &[&Tensor]) -> Result<Vec<Meta>> {
    let name = op.name();
    for input in inputs {
        device.check_same(name, input.device())?;
    }
    check_one_float(name, inputs, op.wide())?;
    let metas: Vec<Meta> = inputs.iter().map(|t| t.meta()).collect();
    let outputs = op.rule(&metas)?;
    count(op.flops(&metas, &outputs));
    Ok(outputs)
}

/// All floating-point inputs must have one type, those of `wide` the one that computes for it: the library
/// never converts behind the caller's back.
fn check_one_float(op: &'static str, inputs: &[&Tensor], wide: u32) -> Result<()> {
    let floats = || inputs.iter().enumerate().filter(|(_, t)| t.dtype().is_float());
    let Some(first) = floats().find(|(k, _)| !autodiff::bit(wide, *k)).map(|(_, t)| t.dtype()) else {
        return Ok(());
    };
    let wanted = |k: usize| if autodiff::bit(wide, k) { first.wide() } else { first };
    match floats().find(|(k, t)| t.dtype() != wanted(*k)) {
        Some((_, other)) => Err(Error::dtype(
            op,
            format!("{first} meets {}", other.dtype()),
            "Convert one of them with to_dtype.",
        )),
        None => Ok(()),
    }
}

/// The device does not compute in this type.
pub(crate) fn unsupported(op: &'static str, dtype: DType, device: &Device) -> Error {
    Error::dtype(
        op,
        format!("{dtype} on {device}"),
        "A GPU computes in f32, f16 and i32, the CPU device in f64 as well: convert with to_dtype.",
    )
}

fn on_cpu<R: StoredReal, O: Op>(
    op: &O,
    inputs: &[&Tensor],
    outputs: &[Meta],
    compute: impl FnOnce(&Inputs<R>) -> Vec<Data<R>>,
) -> Result<Vec<View>> {
    let arrays: Result<Vec<Data<R>>> = inputs
        .iter()
        .map(|t| {
            let view = t.view()?;
            let shape = view.layout.shape;
            match &view.storage {
                Storage::Cpu(CpuData::I32(data)) => {
                    Ok(Data::Int(Array { shape, data: cpu::gather(data, &view.layout) }))
                }
                Storage::Cpu(data) => {
                    let data = R::load(data, &view.layout)
                        .ok_or_else(|| unsupported(op.name(), t.dtype(), t.device()))?;
                    Ok(Data::Real(Array { shape, data }))
                }
                Storage::Gpu(_) => Err(unsupported(op.name(), t.dtype(), t.device())),
            }
        })
        .collect();
    let inputs = Inputs::new(arrays?);
    let results = compute(&inputs);
    check_reference(op.name(), &inputs, &results, outputs)?;
    Ok(results
        .into_iter()
        .zip(outputs)
        .map(|(result, meta)| {
            let data = match result {
                Data::Real(array) => R::store(array.data, meta.dtype),
                Data::Int(array) => i32::wrap(array.data),
            };
            View { storage: Storage::Cpu(data), layout: Layout::contiguous(meta.shape) }
        })
        .collect())
}

/// A reference that does not do what the rule says is a mistake of whoever wrote the operation, and no
/// reason to panic.
fn check_reference<R: Real>(
    op: &'static str,
    inputs: &Inputs<R>,
    results: &[Data<R>],
    outputs: &[Meta],
) -> Result<()> {
    let wrong = |given: String| {
        Err(Error::validation(
            op,
            given,
            "The operation's rule and its reference disagree: mend one of them.",
        ))
    };
    if let Some(misread) = inputs.misread.get() {
        return wrong(misread.clone());
    }
    if results.len() != outputs.len() {
        return wrong(format!(
            "its rule names {} outputs, its reference gives {}",
            outputs.len(),
            results.len()
        ));
    }
    for (k, (result, meta)) in results.iter().zip(outputs).enumerate() {
        let (count, float) = match result {
            Data::Real(array) => (array.data.len(), true),
            Data::Int(array) => (array.data.len(), false),
        };
        if count != meta.shape.count() || float != meta.dtype.is_float() {
            let kind = if float { "real numbers" } else { "integers" };
            return wrong(format!("output {k} is {meta} by its rule, {count} {kind} by its reference"));
        }
    }
    Ok(())
}

/// The inputs as the kernels take them, which evaluate one formula at most.
fn views<O: Op>(gpu: &Gpu, op: &O, inputs: &[&Tensor]) -> Result<Vec<GpuView>> {
    let mut takes = if op.epilogue() { 0 } else { op.prologue() };
    let view = |(k, t): (usize, &&Tensor)| {
        // What the gradient will read has to be there in any case.
        let kept = t.edge.is_some() && autodiff::bit(op.keeps().0, k);
        if autodiff::bit(takes, k)
            && !kept
            && let Some(buffer) = t.absorbed()?
        {
            takes = 0;
            return Ok(GpuView { buffer, layout: Layout::contiguous(*t.shape()) });
        }
        let view = if op.strided() { t.view()? } else { t.dense()?.view()? };
        match view.storage {
            Storage::Gpu(buffer) => Ok(GpuView { buffer, layout: view.layout }),
            Storage::Cpu(_) => Err(unsupported(op.name(), t.dtype(), &Device(Kind::Gpu(gpu.clone())))),
        }
    };
    inputs.iter().enumerate().map(view).collect()
}

fn on_gpu<O: Op>(
    gpu: &Gpu,
    op: &O,
    inputs: &[&Tensor],
    outputs: &[Meta],
    over: &[Option<Arc<Buffer>>],
) -> Result<Vec<View>> {
    let name = op.name();
    let args = views(gpu, op, inputs)?;
    let results: Result<Vec<GpuView>> = outputs
        .iter()
        .enumerate()
        .map(|(o, meta)| {
            let buffer = match over.get(o) {
                Some(Some(given)) => given.clone(),
                _ => gpu.elements(name, meta.dtype, meta.shape.count())?,
            };
            Ok(GpuView { buffer, layout: Layout::contiguous(meta.shape) })
        })
        .collect();
    let results = results?;
    if outputs.iter().any(|m| m.shape.count() > 0) {
        op.plan(gpu, &args, &results)?;
    }
    Ok(results.into_iter().map(|v| View { storage: Storage::Gpu(v.buffer), layout: v.layout }).collect())
}
