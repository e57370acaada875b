//! Random numbers as functions of (seed, stream, index).
//!
//! A random tensor does not depend on which tensors were made before it, on the device, or on how many
//! lanes made it: element i is word i mod 4 of block ⌊i/4⌋ of a counter-based generator
//! ([`philox`]), turned into a number by integer arithmetic. So it has the same bits everywhere, and the
//! first n elements of a longer tensor are those of a shorter one.

mod normal;
pub mod philox;
#[cfg(test)]
mod tests;

use crate::autodiff::At;
use crate::cpu::Array;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader, tape};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::real::Real;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};
use philox::philox4x32_10;
use rayon::prelude::*;

static RANDOM: Shader = shader!("random/random.wgsl");

/// Which of 2¹²⁸ sequences of random numbers. Streams of one seed are independent, and so are the uniform
/// and the normal numbers of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    /// What a run is repeated by.
    pub seed: u64,
    /// What tells the tensors of a run apart: a count of steps and layers, for instance.
    pub stream: u64,
}

impl Stream {
    /// Stream `stream` of `seed`.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Stream { seed, stream }
    }
}

pub(crate) fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// A tensor of random numbers.
struct Random {
    normal: bool,
    stream: Stream,
    meta: Meta,
}

impl Random {
    /// Keeps the counters of both kinds of numbers apart, and from those of others.
    fn tag(&self) -> u32 {
        u32::from_be_bytes(if self.normal { *b"norm" } else { *b"unif" })
    }

    fn block(&self, index: u32) -> [f32; 4] {
        let [low, high] = halves(self.stream.stream);
        let words = philox4x32_10([index, low, high, self.tag()], halves(self.stream.seed));
        words.map(|word| if self.normal { normal::number(word) } else { uniform(word) })
    }
}

/// The upper 24 bits of a word as a multiple of 2⁻²⁴ in [0, 1): exact in f32.
fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 / (1 << 24) as f32
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RandomParams {
    count: u32,
    tag: u32,
    seed: [u32; 2],
    stream: [u32; 2],
}

