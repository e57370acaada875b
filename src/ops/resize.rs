//! Resizing: each output along an axis is a weighted sum of a few inputs, one axis after the other.

use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// For each output along an axis, the inputs it reads and their weights. Lists may differ in length.
pub(super) type Taps = Vec<Vec<(usize, f64)>>;

/// y[o,p,i] = Σ weight·x[o,at,i] over the taps (at, weight) of p.
pub(super) fn resample(x: &Tensor, axis: usize, taps: &Taps) -> Result<Tensor> {
    let most = taps.iter().map(Vec::len).max().unwrap_or(0);
    // Short lists read their first input again, for nothing.
    let tap = |list: &Vec<(usize, f64)>, k: usize| *list.get(k).unwrap_or(&(list[0].0, 0.0));
    let all: Vec<(usize, f64)> = taps.iter().flat_map(|list| (0..most).map(move |k| tap(list, k))).collect();
    let places: Vec<i32> = all.iter().map(|&(at, _)| at as i32).collect();
    let places = Tensor::from_vec(x.device(), places, Shape::new(&[all.len()])?)?;
    let read = x.index_select(axis as isize, &places)?;
    if most == 1 && all.iter().all(|&(_, weight)| weight == 1.0) {
        return Ok(read);
    }
    let mut dims = read.shape().to_vec();
    dims[axis] = taps.len();
    let (outer, inner): (usize, usize) = (dims[..axis].iter().product(), dims[axis + 1..].iter().product());
    let weights: Vec<f64> = all.iter().map(|&(_, weight)| weight).collect();
    let weights = x.constants(&weights, Shape::new(&[taps.len(), most, 1])?)?;
    read.reshape([outer, taps.len(), most, inner])?.mul(&weights)?.sum(&[2], false)?.reshape(dims)
}

/// How inputs are mixed to an output.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Interpolation {
    /// One input, chosen by a rounding.
    #[default]
    Nearest,
    /// The two neighbours, by distance: linear, bilinear, trilinear.
    Linear,
    /// Four neighbours, by the cubic convolution with this coefficient: −0.75 in PyTorch, −0.5 in TensorFlow.
    /// Source: Keys 1981, doi:10.1109/TASSP.1981.1163711.
    Cubic(f64),
}

/// Where among the inputs an output lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coordinates {
    /// Centres of pixels lie at halves: x = (p + ½)·in/out − ½.
    #[default]
    HalfPixel,
    /// As half pixels, but an axis with one output reads the first input.
    HalfPixelOrFirst,
    /// First and last outputs lie on first and last inputs: x = p·(in − 1)/(out − 1).
    AlignCorners,
    /// Left edges lie together: x = p·in/out. PyTorch's for nearest neighbours.
    Asymmetric,
}

/// Which of two neighbours is the nearest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// The one before: PyTorch's `nearest`, with asymmetric coordinates.
    #[default]
    Floor,
    /// The one behind.
    Ceil,
    /// The nearer one; of equally near ones that before.
    PreferFloor,
    /// The nearer one; of equally near ones that behind.
    PreferCeil,
}

/// How [`Tensor::resize`] computes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resize {
    /// How inputs are mixed.
    pub interpolation: Interpolation,
    /// Where outputs lie.
    pub coordinates: Coordinates,
    /// Which input is the nearest.
    pub rounding: Rounding,
}

impl Resize {
    /// The nearest input, as PyTorch takes it: ⌊p·in/out⌋.
    pub const NEAREST: Resize = Resize {
        interpolation: Interpolation::Nearest,
        coordinates: Coordinates::Asymmetric,
        rounding: Rounding::Floor,
    };
    /// Linear between centres of pixels: PyTorch's default of (bi)linear.
    pub const LINEAR: Resize = Resize {
        interpolation: Interpolation::Linear,
        coordinates: Coordinates::HalfPixel,
        rounding: Rounding::Floor,
    };

    /// With other coordinates.
    pub const fn coordinates(self, coordinates: Coordinates) -> Self {
        Resize { coordinates, ..self }
    }

    /// Output `p` of `out` lies here among `extent` inputs, as a fraction: whole numbers until the end, so that
    /// what is a whole place is found at it.
    fn place(&self, p: usize, extent: usize, out: usize) -> f64 {
        let (p, extent, out) = (p as f64, extent as f64, out as f64);
        match self.coordinates {
            Coordinates::HalfPixelOrFirst if out == 1.0 => 0.0,
            Coordinates::HalfPixel | Coordinates::HalfPixelOrFirst => {
                ((2.0 * p + 1.0) * extent - out) / (2.0 * out)
            }
            Coordinates::AlignCorners if out == 1.0 => 0.0,
            Coordinates::AlignCorners => p * (extent - 1.0) / (out - 1.0),
            Coordinates::Asymmetric => p * extent / out,
        }
    }

    fn taps(&self, p: usize, extent: usize, out: usize) -> Vec<(usize, f64)> {
        let x = self.place(p, extent, out);
        let inside = |at: f64| at.clamp(0.0, extent as f64 - 1.0) as usize;
        let (floor, part) = (x.floor(), x - x.floor());
        match self.interpolation {
            Interpolation::Nearest => {
                let up = match self.rounding {
                    Rounding::Floor => false,
                    Rounding::Ceil => part > 0.0,
                    Rounding::PreferFloor => part > 0.5,
                    Rounding::PreferCeil => part >= 0.5,
                };
                vec![(inside(floor + f64::from(up)), 1.0)]
            }
            Interpolation::Linear => {
                // Beyond the edges the outermost input stands.
                let x = x.clamp(0.0, extent as f64 - 1.0);
                vec![(inside(x.floor()), 1.0 - x.fract()), (inside(x.floor() + 1.0), x.fract())]
            }
            Interpolation::Cubic(a) => {
                let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
                (0..4).map(|k| (inside(floor + k as f64 - 1.0), weights[k])).collect()
            }
        }
    }
}

