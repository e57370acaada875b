//! Which keys are open to which queries, with what scores; and how kernels are told.

use crate::choice;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Dispatch, Gpu, Shader, Source, tape};
use crate::op::{GpuView, Meta};
use crate::ops::dropout;
use crate::ops::random::{Stream, halves, philox::philox4x32_10};
use crate::real::Real;
use crate::shape::Shape;

/// What the bias of a key is that a mask closes. Far enough from the end of f32 that no sum overflows.
pub(super) const CLOSED: f64 = -3.3e38;

/// A key is closed if its bias is this or below.
pub(super) const LOWEST: f64 = -3e38;

/// Sizes: q `[batch, heads, queries, depth]`, k and v `[batch, heads / shared, keys, depth or width]`.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub batch: usize,
    pub heads: usize,
    /// How many heads of queries share a head of keys and values.
    pub shared: usize,
    pub queries: usize,
    pub keys: usize,
    pub depth: usize,
    pub width: usize,
}

impl Extents {
    /// Of shapes that fit.
    pub fn of(q: &Shape, k: &Shape, v: &Shape) -> Self {
        Extents {
            batch: q[0],
            heads: q[1],
            shared: q[1] / k[1].max(1),
            queries: q[2],
            keys: k[2],
            depth: q[3],
            width: v[3],
        }
    }

    /// Of q, k and v, if they fit.
    pub fn check(inputs: &[Meta]) -> Result<Self> {
        let [q, k, v] = [inputs[0], inputs[1], inputs[2]];
        let given = || format!("q {q}, k {k}, v {v}");
        if [q, k, v].iter().any(|meta| !meta.dtype.is_float()) {
            return Err(Error::dtype("attention", given(), "Convert to a float with to_dtype."));
        }
        if [q, k, v].iter().any(|meta| meta.shape.rank() != 4) {
            let remedy = "Give [batch, heads, time, features] each: split features into heads, then permute.";
            return Err(Error::shape("attention", given(), remedy));
        }
        let (depth, width) = (q.shape[3], v.shape[3]);
        let agree = k.shape[3] == depth
            && q.shape[0] == k.shape[0]
            && k.shape[..3] == v.shape[..3]
            && depth > 0
            && width > 0;
        if !agree {
            let remedy = "q and k have the same batch and features, k and v the same batch, heads and time; \
                          none has zero features.";
            return Err(Error::shape("attention", given(), remedy));
        }
        let (heads, groups) = (q.shape[1], k.shape[1]);
        if !heads.checked_rem(groups).map_or(heads == 0, |rest| rest == 0) {
            let remedy = "The heads of q are a multiple of those of k and v.";
            return Err(Error::shape("attention", given(), remedy));
        }
        Ok(Extents::of(&q.shape, &k.shape, &v.shape))
    }

    /// Whether features can be read four at a time.
    pub fn by_fours(&self) -> bool {
        self.depth.is_multiple_of(4) && self.width.is_multiple_of(4)
    }

    /// How many queries there are in all.
    pub fn rows(&self) -> usize {
        self.batch * self.heads * self.queries
    }

    /// The place among all keys of the first that belongs to the head of a query.
    pub fn first_key(&self, row: usize) -> usize {
        row / self.queries / self.shared * self.keys
    }

    /// Where the bias of a query and a key is.
    pub fn bias_at(&self, bias: &Shape, row: usize, key: usize) -> usize {
        let entry = row / self.queries;
        let index = [entry / self.heads, entry % self.heads, row % self.queries, key];
        let strides = broadcast_strides(bias);
        index.iter().zip(strides).map(|(i, stride)| i * stride).sum()
    }
}

/// The strides of a dense tensor of rank four, zero along extents of one.
pub(super) fn broadcast_strides(shape: &Shape) -> [usize; 4] {
    let strides = shape.strides();
    std::array::from_fn(|axis| if shape[axis] == 1 { 0 } else { strides[axis] })
}

/// How pairs are weighed, but for the bias.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    pub scale: f64,
    /// The position of the first query among the keys.
    pub offset: usize,
    /// How far a query sees before its position and behind.
    pub left: usize,
    pub right: usize,
    pub dropout: Option<(f64, Stream)>,
}

impl Pattern {
    /// Beyond any distance between a query and a key, with room to add positions in 32 bits.
    pub const FAR: usize = 1 << 30;

