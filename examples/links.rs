//! Gradient descent at the edge of stability: how curved the loss is, and how curved the step allows.

use gradus::autodiff::hvp;
use gradus::nn::{Linear, Mode, Module, Params, Sequential};
use gradus::ops::{Stream, lanczos};
use gradus::optim::{Optimizer, Sgd};
use gradus::{Device, Result, Tensor};

fn main() -> Result<()> {
    const RATE: f64 = 0.5;
    let device = Device::auto()?;
    let random = |stream, shape: [usize; 2]| Tensor::normal(&device, shape, Stream { seed: 3, stream });
    let x = random(0, [64, 16])?;
    let y = x.matmul(&random(1, [16, 4])?)?.sin()?.contiguous()?;

    let params = Params::new(&device, 3);
    let model = Sequential::new()
        .add(Linear::new(&params.at("hidden"), 16, 48)?)
        .add(Tensor::tanh)
        .add(Linear::new(&params.at("readout"), 48, 4)?);
    let loss = || {
        model.forward(&x, Mode::Train)?.sub(&y)?.square()?.sum(&[1], false)?.mean(&[], false)?.mul_scalar(0.5)
    };

    // The Hessian is known by what it does to a vector; Lanczos finds its largest eigenvalue.
    let sharpness = |start: &Tensor| -> Result<f64> {
        let now: Vec<Tensor> = params.trainable().iter().map(|p| p.get().detach()).collect();
        let counts: Vec<usize> = now.iter().map(Tensor::count).collect();
        let product = |v: &Tensor| -> Result<Tensor> {
            let parts = v.split(&counts, 0)?;
            let along: Result<Vec<Tensor>> =
                parts.iter().zip(&now).map(|(v, p)| v.reshape(p.shape())).collect();
            let (at, along) = (now.iter().collect::<Vec<_>>(), along?);
            let hv = hvp(|w| params.with(w, loss), &at, &along.iter().collect::<Vec<_>>())?;
            let flat: Result<Vec<Tensor>> = hv.iter().map(|t| t.detach().flatten(0)).collect();
            Tensor::concat(&flat?.iter().collect::<Vec<_>>(), 0)
        };
        Ok(lanczos(product, start, 12)?.values.last().copied().unwrap_or(f64::NAN))
    };

    let start = Tensor::normal(&device, [params.count()], Stream { seed: 3, stream: 2 })?;
    let mut sgd = Sgd::new(&params, RATE)?;
    for step in 0..=600 {
        let now = loss()?;
        if step % 75 == 0 {
            println!("step {step:3}: loss {:.4}, ηλ/2 = {:.3}", now.item()?, 0.5 * RATE * sharpness(&start)?);
        }
        sgd.step(&now.backward()?)?;
    }
    Ok(())
}
