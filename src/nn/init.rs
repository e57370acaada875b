//! What parameters start as.

use crate::error::{Error, Result};
use crate::ops::random::philox::philox4x32_10;
use crate::shape::Shape;
use rayon::prelude::*;

/// The distribution a parameter starts from.
///
/// With fan in m (inputs of a unit) and fan out n (units an input reaches), counted from a weight
/// `[out, in, kernel..]` as m = in · kernel and n = out · kernel. Each keeps the variance of activations,
/// or of gradients, from growing or vanishing with depth, under the assumptions of its source. Uniform
/// variants have the same standard deviation σ on [−√3·σ, √3·σ).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// 0.
    Zeros,
    /// 1.
    Ones,
    /// One value everywhere.
    Constant(f64),
    /// Uniform in [`low`, `high`).
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Uniform with σ = gain/√fan. He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers",
    /// arXiv:1502.01852, eq. 10 and 14.
    KaimingUniform {
        /// The factor that makes up for the nonlinearity; see [`Nonlinearity::gain`].
        gain: f64,
        /// Whether activations or gradients keep their variance.
        fan: Fan,
    },
    /// Normal with σ = gain/√fan. He et al. 2015.
    KaimingNormal {
        /// The factor that makes up for the nonlinearity; see [`Nonlinearity::gain`].
        gain: f64,
        /// Whether activations or gradients keep their variance.
        fan: Fan,
    },
    /// Uniform with σ = gain·√(2/(m + n)). Glorot and Bengio 2010, "Understanding the difficulty of
    /// training deep feedforward neural networks", eq. 16.
    XavierUniform {
        /// The factor that makes up for the nonlinearity.
        gain: f64,
    },
    /// Normal with σ = gain·√(2/(m + n)). Glorot and Bengio 2010, eq. 12.
    XavierNormal {
        /// The factor that makes up for the nonlinearity.
        gain: f64,
    },
    /// Uniform with σ = 1/√m. LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", eq. 16.
    LecunUniform,
    /// Normal with σ = 1/√m. LeCun et al. 1998, eq. 16.
    LecunNormal,
    /// A random matrix with orthonormal rows or columns, whichever are fewer, times the gain; a kernel
    /// counts as `[out, in · kernel]`. Saxe, McClelland and Ganguli 2014, arXiv:1312.6120.
    Orthogonal {
        /// The factor.
        gain: f64,
    },
    /// A convolution that passes each place on through an orthogonal matrix of its channels: that matrix,
    /// times the gain, at the centre of the kernel, and zeros around it. With as many channels out as in and
    /// gain 1, a stack of such layers of stride 1 keeps every length. Xiao, Bahri, Sohl-Dickstein, Schoenholz
    /// and Pennington 2018, arXiv:1806.05393.
    DeltaOrthogonal {
        /// The factor.
        gain: f64,
    },
}

/// Which fan a Kaiming initialisation keeps the variance by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Fan in: activations keep their variance on the way forward.
    #[default]
    In,
    /// Fan out: gradients keep theirs on the way back.
    Out,
}

/// What follows the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// Nothing.
    Linear,
    /// 1/(1 + exp(−x)).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// max(x, 0).
    Relu,
    /// x for x > 0, else the slope times x.
    LeakyRelu(f64),
    /// The self-normalising ELU.
    Selu,
}

impl Nonlinearity {
    /// The factor for σ, as PyTorch's `calculate_gain` has it: 5/3 for tanh, √2 for ReLU,
    /// √(2/(1 + slope²)) for leaky ReLU, 3/4 for SELU, else 1.
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => 2f64.sqrt(),
            Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Nonlinearity::Selu => 0.75,
        }
    }
}

impl Init {
    /// What PyTorch gives linear and convolutional layers: uniform in ±1/√m, which it derives as Kaiming's
    /// with the gain of a leaky ReLU of slope √5.
    pub fn torch_weight() -> Self {
        Init::KaimingUniform { gain: (1.0f64 / 3.0).sqrt(), fan: Fan::In }
    }

    /// Kaiming's normal distribution for ReLU, by fan in.
    pub fn he() -> Self {
        Init::KaimingNormal { gain: Nonlinearity::Relu.gain(), fan: Fan::In }
    }

    /// Fan in and fan out of a weight `[out, in, kernel..]`.
    ///
    /// Errors: [`Error::Shape`] for fewer than two axes.
    pub fn fans(shape: &[usize]) -> Result<(usize, usize)> {
        let [outputs, inputs, kernel @ ..] = shape else {
            return Err(Error::shape(
                "init",
                format!("{shape:?} has no fan in and fan out"),
                "A weight is [out, in, kernel..]; use Zeros, Uniform or Normal for others.",
            ));
        };
        let taps: usize = kernel.iter().product();
        Ok((inputs * taps, outputs * taps))
    }

