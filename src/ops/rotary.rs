//! Positions: rotary and sinusoidal.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::real::{Bounded, Real};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room, from_f64};

/// Which features a rotary embedding turns together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// Feature i with feature i + d/2, as GPT-NeoX and Llama store them, and ONNX by default.
    #[default]
    Halves,
    /// Feature 2i with feature 2i + 1, as in the paper and in GPT-J; ONNX calls it interleaved.
    Neighbours,
}

/// How a rotary embedding turns vectors; see [`Tensor::rotary`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Which features form a pair.
    pub pairs: Pairs,
    /// How many features, from the first, are turned; the others stay. All of them if `None`.
    pub features: Option<usize>,
    /// Pair i of d/2 turns by base^(−2i/d) a position.
    pub base: f64,
}

impl Default for Rotary {
    /// Halves, all features, base 10 000.
    fn default() -> Self {
        Rotary { pairs: Pairs::default(), features: None, base: 10_000.0 }
    }
}

/// Sines and cosines of position · base^(−2i/d), for `count` positions from `first` on and i below d/2.
///
/// On the host, in f64: the argument may be large, where WGSL's own sine is worth nothing.
fn table(first: usize, count: usize, d: usize, base: f64, f: fn(f64) -> f64) -> Vec<f64> {
    let angle = |t: usize, i: usize| (first + t) as f64 * base.powf(-2.0 * i as f64 / d as f64);
    (0..count).flat_map(|t| (0..d / 2).map(move |i| f(angle(t, i)))).collect()
}

/// Numbers that a device rounds to its type.
fn constants(device: &Device, dtype: DType, data: &[f64], shape: Shape) -> Result<Tensor> {
    match dtype {
        DType::F16 | DType::BoundedF16 => constants(device, dtype.wide(), data, shape)?.to_dtype(dtype),
        DType::Bounded => {
            let rounded: Vec<Bounded> = data.iter().map(|&value| Bounded::from_f64(value)).collect();
            Tensor::from_slice(device, &rounded, shape)
        }
        _ => from_f64(device, dtype, data, shape),
    }
}

impl Tensor {
    /// Rotary position embedding: each pair (a, b) of features at time t becomes
    /// (a·cos φ − b·sin φ, a·sin φ + b·cos φ), φ = (offset + t)·base^(−2i/d) for pair i of d features.
    ///
    /// `self` `[.., T, D]`, the same shape out; for queries and keys `[B, H, T, D]`. The product of a query and
    /// a key turned so depends on the distance of their positions alone. `offset` is the position of the
    /// first, for decoding. Gradient: the turn back.
    ///
    /// Source: Su et al. 2021, arXiv:2104.09864. Errors: [`Error::Shape`] below rank 2, [`Error::Argument`] for
    /// an odd number of features, more than there are, or a base that is not positive; [`Error::DType`].
    pub fn rotary(&self, rotary: &Rotary, offset: usize) -> Result<Tensor> {
        let op = "rotary";
        self.require_float(op)?;
        let [.., time, all] = self.shape()[..] else {
            return Err(Error::shape(op, self.describe(), "Give [.., time, features]."));
        };
        let d = rotary.features.unwrap_or(all);
        if d % 2 == 1 || d > all || !(rotary.base > 0.0 && rotary.base.is_finite()) {
            let given = format!("{d} of {all} features, base {}", rotary.base);
            let remedy = "Turn an even number of the features there are, with a positive base.";
            return Err(Error::argument(op, given, remedy));
        }
        if d == 0 {
            return Ok(self.clone());
        }
        let shape = Shape::new(&[time, d / 2])?;
        let make = |f: fn(f64) -> f64| {
            constants(self.device(), self.dtype(), &table(offset, time, d, rotary.base, f), shape)
        };
        let (sin, cos) = (make(libm::sin)?, make(libm::cos)?);
        self.rotary_by(&cos, &sin, rotary.pairs)
    }

