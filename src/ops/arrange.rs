//! Tensors put in another arrangement: one-hot codes, triangles, repetition, reversal, rotation, pieces.
//!
//! All of them are composed of views, choices by index and formulas.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// Whole numbers up to here are exact in every float.
const EXACT: usize = 1 << 24;

impl Tensor {
    /// The one-hot code of these labels: one at its label among `classes` zeros, in the floating type `dtype`.
    ///
    /// labels `[..]` i32 → `[.., classes]`. Errors: [`Error::Index`] for a label outside 0..classes,
    /// [`Error::Shape`], [`Error::DType`].
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        if !dtype.is_float() {
            return Err(Error::dtype("one_hot", dtype.to_string(), "Ask for a floating type."));
        }
        Tensor::full(self.device(), dtype, self.shape(), 1.0)?.unpick(self, classes)
    }

    /// What lies on and below a diagonal of the last two axes, zero elsewhere. `diagonal` 0 is the main one, 1
    /// the one above it, −1 the one below.
    ///
    /// x `[.., R, C]` float → the same shape. Gradient: the same part of the cotangent. Exact.
    /// Errors: [`Error::Shape`] below rank 2 or beyond 2^24 rows or columns, [`Error::DType`].
    pub fn tril(&self, diagonal: i64) -> Result<Tensor> {
        self.triangle("tril", diagonal, true)
    }

    /// What lies on and above a diagonal of the last two axes, zero elsewhere; see [`tril`](Self::tril).
    pub fn triu(&self, diagonal: i64) -> Result<Tensor> {
        self.triangle("triu", diagonal, false)
    }

    fn triangle(&self, op: &'static str, diagonal: i64, lower: bool) -> Result<Tensor> {
        self.require_float(op)?;
        let &[.., rows, columns] = &**self.shape() else {
            return Err(Error::shape(op, self.describe(), "Give at least two axes."));
        };
        if rows.max(columns) > EXACT {
            return Err(Error::shape(op, self.describe(), "At most 2^24 rows and columns."));
        }
        let shift = diagonal.clamp(-(EXACT as i64), EXACT as i64) as f64;
        let numbers = |count: usize, shape: [usize; 2], first: f64| {
            let values: Vec<f64> = (0..count).map(|i| first + i as f64).collect();
            self.constants(&values, Shape::new(&shape)?)
        };
        // Row r keeps the columns up to r + diagonal, or from there on. Halves keep comparisons from ties.
        let edges = numbers(rows, [rows, 1], shift + if lower { 0.5 } else { -0.5 })?;
        let places = numbers(columns, [1, columns], 0.0)?;
        Tensor::map([self, &edges, &places], |[x, edge, place]| {
            let kept = if lower { place.less(edge) } else { edge.less(place) };
            Formula::select(kept, x, Formula::constant(0.0))
        })
    }

    /// The whole tensor side by side, `times[a]` times along axis a.
    ///
    /// Gradient: summed over the copies. Errors: [`Error::Argument`] unless there is one number for each axis,
    /// [`Error::Shape`] for more elements than can be counted. Other names: torch's `repeat`.
    pub fn tile(&self, times: &[usize]) -> Result<Tensor> {
        if times.len() != self.rank() {
            let given = format!("{times:?} times {}", self.describe());
            return Err(Error::argument("tile", given, "Give one number for each axis."));
        }
        let mut tiled = self.clone();
        for (axis, &count) in times.iter().enumerate().filter(|(_, count)| **count != 1) {
            tiled = tiled.copies(axis, count, true)?;
        }
        Ok(tiled)
    }

    /// Each slice along `axis` `times` times in a row. Gradient: summed over the copies.
    ///
    /// Errors: [`Error::Axis`], [`Error::Shape`] for more elements than can be counted.
    pub fn repeat_interleave(&self, times: usize, axis: isize) -> Result<Tensor> {
        self.copies(self.shape().axis("repeat_interleave", axis)?, times, false)
    }

    fn copies(&self, axis: usize, times: usize, whole: bool) -> Result<Tensor> {
        let extent = self.shape()[axis];
        let mut dims = self.shape().to_vec();
        dims[axis] = extent.saturating_mul(times);
        let shape = Shape::new(&dims)?;
        let outer = self.shape()[..axis].iter().product();
        let inner = self.shape()[axis + 1..].iter().product();
        let (from, to) = if whole {
            ([outer, 1, extent, inner], [outer, times, extent, inner])
        } else {
            ([outer, extent, 1, inner], [outer, extent, times, inner])
        };
        self.reshape(from)?.broadcast_to(to)?.reshape(shape)
    }

    /// The axes named read from the last element to the first (all if none is named).
    ///
    /// Of floats or integers. Gradient: the cotangent reversed. Exact. Errors: [`Error::Axis`].
    pub fn flip(&self, axes: &[isize]) -> Result<Tensor> {
        let chosen = self.shape().axes("flip", axes)?;
        let mut flipped = self.clone();
        for axis in (0..self.rank()).filter(|&a| chosen[a] && self.shape()[a] > 1) {
            let backwards: Vec<i32> = (0..self.shape()[axis] as i32).rev().collect();
            let backwards = Tensor::from_slice(self.device(), &backwards, [backwards.len()])?;
            flipped = flipped.index_select(axis as isize, &backwards)?;
        }
        Ok(flipped)
    }

    /// The slices along `axis` moved on by `shift` places, those that leave the end coming in at the start;
    /// a negative shift moves back.
    ///
    /// Of floats or integers. Gradient: the cotangent moved back. Exact. Errors: [`Error::Axis`].
    pub fn roll(&self, shift: i64, axis: isize) -> Result<Tensor> {
        let extent = self.shape()[self.shape().axis("roll", axis)?];
        if extent == 0 {
            return Ok(self.clone());
        }
        let kept = extent - shift.rem_euclid(extent as i64) as usize;
        if kept == extent {
            return Ok(self.clone());
        }
        Tensor::concat(&[&self.slice(axis, kept, extent)?, &self.slice(axis, 0, kept)?], axis)
    }

    /// Neighbouring pieces of one axis, of these extents.
    ///
    /// Errors: [`Error::Axis`]; [`Error::Argument`] unless the extents add up to the axis's.
    pub fn split(&self, extents: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.shape()[self.shape().axis("split", axis)?];
        let total = extents.iter().try_fold(0usize, |sum, &e| sum.checked_add(e));
        if total != Some(extent) {
            let given = format!("pieces {extents:?} of axis {axis} of {}", self.describe());
            return Err(Error::argument("split", given, "The pieces add up to the axis."));
        }
        let mut start = 0;
        let piece = |&extent: &usize| {
            start += extent;
            self.slice(axis, start - extent, start)
        };
        extents.iter().map(piece).collect()
    }

    /// `count` neighbouring pieces of one axis, as even as can be, as in PyTorch: each of ⌈extent/count⌉ but
    /// the last, so that there may be fewer.
    ///
    /// Errors: [`Error::Axis`]; [`Error::Argument`] for no pieces.
    pub fn chunk(&self, count: usize, axis: isize) -> Result<Vec<Tensor>> {
        let extent = self.shape()[self.shape().axis("chunk", axis)?];
        if count == 0 {
            let given = format!("0 pieces of {}", self.describe());
            return Err(Error::argument("chunk", given, "Ask for at least one piece."));
        }
        let each = extent.div_ceil(count).max(1);
        let pieces: Vec<usize> = (0..extent.max(1)).step_by(each).map(|at| each.min(extent - at)).collect();
        self.split(&pieces, axis)
    }
}