    /// The standard deviation for a weight of this shape; of one element, for an orthogonal matrix; over all
    /// taps, for a delta-orthogonal kernel.
    ///
    /// Errors: [`Error::Shape`] where the fans are needed and the shape has none.
    pub fn std(&self, shape: &[usize]) -> Result<f64> {
        let over = |n: usize| 1.0 / (n.max(1) as f64).sqrt();
        Ok(match *self {
            Init::Zeros | Init::Ones | Init::Constant(_) => 0.0,
            Init::Uniform { low, high } => (high - low) / 12f64.sqrt(),
            Init::Normal { std, .. } => std,
            Init::KaimingUniform { gain, fan } | Init::KaimingNormal { gain, fan } => {
                let (m, n) = Init::fans(shape)?;
                gain * over(if fan == Fan::In { m } else { n })
            }
            Init::XavierUniform { gain } | Init::XavierNormal { gain } => {
                let (m, n) = Init::fans(shape)?;
                gain * (2.0 / (m + n).max(1) as f64).sqrt()
            }
            Init::LecunUniform | Init::LecunNormal => over(Init::fans(shape)?.0),
            Init::Orthogonal { gain } => {
                Init::fans(shape)?;
                gain * over(shape[0].max(shape[1..].iter().product()))
            }
            Init::DeltaOrthogonal { gain } => {
                Init::fans(shape)?;
                gain * over(shape[0].max(shape[1]) * shape[2..].iter().product::<usize>())
            }
        })
    }

    /// The values of the parameter `path`. Element i is a function of (seed, path, i), made on the host so
    /// that every device starts from the same bits.
    pub(super) fn sample(&self, shape: &Shape, seed: u64, path: &str) -> Result<Vec<f64>> {
        let (count, stream) = (shape.count(), fnv1a(path.as_bytes()));
        let std = self.std(shape)?;
        if !std.is_finite() || std < 0.0 {
            return Err(Error::argument(
                "init",
                format!("{self:?} for `{path}`"),
                "Ranges, deviations and gains are finite and not negative.",
            ));
        }
        let flat = |low: f64, high: f64| draw(count, seed, stream, |u| u.map(|u| low + (high - low) * u));
        let bell = |mean: f64, std: f64| draw(count, seed, stream, |u| normal(u).map(|z| mean + std * z));
        let root3 = 3f64.sqrt();
        Ok(match *self {
            Init::Zeros => vec![0.0; count],
            Init::Ones => vec![1.0; count],
            Init::Constant(value) => vec![value; count],
            Init::Uniform { low, high } => flat(low, high),
            Init::Normal { mean, .. } => bell(mean, std),
            Init::KaimingUniform { .. } | Init::XavierUniform { .. } | Init::LecunUniform => {
                flat(-root3 * std, root3 * std)
            }
            Init::KaimingNormal { .. } | Init::XavierNormal { .. } | Init::LecunNormal => bell(0.0, std),
            Init::Orthogonal { gain } => {
                let rows = shape[0];
                let columns = count.checked_div(rows).unwrap_or(0);
                orthogonal(bell(0.0, 1.0), rows, columns).into_iter().map(|v| gain * v).collect()
            }
            Init::DeltaOrthogonal { gain } => {
                let (rows, columns, kernel) = (shape[0], shape[1], &shape[2..]);
                let taps: usize = kernel.iter().product();
                if taps == 0 {
                    return Ok(vec![]);
                }
                let centre = kernel.iter().fold(0, |at, k| at * k + k / 2);
                let matrix = orthogonal(bell(0.0, 1.0)[..rows * columns].to_vec(), rows, columns);
                let mut data = vec![0.0; count];
                for (tap, value) in data.iter_mut().skip(centre).step_by(taps).zip(matrix) {
                    *tap = gain * value;
                }
                data
            }
        })
    }
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo): a hash that will be the same in every version.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// `count` numbers, four from each block of the stream; `f` makes them from four in (0, 1).
fn draw(count: usize, seed: u64, stream: u64, f: impl Fn([f64; 4]) -> [f64; 4] + Sync) -> Vec<f64> {
    let key = [seed as u32, (seed >> 32) as u32];
    let mut data = vec![0.0; count];
    data.par_chunks_mut(4).with_min_len(1024).enumerate().for_each(|(block, out)| {
        let counter = [block as u32, (block as u64 >> 32) as u32, stream as u32, (stream >> 32) as u32];
        let unit = philox4x32_10(counter, key).map(|word| (f64::from(word) + 0.5) / 4_294_967_296.0);
        out.copy_from_slice(&f(unit)[..out.len()]);
    });
    data
}

/// Four standard normal numbers from four uniform ones (Box and Muller 1958). libm, because the functions
/// of the standard library may differ between platforms.
fn normal([a, b, c, d]: [f64; 4]) -> [f64; 4] {
    let pair = |u: f64, v: f64| {
        let (radius, angle) = (libm::sqrt(-2.0 * libm::log(u)), std::f64::consts::TAU * v);
        (radius * libm::cos(angle), radius * libm::sin(angle))
    };
    let ((w, x), (y, z)) = (pair(a, b), pair(c, d));
    [w, x, y, z]
}