    /// The turn of [`rotary`](Self::rotary) by given angles: pairs (a, b) of the first d features become
    /// (a·cos − b·sin, a·sin + b·cos), where `cos` and `sin` `[.., T, d/2]` broadcast to `self` `[.., T, D]` but
    /// for its last axis; features from d on stay. The gradient reaches all three.
    ///
    /// Errors: [`Error::Shape`] unless the tables are alike, fit, and turn no more features than there are;
    /// [`Error::DType`], [`Error::Device`]. Source: ONNX `RotaryEmbedding`.
    pub fn rotary_by(&self, cos: &Tensor, sin: &Tensor, pairs: Pairs) -> Result<Tensor> {
        let op = "rotary_by";
        self.require_float(op)?;
        let (all, half) = (self.shape().last().copied(), cos.shape().last().copied());
        let (Some(all), Some(half), true) = (all, half, cos.shape() == sin.shape()) else {
            let given = format!("{} by {} and {}", self.describe(), cos.describe(), sin.describe());
            return Err(Error::shape(op, given, "Give [.., T, D] and two tables [.., T, d/2] of one shape."));
        };
        let d = 2 * half;
        let turns = [&self.shape()[..self.rank() - 1], &[half]].concat();
        let turns = Shape::new(&turns)?;
        if d > all || Shape::broadcast(op, &turns, cos.shape())? != turns {
            let given = format!("{} by tables {}", self.describe(), cos.describe());
            return Err(Error::shape(op, given, "The tables broadcast to half the features at most."));
        }
        if half == 0 {
            return Ok(self.clone());
        }
        let [a, b] = match pairs {
            Pairs::Halves => [self.slice(-1, 0, half)?, self.slice(-1, half, d)?],
            Pairs::Neighbours => [self.slice_step(-1, 0, d, 2)?, self.slice_step(-1, 1, d, 2)?],
        };
        let turned = [
            Tensor::map([&a, &b, cos, sin], |[a, b, cos, sin]| a * cos - b * sin)?,
            Tensor::map([&a, &b, cos, sin], |[a, b, cos, sin]| a * sin + b * cos)?,
        ];
        let rest = (d < all).then(|| self.slice(-1, d, all)).transpose()?;
        let turned = match pairs {
            Pairs::Halves => turned.to_vec(),
            Pairs::Neighbours => {
                let [a, b] = [turned[0].unsqueeze(self.rank())?, turned[1].unsqueeze(self.rank())?];
                let mut dims = self.shape().to_vec();
                dims[self.rank() - 1] = d;
                vec![Tensor::concat(&[&a, &b], -1)?.reshape(dims)?]
            }
        };
        Tensor::concat(&turned.iter().chain(&rest).collect::<Vec<_>>(), -1)
    }

