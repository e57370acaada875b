//! Residual networks for small images: ResNet-20, 32, 44, 56 and 110.

use crate::error::{Error, Result};
use crate::nn::{BatchNorm, Conv2d, Init, LayerInit, Linear, Mode, Module, Params, Sequential};
use crate::ops::Conv2dOptions;
use crate::tensor::Tensor;

/// What a block adds its branch to where the extents change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shortcut {
    /// Every second pixel, and zeros for the channels there are too few of: no parameters, the paper's option A.
    #[default]
    Padded,
    /// A convolution 1 × 1 and batch norm: option B.
    Projected,
}

/// What a [`ResNet`] is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetOptions {
    /// Channels of the images.
    pub channels: usize,
    /// Classes to tell apart.
    pub classes: usize,
    /// Channels of the first stage; the second and third have twice and four times as many.
    pub width: usize,
    /// What blocks add to where the extents change.
    pub shortcut: Shortcut,
}

impl Default for ResNetOptions {
    /// The paper's: three channels, ten classes, width 16, padded shortcuts.
    fn default() -> Self {
        ResNetOptions { channels: 3, classes: 10, width: 16, shortcut: Shortcut::Padded }
    }
}

fn convolution(params: &Params, inputs: usize, outputs: usize, stride: usize) -> Result<Conv2d> {
    let init = LayerInit { weight: Init::he(), bias: false, bias_init: None };
    let options = Conv2dOptions::default().stride([stride; 2]).padding([1, 1]);
    Conv2d::with(params, inputs, outputs, [3, 3], options, init)
}

/// Two convolutions 3 × 3, each with batch norm, added to the input before the last relu:
/// y = relu(s(x) + norm₂(conv₂(relu(norm₁(conv₁(x)))))), with s the identity, or where the extents change the
/// [shortcut](Shortcut).
pub struct BasicBlock {
    branch: Sequential,
    shortcut: Sequential,
}

impl BasicBlock {
    /// From `inputs` channels to `outputs`, each extent divided by `stride`. Parameters: `conv1`, `bn1`, `conv2`,
    /// `bn2`, and for a projection `shortcut.0` and `shortcut.1`.
    ///
    /// Errors: [`Error::Argument`] for a stride of zero, or a padded shortcut to fewer channels.
    pub fn new(
        params: &Params,
        inputs: usize,
        outputs: usize,
        stride: usize,
        shortcut: Shortcut,
    ) -> Result<Self> {
        let same = inputs == outputs && stride == 1;
        let narrows = shortcut == Shortcut::Padded && outputs < inputs;
        if stride == 0 || narrows {
            return Err(Error::argument(
                "resnet",
                format!("a block from {inputs} to {outputs} channels, stride {stride}, {shortcut:?}"),
                "The stride is at least one; a padded shortcut adds channels, a projected one may drop some.",
            ));
        }
        let branch = Sequential::new()
            .add(convolution(&params.at("conv1"), inputs, outputs, stride)?)
            .add(BatchNorm::new(&params.at("bn1"), outputs)?)
            .add(Tensor::relu)
            .add(convolution(&params.at("conv2"), outputs, outputs, 1)?)
            .add(BatchNorm::new(&params.at("bn2"), outputs)?);
        let shortcut = match shortcut {
            _ if same => Sequential::new(),
            Shortcut::Padded => Sequential::new().then(move |x| padded(x, outputs, stride)),
            Shortcut::Projected => {
                let at = params.at("shortcut");
                let init = LayerInit { weight: Init::he(), bias: false, bias_init: None };
                let options = Conv2dOptions::default().stride([stride; 2]);
                Sequential::new()
                    .add(Conv2d::with(&at.at(0), inputs, outputs, [1, 1], options, init)?)
                    .add(BatchNorm::new(&at.at(1), outputs)?)
            }
        };
        Ok(BasicBlock { branch, shortcut })
    }
}

/// Every `stride`-th pixel, and zeros behind the channels up to `channels`.
fn padded(x: &Tensor, channels: usize, stride: usize) -> Result<Tensor> {
    let [_, have, height, width] = **x.shape() else {
        return Err(Error::shape("resnet", x.describe(), "Give images [N, C, H, W]."));
    };
    let fewer = x.slice_step(2, 0, height, stride)?.slice_step(3, 0, width, stride)?;
    fewer.pad(&[(0, 0), (0, channels.saturating_sub(have)), (0, 0), (0, 0)], 0.0)
}

impl Module for BasicBlock {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.shortcut.forward(x, mode)?.add(&self.branch.forward(x, mode)?)?.relu()
    }
}

/// The residual network for small images of He, Zhang, Ren and Sun 2016 (arXiv:1512.03385, section 4.2).
///
/// Of depth 6n + 2: a convolution 3 × 3, three stages of n [`BasicBlock`]s, of which the second and the third halve
/// the extents and double the channels in their first block, the mean over the image, and an affine layer. Depth 20
/// has 0.27 million parameters, 32 has 0.46. x `[N, channels, H, W]` → logits `[N, classes]`, for images of any
/// extents.
///
/// ```
/// use gradus::models::{ResNet, ResNetOptions};
/// use gradus::nn::{Mode, Module, Params};
/// use gradus::{Device, Tensor};
/// # fn main() -> gradus::Result<()> {
/// let params = Params::new(&Device::cpu(), 1);
/// let resnet = ResNet::new(&params, 20, ResNetOptions::default())?;
/// assert_eq!(params.count(), 269_722);
/// let logits = resnet.forward(&Tensor::zeros(&Device::cpu(), [2, 3, 8, 8])?, Mode::Eval)?;
/// assert_eq!(**logits.shape(), [2, 10]);
/// # Ok(())
/// # }
/// ```
pub struct ResNet(Sequential);

