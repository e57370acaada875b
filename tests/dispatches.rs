//! What a training step of each network costs in launches. A change that adds some shows here, and so does one
//! that saves some: then lower the numbers.

mod common;

use gradus::gpu::{GpuOptions, Kernels};
use gradus::models::{
    Forecaster, ForecasterOptions, Gpt, GptOptions, RecurrentKind, RecurrentLanguageModel,
    RecurrentModelOptions, ResNet, ResNetOptions,
};
use gradus::nn::{BatchNorm, Conv2d, Linear, Mode, Module, Params, Sequential};
use gradus::ops::{Conv2dOptions, Pool2d};
use gradus::optim::{AdamW, Optimizer, Sgd};
use gradus::{Device, Result, Tensor};

/// Network; tensors of parameters; launches of the forward pass and the loss, of the backward pass, and of a step
/// of SGD with momentum or AdamW.
const TABLE: [(&str, [u64; 5]); 7] = [
    ("mlp, one hidden layer", [4, 5, 8, 3, 3]),
    ("convolutions of the chapter", [14, 20, 24, 2, 2]),
    ("ResNet-20", [59, 110, 120, 7, 7]),
    ("Gpt, two layers", [29, 39, 139, 8, 8]),
    ("language model, LSTM of 8 steps", [7, 19, 28, 4, 4]),
    ("language model, GRU of 8 steps", [7, 19, 30, 4, 4]),
    ("forecaster, LSTM of 8 steps", [6, 18, 25, 2, 2]),
];

type Loss = Box<dyn Fn() -> Result<Tensor>>;

fn image(device: &Device, shape: [usize; 4]) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| (i * 7 % 13) as f32 / 6.0 - 1.0).collect();
    Tensor::from_slice(device, &data, shape)
}

fn integers(device: &Device, shape: &[usize], below: i32) -> Result<Tensor> {
    let data: Vec<i32> = (0..shape.iter().product::<usize>() as i32).map(|i| i * 5 % below).collect();
    Tensor::from_slice(device, &data, shape)
}

fn classifier(model: impl Module + 'static, x: Tensor) -> Result<Loss> {
    let labels = integers(x.device(), &x.shape()[..1], 10)?;
    Ok(Box::new(move || model.forward(&x, Mode::Train)?.cross_entropy(&labels)))
}

fn network(name: &str, params: &Params) -> Result<Loss> {
    let device = params.device();
    let at = |name: &str| params.at(name);
    match name {
        "mlp, one hidden layer" => classifier(
            Sequential::new()
                .then(|x| x.flatten(1))
                .add(Linear::new(&at("hidden"), 784, 32)?)
                .add(Tensor::relu)
                .add(Linear::new(&at("output"), 32, 10)?),
            image(device, [4, 1, 28, 28])?,
        ),
        "convolutions of the chapter" => {
            let first = Conv2dOptions::default().stride([2, 2]).padding([2, 2]);
            let same = Conv2dOptions::default().padding([1, 1]);
            let pool = |x: &Tensor| x.max_pool2d(Pool2d::new([2, 2]));
            let model = Sequential::new()
                .add(Conv2d::new(&at("conv1"), 1, 8, [5, 5], first)?)
                .add(BatchNorm::new(&at("norm1"), 8)?)
                .add(Tensor::relu)
                .add(Conv2d::new(&at("conv2"), 8, 16, [3, 3], same)?)
                .add(BatchNorm::new(&at("norm2"), 16)?)
                .add(Tensor::relu)
                .then(pool)
                .add(Conv2d::new(&at("conv3"), 16, 32, [3, 3], same)?)
                .add(BatchNorm::new(&at("norm3"), 32)?)
                .add(Tensor::relu)
                .then(pool)
                .then(|x| x.flatten(1))
                .add(Linear::new(&at("readout"), 288, 10)?);
            classifier(model, image(device, [4, 1, 28, 28])?)
        }
        "ResNet-20" => {
            classifier(ResNet::new(params, 20, ResNetOptions::default())?, image(device, [2, 3, 32, 32])?)
        }
        "Gpt, two layers" => {
            let model = Gpt::new(params, GptOptions::new(20, 16, 2, 32, 4))?;
            let (tokens, next) = (integers(device, &[2, 16], 19)?, integers(device, &[2, 16], 17)?);
            Ok(Box::new(move || model.loss(&tokens, &next, Mode::Train)))
        }
        "language model, LSTM of 8 steps" | "language model, GRU of 8 steps" => {
            let kind = if name.contains("LSTM") { RecurrentKind::Lstm } else { RecurrentKind::Gru };
            let options = RecurrentModelOptions::new(20, kind, 16, 32);
            let model = RecurrentLanguageModel::new(params, options)?;
            let (tokens, next) = (integers(device, &[2, 8], 19)?, integers(device, &[2, 8], 17)?);
            Ok(Box::new(move || model.loss(&tokens, &next, Mode::Train)))
        }
        "forecaster, LSTM of 8 steps" => {
            let model = Forecaster::new(params, ForecasterOptions::new(RecurrentKind::Lstm, 16))?;
            let windows = image(device, [1, 4, 8, 1])?.reshape([4, 8, 1])?;
            Ok(Box::new(move || model.forward(&windows, Mode::Train)?.square()?.mean(&[], false)))
        }
        _ => unreachable!("{name} is in the table and is no network"),
    }
}