    /// Sinusoidal positions `[count, features]`: sin(t·10000^(−2i/features)) as feature 2i of position t, the
    /// cosine as feature 2i + 1; `first` is the first position. To be added to what stands there.
    ///
    /// Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5. Errors: [`Error::Argument`] for an odd number
    /// of features, [`Error::DType`].
    pub fn sinusoidal(
        device: &Device,
        dtype: DType,
        first: usize,
        count: usize,
        features: usize,
    ) -> Result<Tensor> {
        if features % 2 == 1 {
            let given = format!("{features} features");
            return Err(Error::argument("sinusoidal", given, "Sines and cosines come in pairs."));
        }
        if !dtype.is_float() {
            return Err(Error::dtype("sinusoidal", dtype.to_string(), "Ask for a floating-point type."));
        }
        let make = |f: fn(f64) -> f64| table(first, count, features, 10_000.0, f);
        let data: Vec<f64> =
            make(libm::sin).into_iter().zip(make(libm::cos)).flat_map(|(sin, cos)| [sin, cos]).collect();
        constants(device, dtype, &data, Shape::new(&[count, features])?)
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let case = |detail: &str, x: Input, rotary: Rotary, offset: usize| {
        Case::new("rotary", detail, [x], move |x| x[0].rotary(&rotary, offset))
    };
    let halves = Rotary::default();
    let neighbours = Rotary { pairs: Pairs::Neighbours, ..halves };
    let mut rotary = Vec::new();
    for (name, turn) in [("halves", halves), ("neighbours", neighbours)] {
        let some = Rotary { features: Some(4), base: 100.0, ..turn };
        rotary.extend([
            case(&format!("{name} 1x2"), Input::any([1, 2]), turn, 0),
            case(&format!("{name} 2x3x5x6"), Input::any([2, 3, 5, 6]), turn, 0),
            case(&format!("{name} 2x7x8, offset 1000"), Input::any([2, 7, 8]), turn, 1000),
            case(&format!("{name} 4 of 7"), Input::any([2, 5, 7]), some, 3),
            case(&format!("{name} none"), Input::any([2, 5]), Rotary { features: Some(0), ..turn }, 0),
            case(&format!("{name} 9x8 transposed"), Input::any([9, 8]).transposed(), turn, 0),
            case(&format!("{name} 9x8 stride 2"), Input::any([9, 8]).strided(), turn, 0),
            case(&format!("{name} no time"), Input::any([2, 0, 4]), turn, 0).value_only(),
            case(&format!("{name} odd"), Input::any([2, 5]), turn, 0).fails(),
            case(&format!("{name} more than all"), Input::any([2, 2]), some, 0).fails(),
            case(&format!("{name} rank 1"), Input::any([4]), turn, 0).fails(),
        ]);
    }
    rotary.push(case("base 0", Input::any([2, 4]), Rotary { base: 0.0, ..halves }, 0).fails());
    rotary.push(case("integers", Input::index([2, 4], 3), halves, 0).fails());
    let by = |detail: &str, x: &[usize], cos: &[usize], sin: &[usize], pairs: Pairs| {
        let inputs = [Input::any(x), Input::any(cos), Input::any(sin)];
        Case::new("rotary_by", detail, inputs, move |x| x[0].rotary_by(&x[1], &x[2], pairs))
    };
    let given = vec![
        by("halves 2x3x5x6", &[2, 3, 5, 6], &[5, 3], &[5, 3], Pairs::Halves),
        by("halves, a table for each", &[2, 3, 5, 6], &[2, 1, 5, 2], &[2, 1, 5, 2], Pairs::Halves),
        by("neighbours 2x7x9", &[2, 7, 9], &[7, 4], &[7, 4], Pairs::Neighbours),
        by("neighbours, none", &[2, 7, 9], &[7, 0], &[7, 0], Pairs::Neighbours),
        by("different tables", &[5, 6], &[5, 3], &[1, 3], Pairs::Halves).fails(),
        by("more than all", &[5, 6], &[5, 4], &[5, 4], Pairs::Halves).fails(),
        by("other times", &[5, 6], &[4, 3], &[4, 3], Pairs::Halves).fails(),
        by("a table of higher rank", &[5, 6], &[2, 5, 3], &[2, 5, 3], Pairs::Halves).fails(),
    ];
    // The input carries nothing but the device and the type.
    let positions = |detail: &str, first: usize, count: usize, features: usize| {
        let run = move |x: &[Tensor]| Tensor::sinusoidal(x[0].device(), x[0].dtype(), first, count, features);
        Case::new("sinusoidal", detail, [Input::whole([])], run)
    };
    let sinusoidal = vec![
        positions("5x6", 0, 5, 6).value_only(),
        positions("3x4 from 1000", 1000, 3, 4).value_only(),
        positions("no positions", 0, 0, 4).value_only(),
        positions("odd", 0, 5, 5).fails(),
    ];
    vec![
        Room { op: "rotary", cases: rotary },
        Room { op: "rotary_by", cases: given },
        Room { op: "sinusoidal", cases: sinusoidal },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Stream;

    /// Products of turned queries and keys do not change when both move by as much.
    #[test]
    fn products_depend_on_distance_alone() {
        let cpu = Device::cpu();
        let make = |stream| Tensor::normal_in(&cpu, DType::F64, [1, 6], Stream::new(3, stream)).unwrap();
        let (q, k) = (make(0), make(1));
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            let rotary = Rotary { pairs, ..Rotary::default() };
            let product = |a, b| {
                let (q, k) = (q.rotary(&rotary, a).unwrap(), k.rotary(&rotary, b).unwrap());
                q.mul(&k).unwrap().sum(&[], false).unwrap().item().unwrap()
            };
            assert!((product(9, 4) - product(105, 100)).abs() < 1e-12);
            assert!((product(9, 4) - product(9, 5)).abs() > 1e-3);
        }
    }
}
