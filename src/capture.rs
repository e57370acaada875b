//! Functions of tensors that are recorded once and replayed with new inputs.

use crate::autodiff::Edge;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::tape::{self, Filled, Slot, Tape};
use crate::nn::Parameter;
use crate::op::{Meta, count, counted};
use crate::shape::Layout;
use crate::tensor::{Storage, Tensor, Value, View};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::sync::Arc;

/// How many recordings one capture keeps, one for each combination of shapes.
const MOST: usize = 8;

/// A function of tensors, recorded when it is first called and replayed after: a training step without the time
/// that it takes to build it.
///
/// A replay launches the same kernels in the same order on new inputs, with buffers from the pool; between two
/// replays nothing is held but what the function read from outside. Its results are new tensors, outside the
/// graph of derivatives, with the bits that calling the function again would give.
///
/// What moves from replay to replay:
/// * the *inputs*. Other shapes or types, or integers outside the range for which the function was checked, make
///   a further recording (eight are kept);
/// * *parameters* that the function reads with [`Parameter::get`]: as they are at that moment, whoever set them;
///   and those that it sets, like the running mean of a batch norm;
/// * an *optimiser* that takes its step in the function: the step is taken anew with the new gradients, so that
///   its count, and with it Adam's correction of the bias, its learning rate and a schedule's changes are right.
///
/// What does not: everything else that the function does on the host, and tensors from outside that it reads,
/// which are as they were. What would silently be the same each time is an error: random numbers and dropout.
/// So is a value that is read back. Draw, and read, outside.
///
/// On the CPU device there is nothing to record: the function is called each time.
///
/// ```
/// use gradus::nn::{Linear, Params};
/// use gradus::optim::{AdamW, Optimizer};
/// use gradus::{Capture, Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let device = Device::auto()?;
/// let params = Params::new(&device, 7);
/// let layer = Linear::new(&params, 3, 2)?;
/// let mut adam = AdamW::new(&params, 0.1)?;
/// let mut step = Capture::new(&device);
/// let mut losses = vec![];
/// for batch in 0..20 {
///     let x = Tensor::from_slice(&device, &[1.0f32, 2.0, (batch % 2) as f32], [1, 3])?;
///     let labels = Tensor::from_slice(&device, &[batch % 2], [1])?;
///     let results = step.run(&[&x, &labels], |inputs| {
///         let loss = layer.forward(&inputs[0])?.cross_entropy(&inputs[1])?;
///         adam.step(&loss.backward()?)?;
///         Ok(vec![loss])
///     })?;
///     losses.push(results[0].item()?);
/// }
/// assert!(losses[19] < 0.5 * losses[1]);
/// # Ok(())
/// # }
/// ```
pub struct Capture {
    device: Device,
    /// The last used first.
    recordings: Vec<Recording>,
}

struct Recording {
    inputs: Vec<Input>,
    results: Vec<Place>,
    tape: Tape,
    flops: u64,
}

struct Input {
    slot: Slot,
    meta: Meta,
    /// Where integers must lie.
    within: Option<(i32, i32)>,
}

impl Capture {
    /// Nothing recorded yet.
    pub fn new(device: &Device) -> Self {
        Capture { device: device.clone(), recordings: vec![] }
    }

    /// The results of `function` for these inputs. It is called if there is no recording that serves, and does
    /// its work then as always; otherwise the recording is replayed.
    ///
    /// Errors: [`Error::Capture`] for what cannot be replayed, [`Error::Device`] for inputs of another device;
    /// those of the function and of the device. If a replay fails midway, some parameters may have moved.
    pub fn run(
        &mut self,
        inputs: &[&Tensor],
        function: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        inputs.iter().try_for_each(|input| self.device.check_same("capture", input.device()))?;
        let Some(gpu) = self.device.as_gpu() else {
            let inputs: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
            return Ok(function(&inputs)?.iter().map(Tensor::detach).collect());
        };
        tape::refuse(gpu, "capture", "it is recorded already")?;
        let inputs = inputs.iter().map(|input| input.detach().dense()).collect::<Result<Vec<_>>>()?;
        for at in 0..self.recordings.len() {
            if self.recordings[at].serves(&inputs)? {
                self.recordings[..=at].rotate_right(1);
                return self.recordings[0].replay(gpu, &inputs);
            }
        }
        let (results, recording) = record(gpu, &inputs, function)?;
        self.recordings.insert(0, recording);
        self.recordings.truncate(MOST);
        Ok(results)
    }

