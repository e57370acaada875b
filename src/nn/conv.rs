//! Layers that convolve lines, images and volumes, forward and transposed.

use super::layers::LayerInit;
use super::module::{Mode, Module};
use super::observe::{self, Affine, Seen};
use super::parameter::Parameter;
use super::params::Params;
use crate::error::{Error, Result};
use crate::ops::{Conv1dOptions, Conv2dOptions, Conv3dOptions};
use crate::tensor::Tensor;

/// The groups divide the channels, or an error.
pub(super) fn check_groups(op: &'static str, groups: usize, inputs: usize, outputs: usize) -> Result<()> {
    if groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups) {
        return Ok(());
    }
    Err(Error::argument(
        op,
        format!("{groups} groups for {inputs} input and {outputs} output channels"),
        "The number of groups divides both.",
    ))
}

macro_rules! convolutions {
    ($($(#[$doc:meta])* $name:ident $axes:literal $options:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// The kernels, `[out, in / groups, ..]`.
            pub weight: Parameter,
            /// One number for each output channel.
            pub bias: Option<Parameter>,
            /// Stride, padding, dilation and groups.
            pub options: $options,
        }

        impl $name {
            /// From `inputs` to `outputs` channels, started as PyTorch does.
            ///
            /// Errors: [`Error::Argument`] if the groups do not divide the channels.
            pub fn new(
                params: &Params,
                inputs: usize,
                outputs: usize,
                kernel: [usize; $axes],
                options: $options,
            ) -> Result<Self> {
                Self::with(params, inputs, outputs, kernel, options, LayerInit::default())
            }

            /// From `inputs` to `outputs` channels, started as `init` says.
            pub fn with(
                params: &Params,
                inputs: usize,
                outputs: usize,
                kernel: [usize; $axes],
                options: $options,
                init: LayerInit,
            ) -> Result<Self> {
                check_groups(stringify!($method), options.groups, inputs, outputs)?;
                let shape = [&[outputs, inputs / options.groups][..], &kernel].concat();
                let (weight, bias) = init.define(params, &shape, outputs)?;
                Ok(Self { weight, bias, options })
            }

            /// The convolution of x with the kernels, plus the bias. For x of f16 the parameters are rounded
            /// to f16.
            pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let weight = self.weight.for_input(x)?;
                let bias = self.bias.as_ref().map(|bias| bias.for_input(x)).transpose()?;
                if weight.rank() == $axes + 3 {
                    return self.each_its_own(x, &weight, bias.as_ref());
                }
                let y = x.$method(&weight, bias.as_ref(), self.options)?;
                observe::note(|| Seen {
                    weight: self.weight.clone(),
                    bias: self.bias.clone(),
                    input: x.clone(),
                    output: y.clone(),
                    map: self.options.of_images().map_or(Affine::Other, Affine::Conv2d),
                });
                Ok(y)
            }

            /// Inside [`Params::per_example_grad`] every example has kernels of its own: it becomes a group
            /// of the channels of one image.
            fn each_its_own(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
                let examples = weight.shape()[0];
                if x.rank() != $axes + 2 || x.shape()[0] != examples {
                    let given = format!("input {} with kernels for each of {examples} examples", x.describe());
                    let remedy = "Give [N, C, ..], whose first axis counts the examples.";
                    return Err(Error::shape(stringify!($method), given, remedy));
                }
                let joined = |t: &Tensor| {
                    t.reshape([&[t.shape()[0] * t.shape()[1]], &t.shape()[2..]].concat())
                };
                let mut options = self.options;
                options.groups *= examples;
                let bias = bias.map(joined).transpose()?;
                let y = joined(x)?.unsqueeze(0)?.$method(&joined(weight)?, bias.as_ref(), options)?;
                y.reshape([&[examples, weight.shape()[1]], &y.shape()[2..]].concat())
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
                $name::forward(self, x)
            }
        }
    )*};
}
convolutions! {
    /// A convolution (cross-correlation) over lines, with a bias for each output channel.
    ///
    /// x `[N, in, L]` → y `[N, out, L′]`; see [`Tensor::conv1d`].
    Conv1d 1 Conv1dOptions conv1d;
    /// A convolution (cross-correlation) over images, with a bias for each output channel.
    ///
    /// x `[N, in, H, W]` → y `[N, out, H′, W′]`; see [`Tensor::conv2d`].
    Conv2d 2 Conv2dOptions conv2d;
    /// A convolution (cross-correlation) over volumes, with a bias for each output channel.
    ///
    /// x `[N, in, D, H, W]` → y `[N, out, D′, H′, W′]`; see [`Tensor::conv3d`].
    Conv3d 3 Conv3dOptions conv3d;
}

