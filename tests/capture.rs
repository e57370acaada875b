//! A recorded function replayed: the bits of calling it again, and errors for what cannot be replayed.

mod common;

use gradus::nn::{BatchNorm, Conv2d, Dropout, Linear, Mode, Module, Params, Sequential};
use gradus::ops::{Conv2dOptions, Stream};
use gradus::optim::{AdamW, Ema, Lion, Optimizer, RmsProp, Sgd, clip_grad_norm};
use gradus::{Capture, Device, Error, Result, Tensor};

fn mlp(params: &Params) -> Result<Sequential> {
    Ok(Sequential::new().add(Linear::new(&params.at("hidden"), 6, 16)?).add(Tensor::tanh).add(Linear::new(
        &params.at("output"),
        16,
        3,
    )?))
}

fn batch(device: &Device, step: i32, shape: &[usize]) -> Result<[Tensor; 2]> {
    let count = shape.iter().product::<usize>() as i32;
    let x: Vec<f32> = (0..count).map(|i| ((i * 7 + step * 5) % 13) as f32 / 6.0 - 1.0).collect();
    // Not every batch has all labels.
    let labels: Vec<i32> = (0..shape[0] as i32).map(|i| (i + step) % (1 + step % 3)).collect();
    Ok([Tensor::from_slice(device, &x, shape)?, Tensor::from_slice(device, &labels, [labels.len()])?])
}

type Step<'a> = Box<dyn FnMut(&[Tensor]) -> Result<Vec<Tensor>> + 'a>;

/// All that eight steps leave behind, captured or not: losses and parameters, as bits.
fn eight(
    captured: bool,
    shape: &[usize],
    make: impl Fn(&Params) -> Result<Step<'static>>,
) -> Result<(Vec<u32>, usize)> {
    let device = common::gpu();
    let params = Params::new(&device, 3);
    let mut step = make(&params)?;
    let mut capture = Capture::new(&device);
    let mut bits = Vec::new();
    for number in 0..8 {
        let [x, labels] = batch(&device, number, shape)?;
        let results = match captured {
            true => capture.run(&[&x, &labels], &mut step)?,
            false => step(&[x, labels])?,
        };
        bits.push(results[0].to_vec::<f32>()?[0].to_bits());
    }
    for parameter in params.all() {
        bits.extend(parameter.get().to_vec::<f32>()?.into_iter().map(f32::to_bits));
    }
    Ok((bits, capture.recordings()))
}

fn same_bits(shape: &[usize], make: impl Fn(&Params) -> Result<Step<'static>>) {
    let (plain, _) = eight(false, shape, &make).unwrap();
    let (replayed, recordings) = eight(true, shape, &make).unwrap();
    assert_eq!(recordings, 1);
    assert!(plain[0] != plain[7], "the loss does not move");
    assert_eq!(plain, replayed);
}