    /// How many recordings there are.
    pub fn recordings(&self) -> usize {
        self.recordings.len()
    }
}

impl Recording {
    fn serves(&self, inputs: &[Tensor]) -> Result<bool> {
        let alike = |(own, given): (&Input, &Tensor)| {
            let meta = given.meta();
            if (own.meta.shape, own.meta.dtype) != (meta.shape, meta.dtype) {
                return Ok(false);
            }
            let Some((least, most)) = own.within else { return Ok(true) };
            let fits = |low: i32, high: i32| least <= low && high <= most;
            Ok(match meta.range {
                Some((low, high)) => fits(low, high),
                None => given.to_vec::<i32>()?.into_iter().all(|value| fits(value, value)),
            })
        };
        if self.inputs.len() != inputs.len() {
            return Ok(false);
        }
        for pair in self.inputs.iter().zip(inputs) {
            if !alike(pair)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn replay(&self, gpu: &Gpu, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut bound = Vec::with_capacity(inputs.len());
        for (own, given) in self.inputs.iter().zip(inputs) {
            if let Storage::Gpu(buffer) = given.view()?.storage {
                bound.push((own.slot, buffer));
            }
        }
        let filled = self.tape.replay(gpu, bound)?;
        count(self.flops);
        self.results.iter().map(|place| place.tensor(&filled)).collect()
    }
}

fn record(
    gpu: &Gpu,
    inputs: &[Tensor],
    function: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<(Vec<Tensor>, Recording)> {
    NOTES.take();
    let write = || {
        let given = inputs.iter().map(bound).collect::<Result<Vec<_>>>()?;
        let (aliases, slots): (Vec<Tensor>, Vec<Slot>) = given.into_iter().unzip();
        let (outputs, flops) = counted(|| function(&aliases));
        // The graph goes here, while it is seen to let go of its buffers.
        let outputs: Vec<Tensor> = outputs?.iter().map(Tensor::detach).collect();
        let results = outputs.iter().map(Place::of).collect::<Result<Vec<_>>>()?;
        Ok((outputs, results, slots, flops, NOTES.take()))
    };
    let ((outputs, results, slots, flops, notes), tape) = Tape::write(gpu, write)?;
    let input = |(input, slot): (&Tensor, Slot)| {
        let meta = input.meta();
        let limits = notes.limits.iter().filter(|(of, _)| *of == slot).map(|(_, limit)| (0, limit - 1));
        let range = meta.range.filter(|_| notes.by_range && meta.dtype == DType::I32);
        let within = limits.chain(range).reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
        Input { slot, meta, within }
    };
    let inputs = inputs.iter().zip(slots).map(input).collect();
    Ok((outputs, Recording { inputs, results, tape, flops }))
}

/// An input under a lease of its own, and its slot.
fn bound(input: &Tensor) -> Result<(Tensor, Slot)> {
    let view = input.view()?;
    let Storage::Gpu(buffer) = &view.storage else { return Err(not_there()) };
    let alias = buffer.alias();
    let slot = tape::bound(&alias).ok_or_else(not_there)?;
    let view = View { storage: Storage::Gpu(alias), layout: view.layout };
    Ok((Tensor::ready(input.device(), input.meta(), view), slot))
}

fn not_there() -> Error {
    Error::capture("capture", "a tensor that is not on the device", "Move it with to_device before.")
}

/// A tensor as a tape knows it.
pub(crate) struct Place {
    slot: Slot,
    layout: Layout,
    meta: Meta,
    device: Device,
}

impl Place {
    /// Where a tensor lies, computed if it was pending.
    pub fn of(tensor: &Tensor) -> Result<Place> {
        let View { storage, layout } = tensor.view()?;
        let Storage::Gpu(buffer) = &storage else { return Err(not_there()) };
        let slot = tape::slot(buffer).ok_or_else(not_there)?;
        // What the range of integers will be, their next values tell.
        let meta = Meta { range: None, ..tensor.meta() };
        Ok(Place { slot, layout, meta, device: tensor.device().clone() })
    }

    /// The tensor in a replay.
    pub fn tensor(&self, filled: &Filled) -> Result<Tensor> {
        let storage = Storage::Gpu(filled.get(self.slot)?.clone());
        Ok(Tensor::ready(&self.device, self.meta, View { storage, layout: self.layout }))
    }
}

/// What is noted beside a tape.
#[derive(Default)]
struct Notes {
    /// Slots of integers that were checked to lie below a limit.
    limits: Vec<(Slot, i32)>,
    /// Whether what is launched depends on the ranges of the inputs otherwise.
    by_range: bool,
    /// What stands for the value of a parameter, by parameter and value.
    values: FxHashMap<(usize, *const Value), Arc<Value>>,
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
}

/// Notes that what follows holds for integers below a limit alone.
pub(crate) fn limited(indices: &Tensor, limit: usize) -> Result<()> {
    if !tape::active() {
        return Ok(());
    }
    if let Storage::Gpu(buffer) = &indices.view()?.storage
        && let Some(slot) = tape::slot(buffer)
    {
        let computed = tape::is_computed(slot);
        NOTES.with_borrow_mut(|notes| {
            notes.limits.push((slot, i32::try_from(limit).unwrap_or(i32::MAX)));
            notes.by_range |= computed;
        });
    }
    Ok(())
}

/// Notes that what follows depends on the range of integers.
pub(crate) fn by_range() {
    if tape::active() {
        NOTES.with_borrow_mut(|notes| notes.by_range = true);
    }
}

/// The value of a parameter; where a tape is written, one that a replay takes from the parameter again.
pub(crate) fn read(parameter: &Parameter, value: Tensor) -> Tensor {
    if !tape::active() {
        return value;
    }
    let Some(View { storage: Storage::Gpu(buffer), layout }) = value.known_view() else { return value };
    if tape::moves(&buffer) {
        return value;
    }
    let key = (parameter.address(), Arc::as_ptr(&value.value));
    let known = NOTES.with_borrow(|notes| notes.values.get(&key).cloned());
    let edge: Option<Edge> = value.edge.clone();
    if let Some(value) = known {
        return Tensor { value, edge };
    }
    let alias = buffer.alias();
    let Some(slot) = tape::bound(&alias) else { return value };
    let owner = parameter.clone();
    tape::host(Box::new(move |filled| {
        let now = owner.value();
        let now = if layout == Layout::contiguous(layout.shape) { now.dense()? } else { now };
        match now.view()? {
            View { storage: Storage::Gpu(buffer), layout: found } if found == layout => {
                filled.set(slot, buffer)
            }
            _ => {
                return Err(Error::capture(
                    "replay",
                    format!("`{}` no longer lies in memory as when it was recorded", owner.path()),
                    "Make a new Capture after such a change.",
                ));
            }
        }
        Ok(())
    }));
    let stand_in = Tensor::ready(value.device(), value.meta(), View { storage: Storage::Gpu(alias), layout });
    NOTES.with_borrow_mut(|notes| notes.values.insert(key, stand_in.value.clone()));
    Tensor { value: stand_in.value, edge }
}

/// Notes that a parameter was set, to be set again at a replay.
pub(crate) fn set(parameter: &Parameter, value: &Tensor) -> Result<()> {
    if tape::active() {
        let (parameter, place) = (parameter.clone(), Place::of(value)?);
        tape::host(Box::new(move |filled| parameter.point_to(&place.tensor(filled)?)));
    }
    Ok(())
}
