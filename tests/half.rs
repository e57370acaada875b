//! f16 beyond single operations: storage in odd numbers, files, devices without it, and training.

mod common;

use gradus::nn::{BatchNorm, Conv2d, Linear, Mode, Module, Params, Sequential};
use gradus::optim::{Adam, LossScaler, Optimizer};
use gradus::{DType, Device, Error, Result, Tensor};
use half::f16;

/// The adapter, if it offers f16.
fn adapter() -> Option<Device> {
    let gpu = common::gpu();
    if gpu.as_gpu().is_some_and(|gpu| gpu.half()) {
        return Some(gpu);
    }
    println!("NOT CHECKED: {gpu} does not offer f16");
    None
}

fn devices() -> Vec<Device> {
    [Device::cpu()].into_iter().chain(adapter()).collect()
}

fn halves(count: usize) -> Vec<f16> {
    (0..count).map(|i| f16::from_f32((i as f32 - 3.0) / 8.0)).collect()
}

#[test]
fn any_number_of_elements_is_written_and_read() {
    for device in devices() {
        for count in [0, 1, 2, 3, 7, 64, 127, 1001] {
            let data = halves(count);
            let x = Tensor::from_slice(&device, &data, [count]).unwrap();
            assert_eq!(x.to_vec::<f16>().unwrap(), data, "{count} on {device}");
            let twice: Vec<f32> = data.iter().map(|v| 2.0 * v.to_f32()).collect();
            let y = x.add(&x).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(y.to_vec::<f32>().unwrap(), twice, "{count} on {device}");
        }
    }
}

#[test]
fn views_that_begin_and_end_within_a_word_are_read() {
    for device in devices() {
        let data = halves(35);
        let x = Tensor::from_slice(&device, &data, [5, 7]).unwrap();
        for (start, end) in [(0, 1), (1, 2), (1, 4), (2, 5), (3, 5)] {
            let rows = x.slice(0, start, end).unwrap();
            assert_eq!(rows.to_vec::<f16>().unwrap(), data[7 * start..7 * end], "{start}..{end} on {device}");
        }
        let column = x.select(1, 3).unwrap().to_vec::<f16>().unwrap();
        assert_eq!(column, (0..5).map(|r| data[7 * r + 3]).collect::<Vec<_>>());
        let text = x.slice(0, 0, 1).unwrap().to_string();
        assert!(text.contains("0.2500") && text.ends_with("[1, 7] f16"), "{text}");
    }
}

#[test]
fn f16_moves_between_devices_and_files() {
    let path = std::env::temp_dir().join(format!("gradus-half-{}.safetensors", std::process::id()));
    let x = Tensor::from_slice(&Device::cpu(), &halves(9), [3, 3]).unwrap();
    let Some(gpu) = adapter() else { return };
    let there = x.to_device(&gpu).unwrap();
    assert_eq!(there.dtype(), DType::F16);
    assert_eq!(there.t().unwrap().to_device(&Device::cpu()).unwrap().to_f64().unwrap()[1], 0.0);

    let model = |seed| {
        let params = Params::new(&gpu, seed);
        Linear::new(&params, 3, 3).map(|layer| (params, layer))
    };
    let (params, _) = model(1).unwrap();
    params.save(&path).unwrap();
    let (other, layer) = model(2).unwrap();
    other.load(&path).unwrap();
    assert_eq!(layer.forward(&there).unwrap().dtype(), DType::F16);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_device_without_f16_says_so() {
    let options = gradus::gpu::GpuOptions { portable: true, ..Default::default() };
    let device = Device::select_with(&common::adapter(), options).unwrap();
    let made = Tensor::from_slice(&device, &halves(2), [2]);
    let cast = Tensor::ones(&device, [2]).unwrap().to_dtype(DType::F16);
    for error in [made.unwrap_err(), cast.unwrap_err()] {
        let text = error.to_string();
        assert!(matches!(error, Error::DType { .. }) && text.contains("SHADER_F16"), "{text}");
    }
}

#[test]
fn f16_does_not_meet_f32_unasked() {
    for device in devices() {
        let x = Tensor::ones(&device, [2, 2]).unwrap();
        let y = x.to_dtype(DType::F16).unwrap();
        for error in [x.matmul(&y).unwrap_err(), y.add(&x).unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("f16") && text.contains("f32") && text.contains("to_dtype"), "{text}");
        }
    }
}