impl Tensor {
    /// The last axes resized to these extents.
    ///
    /// x float → the same but for the last axes, which have `extents`: `[N, C, H, W]` and two extents for
    /// images. One axis after the other; inputs beyond an edge are those at it. Linear: gradient by
    /// the transpose, nothing is saved but places and weights.
    /// Errors: [`Error::Shape`] for more extents than axes or an axis without elements,
    /// [`Error::Argument`] for an extent of zero, [`Error::DType`]. Source: ONNX, `Resize`.
    pub fn resize(&self, extents: &[usize], options: Resize) -> Result<Tensor> {
        let op = "resize";
        self.require_float(op)?;
        let given = || format!("{} to {extents:?}", self.describe());
        let first = self.rank().checked_sub(extents.len());
        let Some(first) = first.filter(|&first| !self.shape()[first..].contains(&0)) else {
            return Err(Error::shape(
                op,
                given(),
                "Give one extent for each of the last axes, none of them empty.",
            ));
        };
        if extents.contains(&0) {
            return Err(Error::argument(op, given(), "Extents are at least one."));
        }
        let mut y = self.clone();
        for (axis, &out) in (first..).zip(extents) {
            let extent = self.shape()[axis];
            let taps: Taps = (0..out).map(|p| options.taps(p, extent, out)).collect();
            let idle = taps.iter().enumerate().all(|(p, list)| list[0] == (p, 1.0));
            if extent != out || !idle {
                y = resample(&y, axis, &taps)?;
            }
        }
        Ok(y)
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    let case = |detail: &str, x: Input, extents: &[usize], options: Resize| {
        let extents = extents.to_vec();
        Case::new("resize", detail, [x], move |x| x[0].resize(&extents, options))
    };
    let (nearest, linear) = (Resize::NEAREST, Resize::LINEAR);
    let cubic = Resize { interpolation: Interpolation::Cubic(-0.75), ..linear };
    let mut cases = vec![
        case("nearest 1", Input::whole([1, 1, 1, 1]), &[1, 1], nearest).exact(),
        case("nearest up", Input::whole([2, 3, 3, 4]), &[7, 8], nearest).exact(),
        case("nearest down", Input::whole([1, 2, 7, 9]), &[3, 4], nearest).exact(),
        case("nearest of a line", Input::whole([2, 3, 5]), &[13], nearest).exact(),
        case("nearest of a volume", Input::whole([1, 2, 2, 3, 2]), &[3, 2, 5], nearest).exact(),
        case("nearest transposed", Input::whole([1, 2, 5, 4]).transposed(), &[6, 9], nearest).exact(),
        case("nearest of nothing", Input::whole([0, 2, 5, 4]), &[6, 9], nearest).exact(),
        case("linear twice", Input::whole([1, 2, 3, 4]), &[6, 8], linear).exact(),
        case("linear up", Input::any([2, 2, 3, 4]), &[7, 5], linear),
        case("linear down", Input::any([1, 2, 7, 9]), &[3, 4], linear),
        case("linear of a line", Input::any([2, 3, 5]), &[13], linear),
        case("linear of a volume", Input::any([1, 2, 2, 3, 2]), &[3, 2, 5], linear),
        case("cubic", Input::any([1, 2, 4, 5]), &[7, 3], cubic),
        case("same extents", Input::whole([1, 2, 4, 5]), &[4, 5], linear).exact(),
        case("65x63", Input::any([1, 1, 31, 33]), &[65, 63], linear).value_only(),
        case("more extents than axes", Input::any([3]), &[2, 2], nearest).fails(),
        case("to nothing", Input::any([1, 1, 3, 3]), &[2, 0], nearest).fails(),
        case("from nothing", Input::any([1, 1, 0, 3]), &[2, 2], nearest).fails(),
        case("integers", Input::index([1, 1, 3, 3], 5), &[2, 2], nearest).fails(),
    ];
    use Coordinates::{AlignCorners, Asymmetric, HalfPixel, HalfPixelOrFirst};
    for coordinates in [AlignCorners, Asymmetric, HalfPixel, HalfPixelOrFirst] {
        for (kind, options) in [("linear", linear), ("cubic", cubic)] {
            for out in [1, 9] {
                let detail = format!("{kind} {coordinates:?} to {out}");
                cases.push(case(&detail, Input::any([1, 2, 4]), &[out], options.coordinates(coordinates)));
            }
        }
        for rounding in [Rounding::Floor, Rounding::Ceil, Rounding::PreferFloor, Rounding::PreferCeil] {
            let options = Resize { interpolation: Interpolation::Nearest, coordinates, rounding };
            let detail = format!("nearest {coordinates:?} {rounding:?}");
            cases.push(case(&detail, Input::whole([1, 2, 4, 6]), &[7, 3], options).exact());
        }
    }
    vec![Room { op: "resize", cases }]
}
