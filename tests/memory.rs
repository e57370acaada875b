//! Ten thousand training steps leave the pool as it was after the first hundred; what checkpoints save.

mod common;

use gradus::Tensor;
use gradus::nn::{Checkpoint, Linear, Mode, Module, Params, Sequential};
use gradus::optim::{Adam, Optimizer};

#[test]
fn memory_is_flat_over_ten_thousand_steps() {
    let device = common::gpu();
    let params = Params::new(&device, 1);
    let model = Sequential::new()
        .add(Linear::new(&params.at("hidden"), 8, 16).unwrap())
        .add(Tensor::tanh)
        .add(Linear::new(&params.at("output"), 16, 3).unwrap());
    let mut adam = Adam::new(&params, 1e-3).unwrap();
    let gpu = device.as_gpu().unwrap();
    let (mut early, mut first, mut last) = (None, 0.0, None);
    for step in 0..10_000i32 {
        let x: Vec<f32> = (0..32).map(|i| ((i * 7 + step) % 13) as f32 / 6.0 - 1.0).collect();
        let x = Tensor::from_slice(&device, &x, [4, 8]).unwrap();
        let labels = Tensor::from_slice(&device, &[0, 1, 2, step % 3], [4]).unwrap();
        let loss = model.forward(&x, Mode::Train).unwrap().cross_entropy(&labels).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
        if step == 100 {
            device.wait().unwrap();
            early = Some(gpu.pool_stats());
            first = loss.item().unwrap();
        }
        last = Some(loss.detach());
    }
    let last = last.unwrap().item().unwrap();
    let late = gpu.pool_stats();
    println!("after 100 steps {early:?}, after 10000 {late:?}; loss {first} → {last}");
    let early = early.unwrap();
    assert_eq!(early.created, late.created, "buffers were created after the first hundred steps");
    assert!(late.live + late.idle <= early.live + early.idle);
    assert!(last < first);
}

/// The most bytes that the pool held over one step of 64 layers of 32 activations for 1024 examples, in
/// `segments` checkpoints or without any.
fn peak(segments: Option<usize>) -> u64 {
    const LAYERS: usize = 64;
    let device = common::gpu();
    let params = Params::new(&device, 1);
    // One weight for all layers: activations are what is measured.
    let layer = std::sync::Arc::new(Linear::new(&params, 32, 32).unwrap());
    let layers = |count: usize| {
        (0..count).fold(Sequential::new(), |model, _| {
            let layer = layer.clone();
            model.then(move |x| layer.forward(x)?.tanh())
        })
    };
    let mut model = Sequential::new();
    match segments {
        Some(segments) => {
            for _ in 0..segments {
                model = model.add(Checkpoint::new(&params, layers(LAYERS / segments)));
            }
        }
        None => model = layers(LAYERS),
    }
    let x = Tensor::ones(&device, [1024, 32]).unwrap();
    let loss = model.forward(&x, Mode::Train).unwrap().square().unwrap().mean(&[], false).unwrap();
    let gradients = loss.backward().unwrap();
    let size = gradients.get(&layer.weight.get()).unwrap().abs().unwrap().max(&[], false).unwrap();
    assert!(size.item().unwrap() > 0.0);
    // Nothing returns to the device, so what is idle now was in use at the peak.
    let stats = device.as_gpu().unwrap().pool_stats();
    stats.live + stats.idle
}

#[test]
fn checkpoints_hold_the_values_of_few_layers() {
    let (all, few) = (peak(None), peak(Some(8)));
    let layer = 1024 * 32 * 4;
    println!("64 layers of {layer} bytes: {all} bytes without checkpoints, {few} in 8 segments");
    // Without, each of 64 layers keeps its input and its output before the tanh; with, 8 keep their input and
    // one segment of 8 layers is open at a time.
    assert!(all > 64 * layer, "{all}");
    assert!(few < 2 * all / 5, "{few} of {all}");
}