/// A small network with every kind of layer that f16 was made for.
fn network(params: &Params) -> Result<Sequential> {
    Ok(Sequential::new()
        .add(Conv2d::new(&params.at("conv"), 1, 6, [3, 3], Default::default())?)
        .add(BatchNorm::new(&params.at("norm"), 6)?)
        .add(Tensor::relu)
        .then(|x| x.flatten(1))
        .add(Linear::new(&params.at("hidden"), 6 * 16, 24)?)
        .add(Tensor::tanh)
        .add(Linear::new(&params.at("head"), 24, 4)?))
}

/// 32 images of four kinds: which corner of 6×6 pixels is bright.
fn images(device: &Device) -> (Tensor, Tensor) {
    let noise = |i: usize| ((i * 7919) % 1009) as f32 / 1009.0 - 0.5;
    let pixel = |i: usize| {
        let (image, y, x) = (i / 36, i / 6 % 6, i % 6);
        noise(i) + f32::from(u8::from((y < 3) == (image % 2 == 0) && (x < 3) == (image / 2 % 2 == 0)))
    };
    let pixels: Vec<f32> = (0..32 * 36).map(pixel).collect();
    let labels: Vec<i32> = (0..32).map(|image| image % 4).collect();
    (
        Tensor::from_slice(device, &pixels, [32, 1, 6, 6]).unwrap(),
        Tensor::from_slice(device, &labels, [32]).unwrap(),
    )
}

/// Losses of 40 steps, in `dtype`, and how many steps were left out.
fn train(device: &Device, dtype: DType, scale: f64) -> (Vec<f64>, usize) {
    let params = Params::new(device, 5);
    let model = network(&params).unwrap();
    let mut adam = Adam::new(&params, 0.01).unwrap();
    let mut scaler = LossScaler::new(scale, 1000).unwrap();
    let (x, labels) = images(device);
    let x = x.to_dtype(dtype).unwrap();
    let (mut losses, mut left_out) = (vec![], 0);
    for _ in 0..40 {
        let logits = model.forward(&x, Mode::Train).unwrap();
        assert_eq!(logits.dtype(), dtype);
        let loss = logits.to_dtype(DType::F32).unwrap().cross_entropy(&labels).unwrap();
        let gradients = scaler.scale(&loss).unwrap().backward().unwrap();
        left_out += usize::from(!scaler.step(&mut adam, gradients).unwrap());
        losses.push(loss.item().unwrap());
    }
    assert!(params.trainable().iter().all(|p| p.get().dtype() == DType::F32));
    let judged = model.forward(&x, Mode::Eval).unwrap();
    assert_eq!(judged.dtype(), dtype);
    assert!(judged.to_f64().unwrap().iter().all(|v| v.is_finite()));
    assert!(adam.lr() > 0.0);
    (losses, left_out)
}

#[test]
fn training_in_f16_with_master_weights_learns_what_f32_learns() {
    for device in devices() {
        let (single, none) = train(&device, DType::F32, 1.0);
        let (half, few) = train(&device, DType::F16, 1024.0);
        println!("{device}: f32 {} → {}, f16 {} → {}", single[0], single[39], half[0], half[39]);
        assert_eq!((none, few), (0, 0));
        assert!((single[0] - half[0]).abs() < 0.01, "{} and {}", single[0], half[0]);
        assert!(half[0] > 1.0 && half[39] < 0.05 && single[39] < 0.05);
        assert!(half.iter().zip(&single).any(|(a, b)| a != b), "f16 rounded nothing");
    }
}

#[test]
fn a_scale_that_overflows_f16_goes_down_until_steps_succeed() {
    for device in devices() {
        let (losses, left_out) = train(&device, DType::F16, 16_777_216.0);
        println!("{device}: {left_out} steps left out, {} → {}", losses[0], losses[39]);
        assert!((1..20).contains(&left_out), "{left_out} steps left out on {device}");
        // Steps that are left out leave the parameters as they are.
        assert_eq!(losses[0], losses[1], "{device}");
        assert!(losses[39] < 0.1, "{device}: {losses:?}");
    }
}