fn one(
    op: &str,
    detail: &str,
    x: Input,
    run: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Case {
    Case::new(op, detail, [x], move |x| run(&x[0])).exact()
}

fn codes() -> Vec<Case> {
    // Codes have no float among their inputs, whose type they could take: a second input lends its own.
    let code = |detail: &str, labels: Input, classes| {
        Case::new("one_hot", detail, [labels, Input::whole([])], move |x| {
            x[0].one_hot(classes, x[1].dtype())?.mul(&x[1])
        })
    };
    vec![
        code("one", Input::index([], 1), 1).exact(),
        code("3x5 of 7", Input::index([3, 5], 7), 7).exact(),
        code("none", Input::index([0], 1), 4).exact(),
        code("label too large", Input::fixed_index([2], &[0, 3]), 3).fails(),
        code("label negative", Input::fixed_index([2], &[0, -1]), 3).fails(),
        one("one_hot", "float labels", Input::whole([3]), |x| x.one_hot(5, DType::F32)).fails(),
        one("one_hot", "as integers", Input::index([3], 5), |x| x.one_hot(5, DType::I32)).fails(),
    ]
}

fn triangles(op: &'static str, f: fn(&Tensor, i64) -> Result<Tensor>) -> Vec<Case> {
    let mut cases = vec![];
    for (shape, diagonal) in [
        (vec![1, 1], 0),
        (vec![5, 7], 0),
        (vec![7, 5], 1),
        (vec![2, 3, 6, 6], -2),
        (vec![4, 4], 9),
        (vec![4, 4], i64::MIN),
        (vec![0, 3], 0),
        (vec![2, 257, 65], 30),
    ] {
        let case = one(op, &format!("{shape:?} {diagonal}"), Input::whole(&shape), move |x| f(x, diagonal));
        cases.push(if shape.len() == 3 { case.value_only() } else { case });
    }
    cases.push(one(op, "transposed", Input::whole([5, 6]).transposed(), move |x| f(x, 1)));
    cases.push(one(op, "one axis", Input::whole([5]), move |x| f(x, 0)).fails());
    cases.push(one(op, "integers", Input::index([5, 5], 9), move |x| f(x, 0)).fails());
    cases
}

fn copies() -> [Vec<Case>; 2] {
    let whole = |shape: &[usize]| Input::whole(shape);
    let tile = vec![
        one("tile", "3x2 times 2x3", whole(&[3, 2]), |x| x.tile(&[2, 3])),
        one("tile", "middle of rank 8", whole(&[1, 2, 1, 2, 3, 1, 2, 1]), |x| {
            x.tile(&[1, 1, 1, 2, 3, 1, 1, 2])
        }),
        one("tile", "transposed", whole(&[4, 3]).transposed(), |x| x.tile(&[3, 1])),
        one("tile", "no times", whole(&[4, 3]), |x| x.tile(&[0, 2])),
        one("tile", "no axes", whole(&[]), |x| x.tile(&[])),
        one("tile", "too few numbers", whole(&[4, 3]), |x| x.tile(&[2])).fails(),
        one("tile", "beyond counting", whole(&[4, 3]), |x| x.tile(&[usize::MAX, 2])).fails(),
    ];
    let interleave = vec![
        one("repeat_interleave", "rows", whole(&[3, 2]), |x| x.repeat_interleave(3, 0)),
        one("repeat_interleave", "strided", whole(&[3, 4]).strided(), |x| x.repeat_interleave(2, -1)),
        one("repeat_interleave", "axis beyond", whole(&[3]), |x| x.repeat_interleave(2, 1)).fails(),
    ];
    [tile, interleave]
}

fn turns() -> [Vec<Case>; 2] {
    let whole = |shape: &[usize]| Input::whole(shape);
    let flip = vec![
        one("flip", "1", whole(&[1]), |x| x.flip(&[])),
        one("flip", "all of 3x4x5", whole(&[3, 4, 5]), |x| x.flip(&[])),
        one("flip", "middle", whole(&[3, 4, 5]).transposed(), |x| x.flip(&[1])),
        one("flip", "65 columns", whole(&[3, 65]), |x| x.flip(&[-1])),
        one("flip", "nothing", whole(&[0, 3]), |x| x.flip(&[0, 1])),
        one("flip", "integers", Input::index([7, 2], 99), |x| x.flip(&[0])).value_only(),
        one("flip", "axis twice", whole(&[3, 4]), |x| x.flip(&[0, -2])).fails(),
    ];
    let roll = vec![
        one("roll", "on by 2", whole(&[7, 3]), |x| x.roll(2, 0)),
        one("roll", "back by 9", whole(&[7, 3]).strided(), |x| x.roll(-9, 0)),
        one("roll", "columns by 3", whole(&[5, 3]), |x| x.roll(3, 1)),
        one("roll", "nothing", whole(&[0, 3]), |x| x.roll(1, 0)),
        one("roll", "integers", Input::index([7], 99), |x| x.roll(i64::MIN, 0)).value_only(),
        one("roll", "axis beyond", whole(&[3]), |x| x.roll(1, 1)).fails(),
    ];
    [flip, roll]
}

fn pieces() -> [Vec<Case>; 2] {
    // The pieces one behind the other in the wrong order: each must be where it belongs.
    let backwards = |pieces: Vec<Tensor>, axis: isize| {
        let turned: Vec<&Tensor> = pieces.iter().rev().collect();
        Tensor::concat(&turned, axis)
    };
    let split = vec![
        one("split", "2, 0 and 5", Input::whole([3, 7]), move |x| backwards(x.split(&[2, 0, 5], 1)?, 1)),
        one("split", "of nothing", Input::whole([0, 2]), move |x| backwards(x.split(&[0], 0)?, 0)),
        one("split", "too few", Input::whole([3, 7]), move |x| backwards(x.split(&[2, 4], 1)?, 1)).fails(),
        one("split", "beyond counting", Input::whole([3]), move |x| {
            backwards(x.split(&[usize::MAX, 4], 0)?, 0)
        })
        .fails(),
    ];
    let chunk = vec![
        one("chunk", "3 of 7", Input::whole([7, 2]), move |x| backwards(x.chunk(3, 0)?, 0)),
        one("chunk", "4 of 6", Input::whole([2, 6]), move |x| backwards(x.chunk(4, -1)?, -1)),
        one("chunk", "of nothing", Input::whole([0, 2]), move |x| backwards(x.chunk(3, 0)?, 0)),
        one("chunk", "no pieces", Input::whole([7]), move |x| backwards(x.chunk(0, 0)?, 0)).fails(),
    ];
    [split, chunk]
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let ([tile, interleave], [flip, roll], [split, chunk]) = (copies(), turns(), pieces());
    vec![
        Room { op: "one_hot", cases: codes() },
        Room { op: "tril", cases: triangles("tril", Tensor::tril) },
        Room { op: "triu", cases: triangles("triu", Tensor::triu) },
        Room { op: "tile", cases: tile },
        Room { op: "repeat_interleave", cases: interleave },
        Room { op: "flip", cases: flip },
        Room { op: "roll", cases: roll },
        Room { op: "split", cases: split },
        Room { op: "chunk", cases: chunk },
    ]
}