macro_rules! transposed {
    ($($(#[$doc:meta])* $name:ident $axes:literal $options:ident $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// The kernels, `[in, out / groups, ..]`.
            pub weight: Parameter,
            /// One number for each output channel.
            pub bias: Option<Parameter>,
            /// Stride, padding, dilation and groups of the convolution that is transposed.
            pub options: $options,
            /// Which of the extents that the convolution makes those of x of is meant: below the stride.
            pub output_padding: [usize; $axes],
        }

        impl $name {
            /// From `inputs` to `outputs` channels, started as PyTorch does, without output padding.
            ///
            /// Errors: [`Error::Argument`] if the groups do not divide the channels.
            pub fn new(
                params: &Params,
                inputs: usize,
                outputs: usize,
                kernel: [usize; $axes],
                options: $options,
            ) -> Result<Self> {
                Self::with(params, inputs, outputs, kernel, options, [0; $axes], LayerInit::default())
            }

            /// From `inputs` to `outputs` channels, with output padding, started as `init` says.
            pub fn with(
                params: &Params,
                inputs: usize,
                outputs: usize,
                kernel: [usize; $axes],
                options: $options,
                output_padding: [usize; $axes],
                init: LayerInit,
            ) -> Result<Self> {
                check_groups(stringify!($method), options.groups, inputs, outputs)?;
                let shape = [&[inputs, outputs / options.groups][..], &kernel].concat();
                let (weight, bias) = init.define(params, &shape, outputs)?;
                Ok(Self { weight, bias, options, output_padding })
            }

            /// The transposed convolution of x with the kernels, plus the bias. For x of f16 the parameters
            /// are rounded to f16.
            pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
                let bias = self.bias.as_ref().map(|bias| bias.for_input(x)).transpose()?;
                x.$method(&self.weight.for_input(x)?, bias.as_ref(), self.options, self.output_padding)
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor, _: Mode) -> Result<Tensor> {
                $name::forward(self, x)
            }
        }
    )*};
}
transposed! {
    /// A transposed convolution over lines, with a bias for each output channel.
    ///
    /// x `[N, in, L]` → y `[N, out, L′]`; see [`Tensor::conv_transpose1d`].
    ConvTranspose1d 1 Conv1dOptions conv_transpose1d;
    /// A transposed convolution over images, with a bias for each output channel.
    ///
    /// x `[N, in, H, W]` → y `[N, out, H′, W′]`; see [`Tensor::conv_transpose2d`].
    ConvTranspose2d 2 Conv2dOptions conv_transpose2d;
    /// A transposed convolution over volumes, with a bias for each output channel.
    ///
    /// x `[N, in, D, H, W]` → y `[N, out, D′, H′, W′]`; see [`Tensor::conv_transpose3d`].
    ConvTranspose3d 3 Conv3dOptions conv_transpose3d;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    #[test]
    fn a_transposed_layer_undoes_the_extents_of_a_layer() {
        let params = Params::new(&Device::cpu(), 3);
        let options = Conv2dOptions::default().stride([2, 3]).padding([1, 0]).groups(2);
        let down = Conv2d::new(&params.at("down"), 4, 6, [3, 4], options).unwrap();
        let up = ConvTranspose2d::with(&params.at("up"), 6, 4, [3, 4], options, [1, 2], LayerInit::default())
            .unwrap();
        let x = Tensor::ones(&Device::cpu(), [2, 4, 8, 12]).unwrap();
        let y = down.forward(&x).unwrap();
        assert_eq!(**up.forward(&y).unwrap().shape(), [2, 4, 8, 12]);
        assert_eq!(**up.weight.get().shape(), [6, 2, 3, 4]);
        assert_eq!(up.bias.unwrap().get().count(), 4);
    }

    #[test]
    fn lines_and_volumes_have_layers() {
        let (device, params) = (Device::cpu(), Params::new(&Device::cpu(), 3));
        let line = Conv1d::new(&params.at("line"), 2, 3, [3], Conv1dOptions::default()).unwrap();
        let x = Tensor::ones(&device, [1, 2, 5]).unwrap();
        assert_eq!(**line.forward(&x).unwrap().shape(), [1, 3, 3]);
        let volume = Conv3d::new(&params.at("volume"), 2, 3, [2, 2, 2], Conv3dOptions::default()).unwrap();
        let x = Tensor::ones(&device, [1, 2, 3, 4, 5]).unwrap();
        assert_eq!(**volume.forward(&x).unwrap().shape(), [1, 3, 2, 3, 4]);
        let bad = Conv3d::new(&params.at("bad"), 3, 4, [1; 3], Conv3dOptions::default().groups(2));
        assert!(matches!(bad, Err(Error::Argument { .. })));
    }
}
