//! Which variant of a kernel suits which device and which shapes: pure functions of both, the only place that asks
//! what kind of device it is.
//!
//! A function here gives the variant that the table recommends, so that the first answer is immediate, and the
//! others that could be launched, which `gradus tune` measures. To add a variant, give its type another value, name
//! it in `Display`, say in [`Variant::constants`] how its shader is specialised, and offer it; the property test
//! beside this file then launches no device, but reads from the shader's text what the variant needs.

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::gpu::Constants;
use std::fmt::{self, Display};

/// What stands behind the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A program on the CPU: many registers, no benefit from workgroup memory, dear barriers.
    Software,
    /// A GPU that shares the CPU's memory: a few units.
    Integrated,
    /// A GPU with a memory of its own, or one of which nothing is known.
    Discrete,
}

/// What is known of a device before anything runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub kind: Kind,
    /// Lanes of a subgroup, if kernels may use subgroups and all have one size.
    pub subgroup: Option<u32>,
    /// Workgroup memory.
    pub bytes: u32,
    /// Invocations of a workgroup, at most.
    pub invocations: u32,
    /// How often all loops of an invocation together may turn in one launch.
    pub turns: usize,
}

impl Capabilities {
    /// By the kind of device.
    fn of<T>(&self, software: T, integrated: T, discrete: T) -> T {
        match self.kind {
            Kind::Software => software,
            Kind::Integrated => integrated,
            Kind::Discrete => discrete,
        }
    }
}

/// One of the variants of a kernel. Its name is what is kept of a measured choice.
pub(crate) trait Variant: Copy + Display {
    /// The values of the shader's constants that make it this variant.
    fn constants(&self) -> Vec<(&'static str, u32)>;
}

/// The variants that a device can launch.
#[derive(Clone, Debug)]
pub(crate) struct Candidates<V> {
    /// What the table recommends.
    pub best: V,
    pub others: Vec<V>,
}

impl<V> Candidates<V> {
    fn only(best: V) -> Self {
        Candidates { best, others: Vec::new() }
    }

    /// The one recommended, and those of all that are different from it.
    fn of(best: V, all: impl IntoIterator<Item = V>) -> Self
    where
        V: PartialEq,
    {
        let mut others = Vec::new();
        for one in all {
            if one != best && !others.contains(&one) {
                others.push(one);
            }
        }
        Candidates { best, others }
    }
}

/// After how many turns llvmpipe leaves the loops of an invocation, without a word.
pub(crate) const LLVMPIPE: usize = 65_535;

/// How often the loops of an invocation turn in one launch, where longer work can be cut into chunks or launches:
/// half of [`LLVMPIPE`], for there may be other loops.
pub(crate) const TURNS: usize = 1 << 15;

/// For what is not cut.
///
/// Errors: [`Error::Device`] if the device leaves loops that turn so often.
pub(crate) fn check_turns(c: &Capabilities, op: &'static str, turns: usize) -> Result<()> {
    if turns <= c.turns {
        return Ok(());
    }
    let given = format!("{turns} steps one after the other, where this adapter stops after {}", c.turns);
    Err(Error::device(op, given, "Use the CPU device or another adapter, or cut the tensor."))
}

/// Workgroups that keep a device busy with work that goes through memory once. Fewer, and work is cut into pieces.
pub(crate) fn streams(c: &Capabilities) -> usize {
    c.of(16, 256, 1024)
}

/// Whether pointwise work behind a product or a convolution goes into its kernel. A CPU takes a quarter of a second to
/// compile another variant of one, and little to launch another kernel.
pub(crate) fn epilogues(c: &Capabilities) -> bool {
    c.kind != Kind::Software
}

/// How many elements a parameter has at most whose step is taken with others in one launch: copying the gradients of
/// larger ones together costs more than a launch.
pub(crate) fn packed(c: &Capabilities) -> usize {
    c.of(1 << 15, 1 << 16, 1 << 18)
}

/// Into how many pieces to cut the sums of a product, each of so many terms, if each takes so many workgroups: a
/// piece repays what adding it costs if it is long enough.
pub(crate) fn pieces(c: &Capabilities, groups: usize, terms: usize) -> usize {
    (c.of(1, 32, 128) / groups.max(1)).clamp(1, terms.div_ceil(128).max(1))
}

/// Into how many chunks to cut rows on which so many invocations work, whose loops turn so often: enough to keep the
/// device busy, each long enough to repay the second pass.
pub(crate) fn chunks(c: &Capabilities, invocations: usize, turns: usize) -> usize {
    // On a CPU a launch takes longer than some hundred turns.
    let shortest = c.of(256, 16, 16);
    let idle = (64 * streams(c) / invocations.max(1)).min(turns / shortest);
    idle.max(turns.div_ceil(TURNS)).max(1)
}

/// A kernel for a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// An invocation an output.
    Naive,
    /// 16 × 8 outputs an invocation, a subgroup a workgroup, of at most `rows` rows that hold results, operands read
    /// by fours.
    Quads { lanes: u32, rows: u32 },
    /// 8 × 8 outputs an invocation, wx × wy invocations.
    Register { wx: u32, wy: u32 },
    /// One row times matrices whose rows lie by fours: four outputs an invocation, `turns` times, the sum cut into
    /// `pieces`.
    Row { lanes: u32, turns: u32, pieces: u32 },
    /// 8 × 4 outputs an invocation, 16 × wy invocations, `step` terms at a time in workgroup memory, the sum cut
    /// into `pieces`.
    Tiled { wy: u32, step: u32, pieces: u32 },
}