/// Makes the rows of a row-major matrix orthonormal, or its columns where they are fewer.
///
/// Modified Gram–Schmidt, twice: the second sweep brings ‖QᵀQ − I‖ to rounding ("twice is enough",
/// Giraud, Langou and Rozložník 2005). Every vector keeps its direction along its own residual, which
/// makes the diagonal of R positive and Q uniformly distributed (Mezzadri 2007).
fn orthogonal(mut data: Vec<f64>, rows: usize, columns: usize) -> Vec<f64> {
    let transposed = rows > columns;
    if transposed {
        data = transpose(&data, rows, columns);
    }
    let width = rows.max(columns);
    let mut vectors: Vec<&mut [f64]> = data.chunks_mut(width.max(1)).collect();
    for _ in 0..2 {
        for k in 0..vectors.len() {
            let (done, rest) = vectors.split_at_mut(k + 1);
            let q = &mut *done[k];
            let norm = dot(q, q).sqrt();
            q.iter_mut().for_each(|v| *v /= norm);
            rest.par_iter_mut().with_min_len(8).for_each(|other| {
                let along = dot(q, other);
                other.iter_mut().zip(&*q).for_each(|(v, q)| *v -= along * q);
            });
        }
    }
    if transposed { transpose(&data, columns, rows) } else { data }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn transpose(data: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|i| data[i % rows * columns + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(init: Init, shape: &[usize], path: &str) -> Vec<f64> {
        init.sample(&Shape::new(shape).unwrap(), 3, path).unwrap()
    }

    #[test]
    fn samples_have_the_mean_and_deviation_they_claim() {
        let shape = [300, 70, 3];
        let inits = [
            Init::Uniform { low: -1.0, high: 5.0 },
            Init::Normal { mean: 2.0, std: 0.5 },
            Init::KaimingUniform { gain: 1.0, fan: Fan::Out },
            Init::he(),
            Init::XavierUniform { gain: 2.0 },
            Init::XavierNormal { gain: 2.0 },
            Init::LecunUniform,
            Init::LecunNormal,
            Init::Orthogonal { gain: 1.5 },
            Init::DeltaOrthogonal { gain: 1.5 },
        ];
        for init in inits {
            let data = sample(init, &shape, "w");
            let n = data.len() as f64;
            let mean = data.iter().sum::<f64>() / n;
            let std = (data.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let claimed = init.std(&shape).unwrap();
            let centre = if matches!(init, Init::Uniform { .. } | Init::Normal { .. }) { 2.0 } else { 0.0 };
            assert!((mean - centre).abs() < 4.0 * claimed / n.sqrt(), "{init:?}: mean {mean}");
            assert!((std / claimed - 1.0).abs() < 0.01, "{init:?}: {std} of {claimed}");
        }
    }

    #[test]
    fn orthogonal_matrices_are_orthonormal_either_way() {
        for (rows, columns) in [(1, 1), (5, 3), (3, 5), (64, 64), (130, 20)] {
            let q = sample(Init::Orthogonal { gain: 1.0 }, &[rows, columns], "q");
            let (n, q) = if rows < columns { (rows, q) } else { (columns, transpose(&q, rows, columns)) };
            let width = rows.max(columns);
            for i in 0..n {
                for j in 0..n {
                    let product = dot(&q[i * width..][..width], &q[j * width..][..width]);
                    assert!(
                        (product - f64::from(i == j)).abs() < 1e-13,
                        "{rows}x{columns}: {i}·{j} = {product}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_delta_orthogonal_kernel_is_an_orthogonal_matrix_at_its_centre() {
        let kernel = sample(Init::DeltaOrthogonal { gain: 2.0 }, &[4, 4, 3, 5], "k");
        let centre: Vec<f64> = kernel.iter().skip(7).step_by(15).map(|v| v / 2.0).collect();
        assert_eq!(kernel.iter().filter(|v| **v != 0.0).count(), 16, "nothing outside the centre");
        for (i, j) in (0..16).map(|k| (k / 4, k % 4)) {
            let product = dot(&centre[4 * i..][..4], &centre[4 * j..][..4]);
            assert!((product - f64::from(i == j)).abs() < 1e-13, "{i}·{j} = {product}");
        }
        assert!(matches!(
            Init::DeltaOrthogonal { gain: 1.0 }.sample(&Shape::new(&[3]).unwrap(), 0, "b"),
            Err(Error::Shape { .. })
        ));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the authors' test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn paths_choose_other_numbers_and_lengths_do_not() {
        let init = Init::Normal { mean: 0.0, std: 1.0 };
        assert_ne!(sample(init, &[8], "a"), sample(init, &[8], "b"));
        assert_eq!(sample(init, &[7], "a"), sample(init, &[9], "a")[..7]);
    }
}