fn train(model: Sequential, mut optimizer: impl Optimizer + 'static) -> Step<'static> {
    Box::new(move |inputs| {
        let loss = model.forward(&inputs[0], Mode::Train)?.cross_entropy(&inputs[1])?;
        optimizer.step(&loss.backward()?)?;
        Ok(vec![loss])
    })
}

#[test]
fn steps_of_sgd_have_the_same_bits() {
    same_bits(&[5, 6], |params| Ok(train(mlp(params)?, Sgd::new(params, 0.1)?)));
    same_bits(&[5, 6], |params| Ok(train(mlp(params)?, Sgd::new(params, 0.1)?.momentum(0.9)?)));
}

#[test]
fn steps_of_adamw_have_the_same_bits() {
    same_bits(&[5, 6], |params| Ok(train(mlp(params)?, AdamW::new(params, 0.01)?)));
}

#[test]
fn optimisers_made_of_formulas_have_the_same_bits() {
    same_bits(&[5, 6], |params| Ok(train(mlp(params)?, RmsProp::new(params, 0.01)?.momentum(0.5)?)));
    same_bits(&[5, 6], |params| Ok(train(mlp(params)?, Lion::new(params, 0.01)?)));
}

#[test]
fn clipping_a_schedule_and_averages_go_on() {
    same_bits(&[5, 6], |params| {
        let (model, mut adam, ema) = (mlp(params)?, AdamW::new(params, 0.01)?, Ema::new(params, 0.9)?);
        Ok(Box::new(move |inputs| {
            let loss = model.forward(&inputs[0], Mode::Train)?.cross_entropy(&inputs[1])?;
            adam.step(&clip_grad_norm(loss.backward()?, 0.1)?.0)?;
            ema.update()?;
            Ok(vec![loss])
        }))
    });
    // What is set between replays counts in the next.
    let run = |captured: bool| -> Result<Vec<f32>> {
        let device = common::gpu();
        let params = Params::new(&device, 3);
        let (model, mut adam) = (mlp(&params)?, AdamW::new(&params, 0.01)?);
        let mut capture = Capture::new(&device);
        let mut losses = Vec::new();
        for step in 0..6 {
            adam.set_lr(0.1 / f64::from(step + 1))?;
            if step == 3 {
                let first = &params.trainable()[0];
                first.set(&first.get().mul_scalar(0.5)?)?;
            }
            let [x, labels] = batch(&device, step, &[4, 6])?;
            let mut body = |inputs: &[Tensor]| {
                let loss = model.forward(&inputs[0], Mode::Train)?.cross_entropy(&inputs[1])?;
                adam.step(&loss.backward()?)?;
                Ok(vec![loss])
            };
            let results = if captured { capture.run(&[&x, &labels], body)? } else { body(&[x, labels])? };
            losses.extend(results[0].to_vec::<f32>()?);
        }
        Ok(losses)
    };
    assert_eq!(run(true).unwrap(), run(false).unwrap());
}

#[test]
fn running_statistics_of_batch_norm_advance() {
    same_bits(&[4, 2, 6, 6], |params| {
        let model = Sequential::new()
            .add(Conv2d::new(&params.at("conv"), 2, 4, [3, 3], Conv2dOptions::default())?)
            .add(BatchNorm::new(&params.at("norm"), 4)?)
            .add(Tensor::relu)
            .then(|x| x.flatten(1))
            .add(Linear::new(&params.at("output"), 64, 3)?);
        Ok(train(model, AdamW::new(params, 0.01)?))
    });
}

#[test]
fn results_do_not_change_when_the_next_come() {
    let device = common::gpu();
    let mut double = Capture::new(&device);
    let twice = |inputs: &[Tensor]| Ok(vec![inputs[0].mul_scalar(2.0)?, inputs[0].clone()]);
    let mut all = Vec::new();
    for k in 0..4 {
        let x = Tensor::from_slice(&device, &[k as f32; 3], [3]).unwrap();
        all.push(double.run(&[&x], twice).unwrap());
    }
    for (k, results) in all.iter().enumerate() {
        assert_eq!(results[0].to_vec::<f32>().unwrap(), [2.0 * k as f32; 3]);
        assert_eq!(results[1].to_vec::<f32>().unwrap(), [k as f32; 3]);
    }
    assert_eq!(double.recordings(), 1);
    let x = Tensor::ones(&device, [2, 2]).unwrap();
    assert_eq!(double.run(&[&x], twice).unwrap()[0].to_vec::<f32>().unwrap(), [2.0; 4]);
    assert_eq!(double.recordings(), 2);
}

#[test]
fn an_input_given_twice_and_a_value_from_before_stay_apart() {
    let device = common::gpu();
    let params = Params::new(&device, 3);
    let p = params.parameter("p", [2], gradus::nn::Init::Constant(1.0)).unwrap();
    let start = p.get().detach();
    let mut capture = Capture::new(&device);
    let mut run = |a: f32, b: f32| {
        let [a, b] = [a, b].map(|v| Tensor::from_slice(&device, &[v; 2], [2]).unwrap());
        let b = if a.to_vec::<f32>().unwrap() == b.to_vec::<f32>().unwrap() { a.clone() } else { b };
        let sum = |x: &[Tensor]| Ok(vec![x[0].sub(&x[1])?.add(&p.get())?.sub(&start)?]);
        let y = capture.run(&[&a, &b], sum).unwrap()[0].to_vec::<f32>().unwrap()[0];
        p.set(&p.get().add_scalar(10.0).unwrap()).unwrap();
        y
    };
    // a − b + (the parameter as it is) − (as it was).
    assert_eq!([run(1.0, 1.0), run(5.0, 2.0), run(2.0, 5.0)], [0.0, 13.0, 17.0]);
}

#[test]
fn labels_beyond_the_classes_are_an_error_in_a_replay_too() {
    let device = common::gpu();
    let mut capture = Capture::new(&device);
    let logits = Tensor::ones(&device, [2, 3]).unwrap();
    let mut run = |labels: [i32; 2]| {
        let labels = Tensor::from_slice(&device, &labels, [2])?;
        capture.run(&[&logits, &labels], |x| Ok(vec![x[0].cross_entropy(&x[1])?]))
    };
    run([0, 1]).unwrap();
    run([1, 2]).unwrap();
    assert!(matches!(run([1, 3]), Err(Error::Index { .. })));
    run([2, 2]).unwrap();
    assert_eq!(capture.recordings(), 1);
}

#[test]
fn what_cannot_be_replayed_is_an_error() {
    let device = common::gpu();
    let x = Tensor::ones(&device, [4]).unwrap();
    let fails = |work: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let mut capture = Capture::new(&device);
        let result = capture.run(&[&x], |inputs| Ok(vec![work(&inputs[0])?]));
        assert!(matches!(result, Err(Error::Capture { .. })), "{result:?}");
        // The device is as before.
        assert_eq!(capture.run(&[&x], |x| Ok(vec![x[0].add_scalar(1.0)?])).unwrap().len(), 1);
    };
    fails(&|x| x.mul_scalar(x.sum(&[], false)?.item()?));
    fails(&|x| x.add(&Tensor::normal(&device, [4], Stream::new(1, 2))?));
    let dropout = Dropout::new(&Params::new(&device, 1), 0.5).unwrap();
    fails(&|x| dropout.forward(x, Mode::Step(3)));
    fails(&|x| Capture::new(&device).run(&[x], |x| Ok(x.to_vec())).map(|mut all| all.swap_remove(0)));
}