impl Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Product::Naive => f.write_str("naive"),
            Product::Quads { lanes, .. } => write!(f, "quads {lanes}"),
            Product::Register { wx, wy } => write!(f, "register {wx}x{wy}"),
            Product::Row { .. } => f.write_str("row"),
            Product::Tiled { wy, pieces, .. } => write!(f, "tiled {wy} in {pieces}"),
        }
    }
}

impl Variant for Product {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        match *self {
            Product::Naive => vec![],
            Product::Quads { lanes, rows } => vec![("LANES", lanes), ("ROWS", rows)],
            Product::Register { wx, wy } => vec![("WX", wx), ("WY", wy)],
            Product::Row { lanes, turns, .. } => vec![("LANES", lanes), ("TURNS", turns)],
            Product::Tiled { wy, step, .. } => vec![("WY", wy), ("STEP", step)],
        }
    }
}

impl Product {
    /// Workgroups for `batch` products of m × n outputs, or the outputs, if one invocation computes each.
    pub fn work(&self, batch: usize, m: usize, n: usize) -> usize {
        let tiles =
            |rows: u32, columns: u32| batch * m.div_ceil(rows as usize) * n.div_ceil(columns as usize);
        match *self {
            Product::Naive => batch * m * n,
            Product::Quads { lanes, .. } => tiles(16, 8 * lanes),
            Product::Register { wx, wy } => tiles(8 * wy, 8 * wx),
            Product::Row { lanes, turns, pieces } => tiles(1, 4 * lanes * turns) * pieces as usize,
            Product::Tiled { wy, pieces, .. } => tiles(8 * wy, 64) * pieces as usize,
        }
    }
}

/// The lanes of a subgroup, where a tile that it shares is worth its while: on a CPU, whose loads are dear; below eight
/// lanes a column of the left operand costs more loads than passing it round saves.
fn sharing_lanes(c: &Capabilities) -> Option<u32> {
    c.subgroup.filter(|lanes| c.kind == Kind::Software && matches!(lanes, 8 | 16))
}

/// Of the 16 rows of a subgroup's tile, those that may hold results.
pub(crate) fn rows_of_tile(rows: usize) -> u32 {
    [1, 4, 8].into_iter().find(|&fit| rows <= fit).unwrap_or(16) as u32
}

/// Terms of a piece, where one row is multiplied.
const ROW_TERMS: usize = 16;

/// For `batch` products of m × k and k × n; `flat` says whether the rows of the right operands lie by fours.
pub(crate) fn product(c: &Capabilities, batch: usize, sizes: [usize; 3], flat: bool) -> Candidates<Product> {
    let [m, k, n] = sizes;
    let other = product_of_tiles(c, batch, sizes);
    // A column read from top to bottom meets another page at each term. A small matrix is in the caches, and not worth
    // a second pass; the pieces of very large ones would take too much memory.
    let large = n >= 256 && k * n >= c.of(1 << 19, 1 << 14, 1 << 14) && batch * k * n <= 1 << 28;
    if flat && m == 1 && large && k.is_multiple_of(ROW_TERMS) {
        let pieces = (k / ROW_TERMS) as u32;
        let row = Product::Row { lanes: c.of(8, 64, 64), turns: c.of(32, 1, 1), pieces };
        return Candidates::of(row, [other.best].into_iter().chain(other.others));
    }
    other
}

/// For matrices that lie anyhow.
fn product_of_tiles(c: &Capabilities, batch: usize, sizes: [usize; 3]) -> Candidates<Product> {
    let [m, k, n] = sizes;
    let any = product_of_any(c, batch, sizes);
    // Four lanes can hold four rows.
    let few = || c.subgroup.filter(|&lanes| c.kind == Kind::Software && lanes == 4 && m <= 4);
    match sharing_lanes(c).or_else(few) {
        // Where columns do not come by fours, copies see to it.
        Some(lanes) if k >= 4 && (n.is_multiple_of(4) || any.best != Product::Naive) => {
            let all = [any.best].into_iter().chain(any.others);
            Candidates::of(Product::Quads { lanes, rows: rows_of_tile(m) }, all)
        }
        _ => any,
    }
}

