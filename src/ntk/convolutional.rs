//! The limit of convolutional networks.

use super::fully_connected::{Kernels, Phi, check_input, check_variances, scaled, standard};
use crate::error::{Error, Result};
use crate::nn::{Conv2d, Linear, Params, Sequential};
use crate::ops::{Conv2dOptions, Pool2d};
use crate::tensor::Tensor;

/// What the last layer sees of the last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// Every channel at every position, with a weight of its own. In the limit no two positions meet, and the
    /// translation equivariance of the layers is lost (Novak et al. 2019, arXiv:1810.05148).
    Flatten,
    /// The average of each channel over all positions. The kernel then sees all pairs of positions, and takes memory
    /// for them.
    GlobalAverage,
}

/// Convolutional networks with infinitely many channels: convolutions of odd side, zeros around the image so that
/// it keeps its extents, and a linear output.
///
/// Each convolution is (σ_w/√(n·k²))·W∗φ(z) + σ_b·b, the first (1/k)·W∗x + σ_b·b, with standard normal W and b; the
/// inputs are taken as they are. Kernels are those of pairs of positions p, p′, and a convolution averages them over
/// taps t: A(S)(p, p′) = 1/k²·Σ S(p + t, p′ + t), zero outside. Then S ← A(xᵀx′) + σ_b², T ← S; for each further
/// convolution S ← A(σ_w²·E φφ) + σ_b², T ← S + A(T·σ_w²·E φ′φ′); and the readout averages E φφ and T·E φ′φ′ over p = p′
/// ([`Readout::Flatten`]) or over all p, p′. Arora et al. 2019, arXiv:1904.11955; Garriga-Alonso et al. 2019.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Convolutional {
    /// How many convolutions, one or more.
    pub layers: usize,
    /// k, the side of their kernels, odd.
    pub kernel: usize,
    /// The function behind each of them.
    pub phi: Phi,
    /// σ_w².
    pub weight_var: f64,
    /// σ_b².
    pub bias_var: f64,
    /// What the last layer sees.
    pub readout: Readout,
}

impl Convolutional {
    /// Convolutions k × k with ReLU, σ_w² = 2 and no biases.
    pub fn relu(layers: usize, kernel: usize, readout: Readout) -> Self {
        Convolutional { layers, kernel, phi: Phi::Relu, weight_var: 2.0, bias_var: 0.0, readout }
    }

    fn check(&self) -> Result<()> {
        check_variances("Convolutional", self.weight_var, self.bias_var)?;
        if self.layers > 0 && self.kernel % 2 == 1 {
            return Ok(());
        }
        let given = format!("{} convolutions of side {}", self.layers, self.kernel);
        Err(Error::argument("Convolutional", given, "Give at least one, of an odd side."))
    }

    /// The kernels between images x1 `[N, C, H, W]` and x2 `[M, C, H, W]`, on their device and in their type; accuracy
    /// as for [`FullyConnected::kernels`](super::FullyConnected::kernels).
    ///
    /// Takes N·M·H·W numbers for each step, times another H·W with [`Readout::GlobalAverage`].
    ///
    /// Errors: [`Error::Argument`] for what the fields exclude; [`Error::Shape`] unless the images agree in C, H and W;
    /// [`Error::DType`] for f16.
    pub fn kernels(&self, x1: &Tensor, x2: &Tensor) -> Result<Kernels> {
        let op = "Convolutional::kernels";
        self.check()?;
        check_input(op, x1, 4, "Give images [N, C, H, W].")?;
        check_input(op, x2, 4, "Give images [N, C, H, W].")?;
        if x1.shape()[1..] != x2.shape()[1..] {
            let given = format!("{} and {}", x1.describe(), x2.describe());
            return Err(Error::shape(op, given, "Both have the same channels, rows and columns."));
        }
        // Variances of each image at each position, shaped to meet the pairs.
        let own = |x: &Tensor| self.averaged_images(&x.square()?.sum(&[1], true)?);
        let (mut s1, mut s2) = (own(x1)?, own(x2)?);
        let mut s = self.averaged(&self.products(x1, x2)?)?.add_scalar(self.bias_var)?;
        let mut t = s.clone();
        for layer in 0..self.layers {
            let [first, second] = self.facing(&s1, &s2)?;
            let (values, slopes) = self.phi.expectations(&s, &first, &second)?;
            let (values, slopes) = (values.mul_scalar(self.weight_var)?, slopes.mul_scalar(self.weight_var)?);
            let below = t.mul(&slopes)?;
            if layer + 1 == self.layers {
                let nngp = self.read(&values)?.add_scalar(self.bias_var)?;
                let ntk = nngp.add(&self.read(&below)?)?;
                return Ok(Kernels { nngp, ntk });
            }
            s = self.averaged(&values)?.add_scalar(self.bias_var)?;
            t = s.add(&self.averaged(&below)?)?;
            let grown =
                |s: &Tensor| self.averaged_images(&self.phi.second_moment(s)?.mul_scalar(self.weight_var)?);
            (s1, s2) = (grown(&s1)?, grown(&s2)?);
        }
        Err(Error::argument(op, "no convolutions", "Give at least one."))
    }