    /// How often the loops of an invocation turn in a kernel that goes through all keys, or queries, with `passes`
    /// over their features: one, or two for gradients.
    pub fn turns(&self, e: &Extents, kernel: choice::Attention, passes: usize) -> usize {
        let span =
            e.queries.max(e.keys).min(self.left + self.right + 128) * if passes > 1 { e.shared } else { 1 };
        let drawn = if self.dropout.is_some() { 12 } else { 0 };
        match kernel {
            choice::Attention::Tiled => 0,
            choice::Attention::Lanes => {
                span.div_ceil(4) * (passes * (e.depth + e.width) + 2 + drawn) + 2 * e.width
            }
            choice::Attention::Subgroup => {
                let block = if e.width.min(e.depth) > 32 { 64 } else { 32 };
                span.div_ceil(block) * ((e.depth + e.width).div_ceil(4) + 16 * (2 * passes - 1 + drawn) + 20)
            }
        }
    }

    /// [`turns`](Self::turns) of the gradient of a bias of that shape, which adds up all pairs that share a number.
    pub fn turns_of_bias(&self, e: &Extents, bias: &Shape) -> usize {
        let all = [e.batch, e.heads, e.queries, e.keys];
        let shared: usize = all.iter().zip(&bias[..]).map(|(&all, &own)| all / own.max(1)).product();
        shared * (e.depth + e.width + 2)
    }

    /// Whether a key is near enough to a query.
    pub fn sees(&self, query: usize, key: usize) -> bool {
        let position = query + self.offset;
        key <= position + self.right && position <= key + self.left
    }

    /// The open keys of a query, given by its place among all, and their scores.
    pub fn scores<R: Real>(
        &self,
        extents: &Extents,
        [q, k]: [&Array<R>; 2],
        bias: Option<&Array<R>>,
        row: usize,
    ) -> Vec<(usize, R)> {
        let key = |key: usize| Some((key, self.score(extents, [q, k], bias, row, key)?));
        let position = row % extents.queries + self.offset;
        let end = (position + self.right + 1).min(extents.keys);
        (position.saturating_sub(self.left)..end).filter_map(key).collect()
    }

    /// The score of a key for a query, if it is open.
    pub fn score<R: Real>(
        &self,
        extents: &Extents,
        [q, k]: [&Array<R>; 2],
        bias: Option<&Array<R>>,
        row: usize,
        key: usize,
    ) -> Option<R> {
        if !self.sees(row % extents.queries, key) {
            return None;
        }
        let added = bias.map(|bias| bias.data[extents.bias_at(&bias.shape, row, key)]);
        if added.is_some_and(|added| added.to_f64() <= LOWEST) {
            return None;
        }
        let (q, k) = (q.row(row, extents.depth), k.row(extents.first_key(row) + key, extents.depth));
        let product = R::dot(q.iter().copied().zip(k.iter().copied())) * R::from_f64(self.scale);
        Some(added.map_or(product, |added| product + added))
    }

    /// The upper 24 bits of the random word of a kept weight are below this.
    fn below(&self) -> u32 {
        self.dropout.map_or(0, |(p, _)| ((1.0 - p) * f64::from(1 << 24)).round() as u32)
    }

    /// What a kept weight is multiplied by.
    fn factor(&self) -> f64 {
        self.dropout.map_or(1.0, |(p, _)| if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 })
    }

    /// What the weight of a query and a key is multiplied by, if some are dropped.
    pub fn kept<R: Real>(&self, extents: &Extents, row: usize, key: usize) -> Option<R> {
        let (_, Stream { seed, stream }) = self.dropout?;
        let [low, high] = halves(stream);
        let block = row * extents.keys.div_ceil(4) + key / 4;
        let words = philox4x32_10([block as u32, low, high, dropout::TAG], halves(seed));
        Some(R::from_f64(if words[key % 4] >> 8 < self.below() { self.factor() } else { 0.0 }))
    }
}

/// What the kernels are told.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    queries: u32,
    keys: u32,
    depth: u32,
    width: u32,
    entries: u32,
    heads: u32,
    shared: u32,
    offset: u32,
    left: u32,
    right: u32,
    scale: f32,
    below: u32,
    kept: f32,
    of_keys: u32,
    of_values: u32,
    pad: u32,
    bias_strides: [u32; 4],
    bias_dims: [u32; 4],
    seed: [u32; 2],
    stream: [u32; 2],
}