/// For matrices of any shape.
fn product_of_any(c: &Capabilities, batch: usize, [m, k, n]: [usize; 3]) -> Candidates<Product> {
    if m < 4 || n < 4 {
        return Candidates::only(Product::Naive);
    }
    if c.kind == Kind::Software {
        // Narrow tiles where the matrix is narrow: an invocation beyond the edge works for nothing.
        let side =
            |extent: usize| if extent > 32 { 8 } else { extent.div_ceil(8).next_power_of_two() as u32 };
        let register = Product::Register { wx: side(n), wy: side(m) };
        return Candidates::only(register);
    }
    let tiled = |wy: u32, whole: bool| {
        let step = if wy < 8 { 8 } else { 16 };
        let one = Product::Tiled { wy, step, pieces: 1 };
        let pieces = if whole { 1 } else { pieces(c, one.work(batch, m, n), k) as u32 };
        Product::Tiled { wy, step, pieces }
    };
    // A large tile reads each operand less often; a small one leaves fewer rows unused, and makes more groups.
    let large = m > 32 && tiled(8, true).work(batch, m, n) >= c.of(1, 32, 128);
    let all = [tiled(8, false), tiled(4, false), tiled(8, true), tiled(4, true)];
    Candidates::of(tiled(if large { 8 } else { 4 }, false), all)
}

/// A kernel for a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convolution {
    /// 8 × 8 outputs an invocation, from registers alone.
    Register,
    /// 16 × 8 outputs an invocation, a subgroup a workgroup, of at most `rows` rows that hold results, channels read by
    /// fours.
    Subgroup { lanes: u32, rows: u32 },
    /// `rows` × 4 outputs an invocation, 16 × 4 invocations, operands in workgroup memory.
    Tiled { rows: u32 },
}

impl Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Convolution::Register => f.write_str("register"),
            Convolution::Subgroup { lanes, .. } => write!(f, "subgroup {lanes}"),
            Convolution::Tiled { rows } => write!(f, "tiled {rows}"),
        }
    }
}

impl Variant for Convolution {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        match *self {
            Convolution::Register => vec![],
            Convolution::Subgroup { lanes, rows } => vec![("LANES", lanes), ("ROWS", rows)],
            Convolution::Tiled { rows } => vec![("ROWS", rows)],
        }
    }
}

/// For so many channels of a group to compute; `fours` says whether positions can be taken four at a time.
pub(crate) fn convolution(c: &Capabilities, channels: usize, fours: bool) -> Candidates<Convolution> {
    if c.kind == Kind::Software {
        return match sharing_lanes(c).filter(|_| fours) {
            Some(lanes) => {
                let best = Convolution::Subgroup { lanes, rows: rows_of_tile(channels) };
                Candidates::of(best, [Convolution::Register])
            }
            None => Candidates::only(Convolution::Register),
        };
    }
    let best = Convolution::Tiled { rows: if channels > 16 { 8 } else { 4 } };
    Candidates::of(best, [8, 4].map(|rows| Convolution::Tiled { rows }))
}

/// How many invocations share a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes(pub u32);

impl Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lanes", self.0)
    }
}

impl Variant for Lanes {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![("LANES", self.0)]
    }
}

/// For softmax of rows whose terms are `stride` apart.
pub(crate) fn rows(c: &Capabilities, rows: usize, terms: usize, stride: usize) -> Candidates<Lanes> {
    // Lanes of different rows read neighbours where those of one row do not.
    let best = if stride > 1 && c.kind != Kind::Software { 1 } else { sharing(c, rows, terms) };
    Candidates::of(Lanes(best), [1, 8, 64].into_iter().filter(|&lanes| lanes >= fewest(c, terms)).map(Lanes))
}

/// How often the loops turn of a lane that goes three times through its part of a row, and adds up those of the others.
pub(crate) fn turns_of_rows(lanes: u32, terms: usize) -> usize {
    3 * terms / lanes as usize + 64
}

/// The fewest lanes for which going three times through a row is not too long, if 64 are enough.
fn fewest(c: &Capabilities, terms: usize) -> u32 {
    let enough = |&lanes: &u32| turns_of_rows(lanes, terms) <= c.turns;
    [1, 8].into_iter().find(enough).unwrap_or(64)
}

/// For sums and maxima of such rows, which [`chunks`] may cut.
pub(crate) fn sums(c: &Capabilities, rows: usize, terms: usize, stride: usize) -> Candidates<Lanes> {
    match c.kind {
        // No barriers, and one kernel for all.
        Kind::Software => Candidates::of(Lanes(1), [8, 64].map(Lanes)),
        _ => self::rows(c, rows, terms, stride),
    }
}

