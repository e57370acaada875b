//! What a convolution is, measured: it commutes with shifts on the torus and not with a stride in the way, its
//! gradients are the same trilinear form, and a stack of them looks mostly at the middle.

use gradus::ops::{Conv2dOptions, Stream};
use gradus::{Device, Result, Tensor};

const SIDE: usize = 32;

/// The image continued by one pixel on each side as on a torus.
fn wrapped(x: &Tensor) -> Result<Tensor> {
    [2isize, 3].into_iter().try_fold(x.clone(), |x, axis| {
        let n = x.shape()[axis as usize];
        Tensor::concat(&[&x.slice(axis, n - 1, n)?, &x, &x.slice(axis, 0, 1)?], axis)
    })
}

fn largest(x: &Tensor) -> Result<f64> {
    x.abs()?.max(&[], false)?.item()
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    let x = Tensor::normal(&device, [1, 1, SIDE, SIDE], Stream::new(7, 0))?;
    let w = Tensor::normal(&device, [4, 1, 3, 3], Stream::new(7, 1))?;
    let conv = |x: &Tensor, stride: usize| {
        wrapped(x)?.conv2d(&w, None, Conv2dOptions::default().stride([stride; 2]))?.relu()
    };
    let apart = largest(&conv(&x.roll(5, 3)?, 1)?.sub(&conv(&x, 1)?.roll(5, 3)?)?)?;
    println!("shift by 5, then convolve, or the other way round: {apart} apart");
    for (by, expected) in [(4, 2), (1, 0)] {
        let apart = largest(&conv(&x.roll(by, 3)?, 2)?.sub(&conv(&x, 2)?.roll(expected, 3)?)?)?;
        println!("with stride 2, shift by {by}: {apart:.3} apart");
    }

    // ⟨w ∗ x, u⟩ = ⟨x, ∂x⟩ = ⟨w, ∂w⟩
    let (xv, wv) = (x.variable()?, w.variable()?);
    let y = xv.conv2d(&wv, None, Conv2dOptions::default())?;
    let u = Tensor::normal(&device, *y.shape(), Stream::new(7, 2))?;
    let gradients = y.pull_back(&u, &[&xv, &wv])?;
    for (name, a, b) in [("y, u", &y, &u), ("x, dx", &xv, &gradients[0]), ("w, dw", &wv, &gradients[1])] {
        println!("⟨{name}⟩ = {:.3}", a.mul(b)?.sum(&[], false)?.item()?);
    }

    // The gradient of the centre through L averaging layers: variance L(k² − 1)/12 along an axis.
    let mean = Tensor::full(&device, w.dtype(), [1, 1, 3, 3], 1.0 / 9.0)?;
    for layers in [2usize, 8] {
        let image = x.detach().variable()?;
        let same = Conv2dOptions::default().padding([1, 1]);
        let top = (0..layers).try_fold(image.clone(), |x, _| x.conv2d(&mean, None, same))?;
        let centre = top.slice(2, SIDE / 2, SIDE / 2 + 1)?.slice(3, SIDE / 2, SIDE / 2 + 1)?;
        let field = centre.sum(&[], false)?.backward()?.get(&image)?.sum(&[0, 1, 2], false)?.to_f64()?;
        let spread = field.iter().enumerate().map(|(j, f)| f * (j as f64 - SIDE as f64 / 2.0).powi(2));
        println!(
            "{layers} layers: variance {:.4}, predicted {:.4}",
            spread.sum::<f64>(),
            layers as f64 * 8.0 / 12.0
        );
    }
    Ok(())
}