impl ResNet {
    /// Of this depth: 20, 32, 44, 56, 110 or another 6n + 2. Weights start as He's normal distribution says, by fan
    /// in. Parameters: `conv1`, `bn1`, `layer1.0` … `layer3.{n−1}`, `linear`.
    ///
    /// Errors: [`Error::Argument`] for another depth.
    pub fn new(params: &Params, depth: usize, options: ResNetOptions) -> Result<Self> {
        let blocks = depth.saturating_sub(2) / 6;
        if blocks == 0 || depth != 6 * blocks + 2 {
            return Err(Error::argument(
                "resnet",
                format!("depth {depth}"),
                "A depth is 6n + 2: 8, 14, 20, 32, 44, 56, 110.",
            ));
        }
        let ResNetOptions { channels, classes, width, shortcut } = options;
        let mut model = Sequential::new()
            .add(convolution(&params.at("conv1"), channels, width, 1)?)
            .add(BatchNorm::new(&params.at("bn1"), width)?)
            .add(Tensor::relu);
        let mut have = width;
        for stage in 0..3 {
            let want = width << stage;
            for block in 0..blocks {
                let at = params.at(format!("layer{}.{block}", stage + 1));
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                model = model.add(BasicBlock::new(&at, have, want, stride, shortcut)?);
                have = want;
            }
        }
        let init = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
        let readout = Linear::with(&params.at("linear"), have, classes, init)?;
        Ok(ResNet(model.then(|x| x.global_avg_pool2d()?.flatten(1)).add(readout)))
    }
}

impl Module for ResNet {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.0.forward(x, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::optim::{Optimizer, Sgd};

    fn count(depth: usize, options: ResNetOptions) -> usize {
        let params = Params::new(&Device::cpu(), 1);
        ResNet::new(&params, depth, options).unwrap();
        params.count()
    }

    #[test]
    fn parameter_counts_are_those_of_the_paper() {
        // Table 6: 0.27, 0.46, 0.66 and 0.85 million; from the layers, conv 9·C·C′, norm 2·C, affine 65·10.
        let paper = ResNetOptions::default();
        let counts = [20, 32, 44, 56].map(|depth| count(depth, paper));
        assert_eq!(counts, [269_722, 464_154, 658_586, 853_018]);
        let projected = ResNetOptions { shortcut: Shortcut::Projected, ..paper };
        assert_eq!(count(20, projected), 269_722 + (16 * 32 + 64) + (32 * 64 + 128));
    }

    #[test]
    fn stages_halve_images_of_any_extents() {
        for shortcut in [Shortcut::Padded, Shortcut::Projected] {
            let params = Params::new(&Device::cpu(), 2);
            let options = ResNetOptions { channels: 1, classes: 7, width: 4, shortcut };
            let resnet = ResNet::new(&params, 8, options).unwrap();
            for extents in [[12, 8], [7, 9], [1, 1]] {
                let x = Tensor::ones(&Device::cpu(), [3, 1, extents[0], extents[1]]).unwrap();
                assert_eq!(**resnet.forward(&x, Mode::Eval).unwrap().shape(), [3, 7]);
            }
        }
    }

    #[test]
    fn a_block_whose_last_norm_is_zero_is_the_relu_of_its_shortcut() {
        let params = Params::new(&Device::cpu(), 3);
        let block = BasicBlock::new(&params, 2, 4, 2, Shortcut::Padded).unwrap();
        params.get("bn2.weight").unwrap().set(&Tensor::zeros(&Device::cpu(), [4]).unwrap()).unwrap();
        let data: Vec<f32> = (0..16).map(|i| i as f32 - 5.0).collect();
        let x = Tensor::from_slice(&Device::cpu(), &data, [1, 2, 2, 4]).unwrap();
        let y = block.forward(&x, Mode::Eval).unwrap();
        assert_eq!(**y.shape(), [1, 4, 1, 2]);
        assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 0.0, 3.0, 5.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn steps_of_training_lower_the_loss_and_every_parameter_moves() {
        let params = Params::new(&Device::cpu(), 4);
        let options = ResNetOptions { channels: 1, classes: 3, width: 4, shortcut: Shortcut::Padded };
        let resnet = ResNet::new(&params, 20, options).unwrap();
        let data: Vec<f32> = (0..6 * 64).map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0).collect();
        let x = Tensor::from_slice(&Device::cpu(), &data, [6, 1, 8, 8]).unwrap();
        let labels = Tensor::from_slice(&Device::cpu(), &[0, 1, 2, 0, 1, 2], [6]).unwrap();
        let mut sgd = Sgd::new(&params, 0.01).unwrap();
        let loss = || resnet.forward(&x, Mode::Train).unwrap().cross_entropy(&labels).unwrap();
        let before = loss();
        let gradients = before.backward().unwrap();
        for parameter in params.trainable() {
            let size = gradients.get(&parameter.get()).unwrap().abs().unwrap().max(&[], false).unwrap();
            assert!(size.item().unwrap() > 0.0, "{} has no gradient", parameter.path());
        }
        sgd.step(&gradients).unwrap();
        assert!(loss().item().unwrap() < before.item().unwrap());
    }

    #[test]
    fn depths_are_six_n_plus_two() {
        for depth in [0, 2, 18, 21] {
            let params = Params::new(&Device::cpu(), 5);
            let error = ResNet::new(&params, depth, ResNetOptions::default());
            assert!(matches!(error, Err(Error::Argument { .. })), "{depth}");
        }
    }
}