    /// xᵀx′ over channels: `[N, M, H, W]` at equal positions, or `[N, M, H, W, H, W]` at all pairs.
    fn products(&self, x1: &Tensor, x2: &Tensor) -> Result<Tensor> {
        match self.readout {
            Readout::Flatten => Tensor::einsum("nchw,mchw->nmhw", &[x1, x2]),
            Readout::GlobalAverage => Tensor::einsum("nchw,mcij->nmhwij", &[x1, x2]),
        }
    }

    /// The variances `[N, 1, H, W]` and `[M, 1, H, W]` as they meet in pairs.
    fn facing(&self, s1: &Tensor, s2: &Tensor) -> Result<[Tensor; 2]> {
        let (n, m, h, w) = (s1.shape()[0], s2.shape()[0], s1.shape()[2], s1.shape()[3]);
        Ok(match self.readout {
            Readout::Flatten => [s1.clone(), s2.reshape([1, m, h, w])?],
            Readout::GlobalAverage => [s1.reshape([n, 1, h, w, 1, 1])?, s2.reshape([1, m, 1, 1, h, w])?],
        })
    }

    /// A of the variances of images, `[N, 1, H, W]`, and the bias.
    fn averaged_images(&self, s: &Tensor) -> Result<Tensor> {
        self.pooled(s)?.add_scalar(self.bias_var)
    }

    /// The average over taps with zeros around, of images.
    fn pooled(&self, s: &Tensor) -> Result<Tensor> {
        let reach = self.kernel / 2;
        s.avg_pool2d(Pool2d::new([self.kernel; 2]).stride([1; 2]).padding([reach; 2]), true)
    }

    /// A of the kernels of pairs.
    fn averaged(&self, s: &Tensor) -> Result<Tensor> {
        let shape = *s.shape();
        match self.readout {
            Readout::Flatten => {
                let images = [shape[0] * shape[1], 1, shape[2], shape[3]];
                self.pooled(&s.reshape(images)?)?.reshape(shape)
            }
            Readout::GlobalAverage => {
                let rows = self.along(s, 2, 4)?;
                self.along(&rows, 3, 5)?.mul_scalar(1.0 / (self.kernel * self.kernel) as f64)
            }
        }
    }

    /// Σ over taps of s moved along two axes at once, zeros coming in.
    fn along(&self, s: &Tensor, a: usize, b: usize) -> Result<Tensor> {
        let (reach, extent) = (self.kernel / 2, s.shape()[a]);
        let mut sum = s.clone();
        for by in 1..=reach.min(extent.saturating_sub(1)) {
            for (from, to, around) in [(by, extent, (0, by)), (0, extent - by, (by, 0))] {
                let mut amounts = vec![(0, 0); s.rank()];
                (amounts[a], amounts[b]) = (around, around);
                let part = s.slice(a as isize, from, to)?.slice(b as isize, from, to)?;
                sum = sum.add(&part.pad(&amounts, 0.0)?)?;
            }
        }
        Ok(sum)
    }

    /// The average over the positions that the readout lets meet.
    fn read(&self, s: &Tensor) -> Result<Tensor> {
        match self.readout {
            Readout::Flatten => s.mean(&[2, 3], false),
            Readout::GlobalAverage => s.mean(&[2, 3, 4, 5], false),
        }
    }

    /// A network of this kind with finitely many channels, whose kernel tends to [`kernels`](Self::kernels): layers
    /// `conv0`, … and `readout` in `params`, from images `[N, inputs, height, width]` to `[N, outputs]`.
    ///
    /// Errors: [`Error::Argument`] for what the fields exclude, or paths that are taken.
    pub fn network(
        &self,
        params: &Params,
        inputs: usize,
        image: [usize; 2],
        channels: usize,
        outputs: usize,
    ) -> Result<Sequential> {
        self.check()?;
        let (k, init) = (self.kernel, standard(self.bias_var));
        let options = Conv2dOptions::default().padding([k / 2; 2]);
        let mut network = Sequential::new();
        for layer in 0..self.layers {
            let from = if layer == 0 { inputs } else { channels };
            let fan = if layer == 0 { 1.0 } else { channels as f64 / self.weight_var };
            let scale = 1.0 / (fan * (k * k) as f64).sqrt();
            let conv =
                Conv2d::with(&params.at(format!("conv{layer}")), from, channels, [k; 2], options, init)?;
            let phi = self.phi;
            network =
                scaled(network, scale, self.bias_var, move |x| conv.forward(x)).then(move |x| phi.apply(x));
        }
        let (network, features) = match self.readout {
            Readout::Flatten => (network.then(|x| x.flatten(1)), channels * image[0] * image[1]),
            Readout::GlobalAverage => (network.then(|x| x.mean(&[2, 3], false)), channels),
        };
        let linear = Linear::with(&params.at("readout"), features, outputs, init)?;
        let scale = (self.weight_var / features as f64).sqrt();
        Ok(scaled(network, scale, self.bias_var, move |x| linear.forward(x)))
    }
}