/// How many lanes share a row whose terms are neighbours.
fn sharing(c: &Capabilities, rows: usize, terms: usize) -> u32 {
    match c.kind {
        // Barriers cost more than anything: the fewest lanes that keep all threads busy.
        Kind::Software if terms < 32 || rows >= 256 => fewest(c, terms),
        Kind::Software if rows >= 32 => fewest(c, terms).max(8),
        Kind::Software => 64,
        // The lanes of one row read neighbours in one access; lanes of different rows do not.
        _ if terms < 8 => 1,
        _ if terms < 128 => 8,
        _ => 64,
    }
}

/// How invocations share the rows or channels of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The square root of the number of invocations of a workgroup.
    pub root: u32,
    /// Invocations to a row or a channel.
    pub lanes: u32,
}

impl Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lanes of {}", self.lanes, self.root * self.root)
    }
}

impl Variant for Share {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![("ROOT", self.root), ("LANES", self.lanes)]
    }
}

/// For the normalisation of rows.
pub(crate) fn norm(c: &Capabilities, rows: usize, terms: usize) -> Candidates<Share> {
    let share = |lanes| Share { root: if lanes > 64 { 16 } else { 8 }, lanes };
    let wide = c.invocations >= 256;
    let best = match c.kind {
        Kind::Integrated | Kind::Discrete if wide && terms >= 1024 => 256,
        _ => sharing(c, rows, terms),
    };
    let all = [1, 8, 64, 256].into_iter().filter(|&lanes| (lanes < 256 || wide) && lanes >= fewest(c, terms));
    Candidates::of(share(best), all.map(share))
}

/// For a channel of a batch norm, of so many terms, each workgroup having one or a part of one.
pub(crate) fn channel(c: &Capabilities, terms: usize) -> Share {
    match c.kind {
        // The fewest lanes that a subgroup has: what waits at a barrier is kept in memory.
        Kind::Software if terms < 1 << 20 => Share { root: 8, lanes: 8 },
        Kind::Software => Share { root: 8, lanes: 64 },
        _ if terms < 1024 || c.invocations < 256 => Share { root: 8, lanes: 64 },
        _ => Share { root: 16, lanes: 256 },
    }
}

/// How a step of a recurrent layer is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Sequences of an invocation.
    pub rows: u32,
    /// Invocations of a workgroup.
    pub lanes: u32,
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows by {}", self.rows, self.lanes)
    }
}

impl Variant for Step {
    fn constants(&self) -> Vec<(&'static str, u32)> {
        vec![("ROWS", self.rows), ("LANES", self.lanes)]
    }
}

/// For so many sequences, where an invocation computes `units` hidden units of each of its own.
pub(crate) fn recurrent(c: &Capabilities, batch: usize, units: usize) -> Candidates<Step> {
    let lanes = if c.kind == Kind::Software { 32 / units.clamp(1, 2) as u32 } else { 64 };
    let step = |rows| Step { rows, lanes };
    // Many rows read each weight once for all of them; few make more invocations.
    let best = match c.kind {
        Kind::Software if batch > 4 => 8,
        Kind::Software if batch > 1 => 4,
        Kind::Software => 1,
        _ if batch >= 64 => 4,
        _ => 1,
    };
    let all = [1, 4, 8].into_iter().filter(|&rows| rows == 1 || batch > rows as usize / 2);
    Candidates::of(step(best), all.map(step))
}

/// A kernel for attention and its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Four queries an invocation, eight invocations, the output as the accumulator.
    Lanes,
    /// 16 queries (or keys, for their gradients) by 64 others or columns a subgroup, features read by fours.
    Subgroup,
    /// Tiles of queries and keys in workgroup memory.
    Tiled,
}

/// For attention, or its gradient; `fours` says whether the features can be taken four at a time.
pub(crate) fn attention(c: &Capabilities, fours: bool) -> Attention {
    let software = if fours && c.subgroup == Some(8) { Attention::Subgroup } else { Attention::Lanes };
    c.of(software, Attention::Tiled, Attention::Tiled)
}

/// Workgroups along x and y: at most `limit` each, and no fewer than `groups` in all, if two axes can hold so many.
pub(crate) fn fold(groups: usize, limit: usize) -> [u32; 3] {
    if groups <= limit {
        return [groups as u32, 1, 1];
    }
    // Even rows waste fewer groups in the last one.
    let rows = groups.div_ceil(limit);
    [groups.div_ceil(rows) as u32, rows as u32, 1]
}

/// The constants of a variant, and those that say what it is to compute.
pub(crate) fn with<V: Variant>(variant: &V, others: Constants) -> Vec<(&'static str, u32)> {
    [others, &variant.constants()[..]].concat()
}
