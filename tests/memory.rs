//! Ten thousand training steps leave the pool as it was after the first hundred.

mod common;

use gradus::Tensor;
use gradus::nn::{Linear, Mode, Module, Params, Sequential};
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