impl Op for Random {
    fn name(&self) -> &'static str {
        if self.normal { "normal" } else { "uniform" }
    }

    fn rule(&self, _: &[Meta]) -> Result<Vec<Meta>> {
        if !self.meta.dtype.is_float() {
            return Err(Error::dtype(self.name(), self.meta.to_string(), "Ask for a floating-point type."));
        }
        Ok(vec![self.meta])
    }

    fn reference<R: Real>(&self, _: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let shape = outputs[0].shape;
        let blocks = 0..shape.count().div_ceil(4) as u32;
        let mut data: Vec<R> =
            blocks.into_par_iter().flat_map_iter(|b| self.block(b).map(|v| R::from_f64(v.into()))).collect();
        data.truncate(shape.count());
        vec![Data::Real(Array { shape, data })]
    }

    fn plan(&self, gpu: &Gpu, _: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        tape::refuse(gpu, self.name(), "it would draw the same at every replay")?;
        let count = outputs[0].shape().count();
        let params = RandomParams {
            count: count as u32,
            tag: self.tag(),
            seed: halves(self.stream.seed),
            stream: halves(self.stream.stream),
        };
        let table = gpu.table("normal", || normal::table().as_flattened().to_vec())?;
        gpu.dispatch(Dispatch {
            op: self.name(),
            source: Source::File(&RANDOM, &[("NORMAL", self.normal.into())]),
            params: bytemuck::bytes_of(&params),
            buffers: &[&table, &outputs[0].buffer],
            groups: gpu.fold(count.div_ceil(4), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    // There is no input that a derivative could be taken by.
    fn vjp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![])
    }

    fn jvp(&self, _: &At, _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

fn random(normal: bool, device: &Device, dtype: DType, shape: &[usize], stream: Stream) -> Result<Tensor> {
    let meta = Meta::new(Shape::new(shape)?, dtype);
    Ok(op::create(Random { normal, stream, meta }, device, &[])?.swap_remove(0))
}

impl Tensor {
    /// Uniform random numbers in [0, 1), f32: multiples of 2⁻²⁴, the same bits on every device.
    ///
    /// Errors: [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn uniform(device: &Device, shape: impl AsRef<[usize]>, stream: Stream) -> Result<Tensor> {
        Tensor::uniform_in(device, DType::F32, shape, stream)
    }

    /// [`uniform`](Self::uniform) in another floating-point type: the same numbers exactly, but in f16
    /// rounded, some of them to one.
    ///
    /// Errors: [`Error::DType`] if the device does not compute in it.
    pub fn uniform_in(
        device: &Device,
        dtype: DType,
        shape: impl AsRef<[usize]>,
        stream: Stream,
    ) -> Result<Tensor> {
        random(false, device, dtype, shape.as_ref(), stream)
    }

    /// Standard normal random numbers, f32: multiples of 2⁻²¹, the same bits on every device.
    ///
    /// Each is the inverse of the normal distribution function at a uniform number of 32 bits, within
    /// 2·10⁻⁶; so none is beyond ±6.34. Errors: [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn normal(device: &Device, shape: impl AsRef<[usize]>, stream: Stream) -> Result<Tensor> {
        Tensor::normal_in(device, DType::F32, shape, stream)
    }

    /// [`normal`](Self::normal) in another floating-point type: the same numbers exactly, in f16 rounded.
    ///
    /// Errors: [`Error::DType`] if the device does not compute in it.
    pub fn normal_in(
        device: &Device,
        dtype: DType,
        shape: impl AsRef<[usize]>,
        stream: Stream,
    ) -> Result<Tensor> {
        random(true, device, dtype, shape.as_ref(), stream)
    }

    /// Ones with probability `p`, else zeros, f32: one where [`uniform`](Self::uniform) of the stream is
    /// below `p`, rounded to a multiple of 2⁻²⁴.
    ///
    /// Errors: [`Error::Argument`] unless 0 ≤ p ≤ 1.
    pub fn bernoulli(device: &Device, shape: impl AsRef<[usize]>, p: f64, stream: Stream) -> Result<Tensor> {
        Tensor::bernoulli_in(device, DType::F32, shape, p, stream)
    }

    /// [`bernoulli`](Self::bernoulli) in another floating-point type: the same numbers.
    pub fn bernoulli_in(
        device: &Device,
        dtype: DType,
        shape: impl AsRef<[usize]>,
        p: f64,
        stream: Stream,
    ) -> Result<Tensor> {
        if !(0.0..=1.0).contains(&p) {
            let given = format!("probability {p}");
            return Err(Error::argument("bernoulli", given, "A probability lies between 0 and 1."));
        }
        // Rounded as the numbers are, so that the comparison is exact on every device, and never subnormal.
        let steps = f64::from(1 << 24);
        let below = Formula::scalar((p * steps).round() / steps);
        // Compared before anything is rounded to f16.
        let uniform = Tensor::uniform_in(device, dtype.wide(), shape, stream)?;
        Tensor::map_named("bernoulli", &[&uniform], &Formula::input(0).less(below))?.to_dtype(dtype)
    }
}

/// The cases of this room. The input carries nothing but the device and the type.
pub(super) fn rooms() -> Vec<Room> {
    type Make = fn(&Device, DType, &[usize]) -> Result<Tensor>;
    const STREAM: Stream = Stream::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
    let shapes: [&[usize]; 10] =
        [&[], &[1], &[3], &[4], &[5], &[255], &[256], &[257], &[7, 59], &[3, 66_000]];
    let makes: [(&'static str, Make); 3] = [
        ("uniform", |device, dtype, shape| Tensor::uniform_in(device, dtype, shape, STREAM)),
        ("normal", |device, dtype, shape| Tensor::normal_in(device, dtype, shape, STREAM)),
        ("bernoulli", |device, dtype, shape| Tensor::bernoulli_in(device, dtype, shape, 0.3, STREAM)),
    ];
    let mut rooms: Vec<Room> = makes
        .into_iter()
        .map(|(op, make)| {
            let call = |detail: String, shape: &'static [usize]| {
                Case::new(op, &detail, [Input::whole([])], move |x| make(x[0].device(), x[0].dtype(), shape))
                    .value_only()
            };
            let mut cases: Vec<Case> = shapes.map(|shape| call(format!("{shape:?}"), shape).exact()).into();
            cases.push(call("empty".into(), &[3, 0]).exact());
            cases.push(call("too large".into(), &[1 << 20, 1 << 20]).fails());
            cases.push(
                Case::new(op, "integers", [Input::whole([])], move |x| make(x[0].device(), DType::I32, &[3]))
                    .fails(),
            );
            Room { op, cases }
        })
        .collect();
    // Streams whose first block has a word of 31 leading zeros, one of either sign: the ends of the range.
    for stream in [555_063_934, 1_080_649_086] {
        let case =
            Case::new("normal", &format!("outermost, stream {stream}"), [Input::whole([])], move |x| {
                Tensor::normal_in(x[0].device(), x[0].dtype(), [4], Stream::new(7, stream))
            });
        rooms[1].cases.push(case.value_only().exact());
    }
    for p in [0.0, 1.0, 1e-40, f64::from(f32::EPSILON), -0.1, 1.1, f64::NAN] {
        let case = Case::new("bernoulli", &format!("p = {p}"), [Input::whole([])], move |x| {
            Tensor::bernoulli_in(x[0].device(), x[0].dtype(), [1000], p, STREAM)
        });
        rooms[2].cases.push(if (0.0..=1.0).contains(&p) { case.value_only().exact() } else { case.fails() });
    }
    rooms
}