/// The numbers of the table, of a second step: the first makes the optimiser's state.
fn cost(device: &Device, name: &str) -> Result<[u64; 5]> {
    let gpu = device.as_gpu().unwrap();
    let params = Params::new(device, 1);
    let loss = network(name, &params)?;
    let mut optimizers: [Box<dyn Optimizer>; 2] =
        [Box::new(Sgd::new(&params, 0.1)?.momentum(0.9)?), Box::new(AdamW::new(&params, 0.1)?)];
    let mut counts = [params.trainable().len() as u64, 0, 0, 0, 0];
    for _ in 0..2 {
        for (k, optimizer) in optimizers.iter_mut().enumerate() {
            let mut last = gpu.dispatches();
            let mut since = || {
                let now = gpu.dispatches();
                now - std::mem::replace(&mut last, now)
            };
            let loss = loss()?;
            loss.finish()?;
            counts[1] = since();
            let gradients = loss.backward()?;
            params.trainable().iter().try_for_each(|p| gradients.get(&p.get())?.finish())?;
            counts[2] = since();
            optimizer.step(&gradients)?;
            counts[3 + k] = since();
        }
    }
    Ok(counts)
}

#[test]
fn a_step_of_each_network_costs_what_it_did() {
    // What WebGPU promises, so that every adapter gives the same numbers.
    let options = GpuOptions { portable: true, kernels: Some(Kernels::Software), ..GpuOptions::default() };
    let device = Device::select_with(&common::adapter(), options).unwrap();
    let mut wrong = String::new();
    for (name, expected) in TABLE {
        let found = cost(&device, name).unwrap();
        println!("{name:40} {found:?}");
        if found != expected {
            wrong += &format!("\n{name}: {found:?}, not {expected:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Launches of a computation whose operands are there.
fn launches(device: &Device, run: impl Fn(&[Tensor]) -> Result<Tensor>) -> u64 {
    let tensors: Vec<Tensor> = [[8, 12], [12, 8], [8, 8]]
        .map(|shape| {
            let data: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i % 7) as f32 - 3.0).collect();
            Tensor::from_slice(device, &data, shape).unwrap()
        })
        .into();
    let before = device.as_gpu().unwrap().dispatches();
    run(&tensors).unwrap().finish().unwrap();
    device.as_gpu().unwrap().dispatches() - before
}

#[test]
fn pointwise_work_goes_into_its_neighbours() {
    let open = |kernels| {
        let options = GpuOptions { kernels: Some(kernels), ..GpuOptions::default() };
        Device::select_with(&common::adapter(), options).unwrap()
    };
    let (software, hardware) = (open(Kernels::Software), open(Kernels::Hardware));
    for device in [&software, &hardware] {
        // A chain before a sum, which nobody else asks for.
        assert_eq!(launches(device, |x| x[0].square()?.mul_scalar(2.0)?.sum(&[1], false)), 1);
        assert_eq!(
            launches(device, |x| x[0].mul(&x[1].t()?)?.sum(&[1], false)),
            2,
            "a view that does not go in"
        );
    }
    // A chain behind a product, with another operand; on a CPU, where compiling costs more than launching, two.
    let behind = |x: &[Tensor]| x[0].matmul(&x[1])?.add(&x[2])?.relu();
    assert_eq!([&software, &hardware].map(|device| launches(device, behind)), [2, 1]);
    let twice = |x: &[Tensor]| {
        let product = x[0].matmul(&x[1])?;
        product.relu()?.mul(&product)
    };
    assert_eq!(launches(&hardware, twice), 2, "a product that is needed itself");
    let image = |x: &[Tensor]| {
        let image = x[0].reshape([1, 4, 4, 6])?;
        image.conv2d(&x[1].slice(0, 0, 6)?.reshape([3, 4, 2, 2])?, None, Default::default())?.relu()
    };
    assert_eq!(launches(&hardware, image), 1);
}

#[test]
fn a_walk_to_one_input_does_nothing_for_the_others() {
    let device = Device::select_with(&common::adapter(), GpuOptions::default()).unwrap();
    let data: Vec<f32> = (0..64).map(|i| (i % 7) as f32 - 3.0).collect();
    let variable = || Tensor::from_slice(&device, &data, [8, 8]).unwrap().variable().unwrap();
    let (a, b, c) = (variable(), variable(), variable());
    let y = a.matmul(&b).unwrap().matmul(&c).unwrap();
    let dy = y.detach();
    let cost = |inputs: &[&Tensor]| {
        let before = device.as_gpu().unwrap().dispatches();
        y.pull_back(&dy, inputs).unwrap().iter().for_each(|dx| dx.finish().unwrap());
        device.as_gpu().unwrap().dispatches() - before
    };
    y.finish().unwrap();
    // One product for c; one back to the first product and one more for each of its operands.
    assert_eq!([&[&c][..], &[&b], &[&a], &[&a, &b, &c]].map(cost), [1, 2, 2, 4]);
}
