//! The neural tangent kernel: of a network as it stands, and of its limit at infinite width.
//!
//! The kernel of a network f with parameters θ is Θ(x, x′) = ∂f(x)/∂θ · ∂f(x′)/∂θᵀ. To first order it is all that
//! gradient descent sees: the outputs on the training set move by −ηΘ times the gradient of the loss. As the
//! layers of a network grow wide, Θ tends to a kernel that is known in closed form and stays where it is (Jacot,
//! Gabriel and Hongler 2018, arXiv:1806.07572).
//!
//! * [`empirical_ntk`] is the kernel of any model, in one of three ways ([`NtkMethod`]), each with its price.
//! * [`FullyConnected`] and [`Convolutional`] are the limits, and make finite networks that tend to them.
//! * [`KernelRegression`] predicts with a kernel, by Cholesky; [`Linearised`] is a model's tangent, which trains
//!   like any module.
//!
//! ```
//! use gradus::nn::{Mode, Module, Params};
//! use gradus::ntk::{FullyConnected, NtkMethod, empirical_ntk};
//! use gradus::{Device, Tensor};
//! # fn main() -> gradus::Result<()> {
//! let device = Device::cpu();
//! let x = Tensor::from_slice(&device, &[1.0f32, 0.0, 0.6, 0.8], [2, 2])?;
//! let limit = FullyConnected::relu(1);
//! let params = Params::new(&device, 7);
//! let network = limit.network(&params, 2, 4096, 1)?;
//! let model = |x: &Tensor| network.forward(x, Mode::Eval);
//! let kernel = empirical_ntk(&params, model, &x, None, NtkMethod::Layers)?;
//! let expected = limit.kernels(&x, &x)?.ntk;
//! let apart = kernel.reshape([2, 2])?.sub(&expected)?.abs()?.max(&[], false)?.item()?;
//! assert!(apart < 0.3, "{apart}");
//! # Ok(())
//! # }
//! ```

mod convolutional;
mod empirical;
mod fully_connected;
mod linearised;
mod regression;
#[cfg(test)]
mod tests;

pub use convolutional::{Convolutional, Readout};
pub use empirical::{NtkMethod, empirical_ntk};
pub use fully_connected::{FullyConnected, Kernels, Phi};
pub use linearised::Linearised;
pub use regression::KernelRegression;
