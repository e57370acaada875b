//! One call of an operation on given inputs. The same case serves correctness, gradient checks, mutation
//! and the printed table.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::ops::random::philox::philox4x32_10;
use crate::real::Bounded;
use crate::shape::Shape;
use crate::tensor::Tensor;
use half::f16;
use std::sync::Arc;

/// What a case calls.
pub type Run = Arc<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// One call of an operation.
#[derive(Clone)]
pub struct Case {
    /// The operation and what is particular, for instance `softmax/7x33,axis1`.
    pub id: String,
    /// How the inputs are made.
    pub inputs: Vec<Input>,
    /// The call.
    pub run: Run,
    /// Every partial sum is a small integer in any order: the result must be the reference's, bit for bit.
    pub exact: bool,
    /// Whether gradients are checked, against central differences too.
    pub gradient: bool,
    /// The call must fail with a typed error, on every device.
    pub fails: bool,
    /// Whether it is tried in f16 too, if it is small.
    pub half: bool,
}

/// How an input is made: the same numbers on every device, in every type.
#[derive(Clone, Debug)]
pub struct Input {
    shape: Vec<usize>,
    values: Values,
    placing: Placing,
}

#[derive(Clone, Debug)]
enum Values {
    Uniform(f64, f64),
    /// Small whole numbers, as floats: sums of their products are exact.
    Whole(i32, i32),
    /// Distinct and well apart, so that no maximum is near a tie: multiples of 1/8 in random order.
    Distinct,
    /// Integers below a limit.
    Index(i32),
    Fixed(Vec<f64>),
    FixedIndex(Vec<i32>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Placing {
    Dense,
    /// Stored with its last two axes exchanged.
    Transposed,
    /// Every second element of a longer last axis, from the second on.
    Strided,
    /// One slice along the first axis, repeated with stride zero.
    Repeated,
}

impl Input {
    /// With so many times as many elements along the last axis; given values are repeated one by one.
    pub(crate) fn widened(mut self, times: usize) -> Self {
        if let Some(last) = self.shape.last_mut() {
            *last *= times;
        }
        if let Values::Fixed(values) = &mut self.values {
            *values = values.iter().flat_map(|&value| std::iter::repeat_n(value, times)).collect();
        }
        self
    }

    fn new(shape: impl AsRef<[usize]>, values: Values) -> Self {
        Input { shape: shape.as_ref().to_vec(), values, placing: Placing::Dense }
    }

    /// Uniform in [`low`, `high`).
    pub fn uniform(shape: impl AsRef<[usize]>, low: f64, high: f64) -> Self {
        Input::new(shape, Values::Uniform(low, high))
    }

    /// Uniform in [−2, 2).
    pub fn any(shape: impl AsRef<[usize]>) -> Self {
        Input::uniform(shape, -2.0, 2.0)
    }

    /// Small whole numbers as floats, for exact cases.
    pub fn whole(shape: impl AsRef<[usize]>) -> Self {
        Input::new(shape, Values::Whole(-4, 4))
    }

    /// Multiples of 1/8 in random order, no two alike: for maxima, whose gradient jumps at a tie.
    pub fn distinct(shape: impl AsRef<[usize]>) -> Self {
        Input::new(shape, Values::Distinct)
    }

    /// Integers from 0 to below `limit`.
    pub fn index(shape: impl AsRef<[usize]>, limit: i32) -> Self {
        Input::new(shape, Values::Index(limit))
    }

    /// These values.
    pub fn fixed(shape: impl AsRef<[usize]>, values: &[f64]) -> Self {
        Input::new(shape, Values::Fixed(values.to_vec()))
    }

    /// These integers.
    pub fn fixed_index(shape: impl AsRef<[usize]>, values: &[i32]) -> Self {
        Input::new(shape, Values::FixedIndex(values.to_vec()))
    }

    /// Stored with the last two axes exchanged.
    pub fn transposed(self) -> Self {
        Input { placing: Placing::Transposed, ..self }
    }

    /// Stored as every second element of a longer row.
    pub fn strided(self) -> Self {
        Input { placing: Placing::Strided, ..self }
    }

    /// One slice along the first axis, read over and over with stride zero.
    pub fn repeated(self) -> Self {
        Input { placing: Placing::Repeated, ..self }
    }

    /// How many elements it has.
    pub(super) fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether gradients flow into it.
    pub fn is_float(&self) -> bool {
        !matches!(self.values, Values::Index(_) | Values::FixedIndex(_))
    }

    /// The input on a device, `seed` choosing the numbers. Floats in `dtype`, integers in i32.
    pub fn make(&self, device: &Device, dtype: DType, seed: u64) -> Result<Tensor> {
        let mut shape = self.shape.clone();
        match self.placing {
            Placing::Transposed => {
                let rank = shape.len();
                shape.swap(rank - 2, rank - 1);
            }
            Placing::Strided => {
                if let Some(last) = shape.last_mut() {
                    *last = 2 * *last + 1;
                }
            }
            Placing::Repeated => shape[0] = 1,
            Placing::Dense => {}
        }
        let stored = self.stored(device, dtype, Shape::new(&shape)?, seed)?;
        match self.placing {
            Placing::Dense => Ok(stored),
            Placing::Transposed => stored.t(),
            Placing::Strided => {
                let end = 2 * self.shape.last().copied().unwrap_or(0);
                stored.slice_step(-1, 1, end.max(1), 2)
            }
            Placing::Repeated => stored.broadcast_to(&self.shape),
        }
    }

    fn stored(&self, device: &Device, dtype: DType, shape: Shape, seed: u64) -> Result<Tensor> {
        let count = shape.count();
        let unit = |i: usize| f64::from(bits(seed, i) >> 8) / f64::from(1 << 24);
        let floats: Vec<f64> = match &self.values {
            Values::Index(limit) => {
                let data: Vec<i32> = (0..count).map(|i| (unit(i) * f64::from(*limit)) as i32).collect();
                return Tensor::from_vec(device, data, shape);
            }
            Values::FixedIndex(values) => return Tensor::from_slice(device, values, shape),
            // Rounded to f32, so that every device starts from the same numbers.
            Values::Uniform(low, high) => {
                (0..count).map(|i| f64::from((low + (high - low) * unit(i)) as f32)).collect()
            }
            Values::Whole(low, high) => (0..count)
                .map(|i| f64::from(low + (bits(seed, i) % (high - low + 1) as u32) as i32))
                .collect(),
            Values::Distinct => {
                // Half a step off, so that none is zero: activations have their kinks there.
                let mut order: Vec<usize> = (0..count).collect();
                order.sort_by_key(|&i| bits(seed, i));
                order.into_iter().map(|rank| (rank as f64 - (count / 2) as f64 + 0.5) / 8.0).collect()
            }
            Values::Fixed(values) => values.iter().map(|&v| f64::from(v as f32)).collect(),
        };
        if matches!(dtype, DType::F16 | DType::BoundedF16) {
            // To the nearest f16 here, and not by each reading in its own way.
            let rounded: Vec<f64> = floats.iter().map(|&v| f16::from_f64(v).to_f64()).collect();
            return from_f64(device, dtype.wide(), &rounded, shape)?.to_dtype(dtype);
        }
        from_f64(device, dtype, &floats, shape)
    }
}

/// A tensor of floating type `dtype` with these values.
pub(crate) fn from_f64(device: &Device, dtype: DType, data: &[f64], shape: Shape) -> Result<Tensor> {
    match dtype {
        DType::F16 | DType::BoundedF16 => from_f64(device, dtype.wide(), data, shape)?.to_dtype(dtype),
        DType::F64 => Tensor::from_slice(device, data, shape),
        DType::Bounded => {
            let exact: Vec<Bounded> = data.iter().map(|&v| Bounded::exact(v)).collect();
            Tensor::from_slice(device, &exact, shape)
        }
        _ => {
            let single: Vec<f32> = data.iter().map(|&v| v as f32).collect();
            Tensor::from_slice(device, &single, shape)
        }
    }
}

fn bits(seed: u64, index: usize) -> u32 {
    let block = philox4x32_10([(index / 4) as u32, 0, 0, 0x6361_7365], [seed as u32, (seed >> 32) as u32]);
    block[index % 4]
}

impl Case {
    /// A case of `op` that `detail` tells from its others.
    pub fn new(
        op: &str,
        detail: &str,
        inputs: impl IntoIterator<Item = Input>,
        run: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        let id = format!("{op}/{detail}");
        let inputs = inputs.into_iter().collect();
        Case { id, inputs, run: Arc::new(run), exact: false, gradient: true, fails: false, half: true }
    }

    /// All inputs are small whole numbers and every partial sum is exact.
    pub fn exact(self) -> Self {
        Case { exact: true, ..self }
    }

    /// Only the value is checked: the result is not differentiable, or too large to difference.
    pub fn value_only(self) -> Self {
        Case { gradient: false, ..self }
    }

    /// The call must give a typed error.
    pub fn fails(self) -> Self {
        Case { fails: true, gradient: false, ..self }
    }

    /// It is not tried in f16: the operation does not take it, or its numbers mean nothing there.
    pub fn single(self) -> Self {
        Case { half: false, ..self }
    }

    /// The inputs on a device, floats in `dtype`.
    pub fn make(&self, device: &Device, dtype: DType) -> Result<Vec<Tensor>> {
        self.inputs.iter().zip(1..).map(|(input, seed)| input.make(device, dtype, seed)).collect()
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id)
    }
}
