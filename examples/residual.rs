//! Fifty layers with and without skips: what is left of the gradient, and a ResNet that learns.

use gradus::data::{Batches, digits};
use gradus::models::{ResNet, ResNetOptions};
use gradus::nn::{Init, LayerInit, Linear, Mode, Module, Params, Residual, Sequential};
use gradus::optim::{Adam, Optimizer};
use gradus::{Device, Result, Tensor};

/// Fifty layers of 64, each replaced or added to.
fn tower(params: &Params, residual: bool) -> Result<Sequential> {
    let init = LayerInit { weight: Init::torch_weight(), ..LayerInit::default() };
    (0..50).try_fold(Sequential::new(), |model, layer| {
        let branch = Sequential::new().add(Linear::with(&params.at(layer), 64, 64, init)?).add(Tensor::relu);
        Ok(if residual {
            model.add(Residual::new(branch).scaled(50f64.powf(-0.5)))
        } else {
            model.add(branch)
        })
    })
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    for (name, residual) in [("plain", false), ("residual", true)] {
        let model = tower(&Params::new(&device, 1), residual)?;
        let x = Tensor::ones(&device, [1, 64])?.contiguous()?.variable()?;
        let y = model.forward(&x, Mode::Train)?.sum(&[], false)?;
        let size = y.backward()?.get(&x)?.square()?.sum(&[], false)?.item()?.sqrt();
        println!("{name}: gradient at the first of 50 layers {size:.2e}");
    }

    let params = Params::new(&device, 2);
    let resnet =
        ResNet::new(&params, 20, ResNetOptions { channels: 1, width: 8, ..ResNetOptions::default() })?;
    println!("ResNet-20 of width 8: {} parameters", params.count());
    let digits = digits()?;
    let mut adam = Adam::new(&params, 3e-3)?;
    for (step, indices) in Batches::new(digits.len(), 50, 2)?.epoch(0).enumerate() {
        let batch = digits.gather(&indices)?;
        let images = Tensor::from_slice(&device, &batch.images, batch.shape())?;
        let labels = Tensor::from_slice(&device, &batch.labels, [batch.labels.len()])?;
        let loss = resnet.forward(&images, Mode::Train)?.cross_entropy(&labels)?;
        adam.step(&loss.backward()?)?;
        if step % 7 == 0 {
            println!("step {step:2}: loss {:.3}", loss.item()?);
        }
    }
    Ok(())
}