#[test]
fn the_cpu_device_calls_the_function_each_time() {
    let device = Device::cpu();
    let mut capture = Capture::new(&device);
    let mut calls = 0;
    for k in 0..3 {
        let x = Tensor::from_slice(&device, &[k as f32], [1]).unwrap();
        let y = capture.run(&[&x], |x| {
            calls += 1;
            Ok(vec![x[0].mul_scalar(3.0)?])
        });
        assert_eq!(y.unwrap()[0].item().unwrap(), 3.0 * f64::from(k));
    }
    assert_eq!((calls, capture.recordings()), (3, 0));
}

#[test]
fn memory_is_flat_over_a_thousand_replays() {
    let device = common::gpu();
    let params = Params::new(&device, 1);
    let (model, mut adam) = (mlp(&params).unwrap(), AdamW::new(&params, 0.001).unwrap());
    let (mut capture, mut early) = (Capture::new(&device), None);
    for step in 0..1000 {
        let [x, labels] = batch(&device, step, &[4, 6]).unwrap();
        let results = capture.run(&[&x, &labels], |inputs| {
            let loss = model.forward(&inputs[0], Mode::Train)?.cross_entropy(&inputs[1])?;
            adam.step(&loss.backward()?)?;
            Ok(vec![loss])
        });
        results.unwrap();
        if step == 20 {
            early = Some(device.as_gpu().unwrap().pool_stats());
        }
    }
    let (early, late) = (early.unwrap(), device.as_gpu().unwrap().pool_stats());
    assert_eq!(early.created, late.created);
    drop((capture, model, adam));
    assert!(device.as_gpu().unwrap().pool_stats().live < late.live);
    device.as_gpu().unwrap().trim().unwrap();
    assert_eq!(device.as_gpu().unwrap().pool_stats().idle, 0);
}
