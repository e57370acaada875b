//! Chapter 8: convolutional networks.

mod claims;
mod figures;
mod network;
mod real;

use super::lab::{Entry, Ingredient, Lab, Step};
use super::report::{Chapter, Theorem};

/// The chapter.
pub(super) const CHAPTER: Entry = Entry {
    name: "convolution",
    words,
    steps: &[
        Step { id: "C8.1", weight: 1, run: claims::convolution_theorem },
        Step { id: "C8.2", weight: 3, run: claims::circulant },
        Step { id: "C8.3", weight: 1, run: claims::equivariance },
        Step { id: "C8.4", weight: 1, run: claims::trilinear },
        Step { id: "C8.6", weight: 1, run: claims::receptive_field },
        Step { id: "C8.7", weight: 1, run: claims::pooling },
        Step { id: "R8", weight: 40, run: real::clothes },
    ],
    ingredients: &[Ingredient { name: "flip", claim: "C8.1" }],
};

fn words(_lab: &Lab) -> Chapter {
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
    chapter.method(
        "Every number was computed by the engine's own kernels through its public API, in f32 on the \
             device named above, from the seed. Where a claim is an identity the other side was computed in \
             f64 on the CPU reference.",
    );
    chapter
}