/// What the launches of one call have in common.
#[derive(Clone)]
pub(super) struct Launch {
    pub extents: Extents,
    params: Params,
    constants: Vec<(&'static str, u32)>,
}

impl Launch {
    /// For q, k and v, and the bias if there is one.
    pub fn new(pattern: &Pattern, inputs: &[GpuView], bias: Option<&GpuView>) -> Self {
        let extents = Extents::of(inputs[0].shape(), inputs[1].shape(), inputs[2].shape());
        let (_, stream) = pattern.dropout.unwrap_or_default();
        let shape = bias.map_or(Shape::known(&[1; 4]), |bias| *bias.shape());
        let params = Params {
            queries: extents.queries as u32,
            keys: extents.keys as u32,
            depth: extents.depth as u32,
            width: extents.width as u32,
            entries: (extents.batch * extents.heads) as u32,
            heads: extents.heads as u32,
            shared: extents.shared as u32,
            offset: pattern.offset as u32,
            left: pattern.left as u32,
            right: pattern.right as u32,
            scale: pattern.scale as f32,
            below: pattern.below(),
            kept: pattern.factor() as f32,
            of_keys: 0,
            of_values: 0,
            pad: 0,
            bias_strides: broadcast_strides(&shape).map(|stride| stride as u32),
            bias_dims: std::array::from_fn(|axis| shape[axis] as u32),
            seed: halves(stream.seed),
            stream: halves(stream.stream),
        };
        let constants = vec![("DROPOUT", pattern.dropout.is_some().into()), ("BIAS", bias.is_some().into())];
        Launch { extents, params, constants }
    }

    /// That of the gradient of keys, or of values, by a kernel whose parameter it is.
    pub fn gradient_of(&self, keys: bool, values: bool) -> Self {
        let params = Params { of_keys: keys.into(), of_values: values.into(), ..self.params };
        Launch { params, ..self.clone() }
    }

    /// A kernel whose workgroups are tiles of `count` queries or keys of each of `entries`.
    pub fn tiles(
        &self,
        gpu: &Gpu,
        shader: &'static Shader,
        more: &[(&'static str, u32)],
        entries: usize,
        count: usize,
        buffers: &[&Buffer],
    ) -> Result<()> {
        // Lanes of a workgroup go through the same keys, with those of all in between where fewer are open.
        let lanes = 8;
        let constants = [&self.constants[..], more, &[("LANES", lanes as u32)]].concat();
        self.dispatch(gpu, shader, &constants, gpu.fold(entries * count.div_ceil(4 * lanes), 1), buffers)
    }

    /// A kernel for hardware adapters, whose workgroups are tiles of 32 of `count` queries or keys of each of
    /// `entries`, and of 64 of `columns` features.
    pub fn tiled(
        &self,
        gpu: &Gpu,
        shader: &'static Shader,
        more: &[(&'static str, u32)],
        [entries, count, columns]: [usize; 3],
        buffers: &[&Buffer],
    ) -> Result<()> {
        let groups = gpu.fold(entries * count.div_ceil(32) * columns.div_ceil(64), 1);
        self.dispatch(gpu, shader, &[&self.constants[..], more].concat(), groups, buffers)
    }

    /// A kernel for software adapters, whose workgroups are subgroups of eight lanes with tiles of 16 of `count` queries
    /// or keys of each of `entries`, and of 64 of `columns` features.
    pub fn subgroup(
        &self,
        gpu: &Gpu,
        shader: &'static Shader,
        [entries, count, columns]: [usize; 3],
        buffers: &[&Buffer],
    ) -> Result<()> {
        let tile = [("ROWS", choice::rows_of_tile(count)), ("WIDE", u32::from(columns > 32))];
        let groups = gpu.fold(entries * count.div_ceil(16) * columns.div_ceil(64), 1);
        self.dispatch(gpu, shader, &[&self.constants[..], &tile].concat(), groups, buffers)
    }

    /// A kernel with one invocation an element.
    pub fn elements(
        &self,
        gpu: &Gpu,
        shader: &'static Shader,
        count: usize,
        buffers: &[&Buffer],
    ) -> Result<()> {
        self.dispatch(gpu, shader, &self.constants[..1], gpu.fold(count, 64), buffers)
    }

    fn dispatch(
        &self,
        gpu: &Gpu,
        shader: &'static Shader,
        constants: &[(&'static str, u32)],
        groups: [u32; 3],
        buffers: &[&Buffer],
    ) -> Result<()> {
        if self.constants.contains(&("DROPOUT", 1)) {
            tape::refuse(gpu, "attention", "its dropout would draw the same at every replay")?;
        }
        let params = bytemuck::bytes_of(&self.params);
        let source = Source::File(shader, constants);
        gpu.dispatch(Dispatch { op: "attention", source, params, buffers, groups })
    }
}
