//! Parameters that an optimiser moves in one launch move as they would each by itself.

mod common;

use gradus::nn::{Init, Parameter, Params};
use gradus::optim::{Adadelta, Adagrad, Adam, AdamW, Group, Lamb, Lion, Muon, Optimizer, RmsProp, Sgd};
use gradus::{Result, Tensor};

/// Vectors, matrices, numbers of elements that come by fours and that do not, one, and more than go together.
const SHAPES: [&[usize]; 6] = [&[7], &[8, 16], &[5, 3], &[1], &[200], &[600, 500]];

type Make = fn(&Params) -> Result<Box<dyn Optimizer>>;

const OPTIMIZERS: [(&str, Make); 10] = [
    ("sgd", |p| Ok(Box::new(Sgd::new(p, 0.1)?.weight_decay(0.01)?))),
    ("momentum", |p| Ok(Box::new(Sgd::new(p, 0.1)?.momentum(0.9)?))),
    ("adam", |p| Ok(Box::new(Adam::new(p, 0.01)?))),
    ("adamw", |p| Ok(Box::new(AdamW::new(p, 0.01)?))),
    ("rmsprop", |p| Ok(Box::new(RmsProp::new(p, 0.01)?.momentum(0.5)?.centred()))),
    ("adagrad", |p| Ok(Box::new(Adagrad::new(p, 0.1)?))),
    ("adadelta", |p| Ok(Box::new(Adadelta::new(p, 1.0)?))),
    ("lion", |p| Ok(Box::new(Lion::new(p, 0.01)?))),
    ("lamb", |p| Ok(Box::new(Lamb::new(p, 0.01)?))),
    ("muon", |p| Ok(Box::new(Muon::new(p, 0.02)?))),
];

fn params() -> (Params, Vec<Parameter>) {
    let params = Params::new(&common::gpu(), 3);
    let normal = Init::Normal { mean: 0.0, std: 1.0 };
    let all = SHAPES.iter().enumerate();
    let all =
        all.map(|(k, shape)| params.at(format!("w{k}")).parameter("w", shape, normal).unwrap()).collect();
    (params, all)
}

/// Half the sum of squares of the parameters that take part, each times a factor of its own: the gradients are dense,
/// and different every time.
fn loss(all: &[Parameter], part: impl Fn(usize) -> bool) -> Result<Tensor> {
    let mut sum = Tensor::scalar(all[0].get().device(), 0.0)?;
    for (k, parameter) in all.iter().enumerate().filter(|(k, _)| part(*k)) {
        sum = sum.add(&parameter.get().square()?.mul_scalar(0.5 + 0.1 * k as f64)?.sum(&[], false)?)?;
    }
    Ok(sum)
}

fn values(all: &[Parameter]) -> Vec<Vec<f32>> {
    all.iter().map(|parameter| parameter.get().to_vec().unwrap()).collect()
}

/// What the parameters are after these steps, in each of which some take part.
fn trained(
    params: &Params,
    all: &[Parameter],
    optimizer: &mut dyn Optimizer,
    steps: &[&[usize]],
) -> Vec<Vec<f32>> {
    for part in steps {
        let gradients = loss(all, |k| part.contains(&k)).unwrap().backward().unwrap();
        optimizer.step(&gradients).unwrap();
    }
    assert_eq!(params.trainable().len(), all.len());
    values(all)
}

/// Each alone: an optimiser for every parameter.
fn alone(make: Make, steps: &[&[usize]]) -> Vec<Vec<f32>> {
    let (params, all) = params();
    let mut optimizers: Vec<_> = (0..all.len()).map(|k| make(&params.at(format!("w{k}"))).unwrap()).collect();
    for part in steps {
        let gradients = loss(&all, |k| part.contains(&k)).unwrap().backward().unwrap();
        part.iter().for_each(|&k| optimizers[k].step(&gradients).unwrap());
    }
    values(&all)
}

/// A device may round a kernel that goes by fours otherwise than one that does not.
fn assert_close(what: &str, found: &[Vec<f32>], expected: &[Vec<f32>]) {
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        let far = |(f, e): (&f32, &f32)| f64::from((f - e).abs()) > 2e-6 * f64::from(e.abs().max(1.0));
        let wrong = found.iter().zip(expected).filter(|&pair| far(pair)).count();
        assert_eq!(wrong, 0, "{what}: w{k}, {wrong} of {} elements", expected.len());
    }
}

#[test]
fn together_they_move_as_alone() {
    // In the third step some have no gradient, and after it their steps have other numbers.
    let steps: [&[usize]; 5] =
        [&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4, 5], &[1, 3, 5], &[0, 1, 2, 3, 4, 5], &[0, 2, 4]];
    for (name, make) in OPTIMIZERS {
        let (params, all) = params();
        let mut optimizer = make(&params).unwrap();
        let found = trained(&params, &all, &mut *optimizer, &steps);
        assert_close(name, &found, &alone(make, &steps));
    }
}

#[test]
fn state_that_is_held_elsewhere_stays_and_continues() {
    let steps: [&[usize]; 2] = [&[0, 1, 2, 3, 4, 5]; 2];
    for (name, make) in OPTIMIZERS {
        let (params, all) = params();
        let mut optimizer = make(&params).unwrap();
        trained(&params, &all, &mut *optimizer, &steps);
        // Values and state of this moment, held while training goes on.
        let (state, then) = (optimizer.state(), all.iter().map(Parameter::get).collect::<Vec<_>>());
        let read = |tensor: &Tensor| tensor.to_vec::<f32>().unwrap();
        let before: Vec<Vec<f32>> = state.tensors.values().map(read).collect();
        let expected = trained(&params, &all, &mut *optimizer, &steps);
        assert_eq!(
            state.tensors.values().map(read).collect::<Vec<_>>(),
            before,
            "{name}: state was overwritten"
        );
        // From there again, by another optimiser.
        all.iter().zip(&then).for_each(|(parameter, value)| parameter.set(value).unwrap());
        let mut again = make(&params).unwrap();
        again.restore(&state).unwrap();
        assert_eq!(trained(&params, &all, &mut *again, &steps), expected, "{name}");
    }
}

#[test]
fn one_launch_moves_all_that_have_the_same_rate_and_decay() {
    let (params, all) = params();
    let gpu = params.device().as_gpu().unwrap();
    let exempt = Group { weight_decay: Some(0.0), ..Group::default() };
    let mut optimizer = AdamW::new(&params, 0.01)
        .unwrap()
        .group(|path| path.starts_with("w3") || path.starts_with("w4"), exempt)
        .unwrap();
    let launches = |optimizer: &mut AdamW| {
        let gradients = loss(&all, |_| true).unwrap().backward().unwrap();
        all.iter().for_each(|p| gradients.get(&p.get()).unwrap().finish().unwrap());
        let before = gpu.dispatches();
        optimizer.step(&gradients).unwrap();
        gpu.dispatches() - before
    };
    launches(&mut optimizer);
    // w0, w1 and w2; w3 and w4; w5 is large enough to repay a launch.
    assert_eq!(launches(&mut optimizer), 3);
}
