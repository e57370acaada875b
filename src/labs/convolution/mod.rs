//! Chapter 8: convolutional networks.

mod claims;
mod figures;
mod network;
mod real;

use super::report::{Chapter, Cost, Theorem};
use super::{Options, Progress};
use crate::device::Device;
use crate::error::Result;

/// Runs the chapter.
pub(super) fn run(device: &Device, options: &Options, progress: Progress) -> Result<Chapter> {
    let start = std::time::Instant::now();
    let launched = || device.as_gpu().map_or(0, |gpu| gpu.dispatches());
    let before = launched();
    let mut chapter = Chapter::new("convolution", "Convolutional networks");
    chapter
        .idea(
            "A convolution looks at every place of an image with the same small window. That one decision, \
             *sharing weights across places*, is a theorem about symmetry: a linear map commutes with all \
             translations exactly when it is a convolution. Everything below follows from it.",
        )
        .theorem(
            Theorem::new(
                "Convolution theorem",
                "On a torus, convolution is multiplication of Fourier coefficients. It is therefore a doubly \
                 block-circulant matrix, and its singular values are those of one small matrix for each frequency.",
            )
            .formula(r"\mathrm{F}(w * x)(\omega) = \mathrm{F}w(\omega) \mathrm{F}x(\omega)")
            .source("classical; Sedghi, Gupta and Long 2019"),
        )
        .theorem(
            Theorem::new(
                "Equivariance",
                "Moving the input moves the output: with $T_v$ the shift by $v$, a stack of convolutions and \
                 pointwise functions commutes with it. Zero padding breaks this near the border, a stride \
                 breaks it for shifts that the stride does not divide.",
            )
            .formula(r"f(T_v x) = T_v f(x)")
            .source("Cohen and Welling 2016; Azulay and Weiss 2019"),
        )
        .theorem(
            Theorem::new(
                "One trilinear form",
                "The forward product and its two gradients are three ways to contract the same form, so each is \
                 the gradient of the other two and the family is closed under differentiation.",
            )
            .formula(r"\langle w * x, u \rangle = \langle x, \partial_x (u, w) \rangle = \langle w, \partial_w (x, u) \rangle")
            .source("Dumoulin and Visin 2016"),
        )
        .theorem(
            Theorem::new(
                "Effective receptive field",
                "A deep stack sees far, but it looks mostly at the middle: the support of the gradient grows \
                 like $L$, its spread only like $\\sqrt{L}$.",
            )
            .formula(r"\sigma^2 = \frac{L (k^2 - 1)}{12}")
            .source("Luo et al. 2016"),
        );
    claims::add(&mut chapter, device, options, progress)?;
    let flop = real::add(&mut chapter, device, options, progress)?;
    chapter
        .method(
            "Every number was computed by the engine's own kernels through its public API, in f32 on the \
             device named above, from the seed. Where a claim is an identity the other side was computed in \
             f64 on the CPU reference.",
        )
        .cost(Cost {
            seconds: start.elapsed().as_secs_f64(),
            flop,
            dispatches: launched() - before,
            device: device.to_string(),
        });
    Ok(chapter)
}
