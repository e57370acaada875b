//! Recurrent layers over long sequences, where a worst-case bound says nothing: each step is held to its bound
//! from the state that the device itself produced, forwards and back, and the whole is compared with f64. And
//! how many launches a step takes.

mod common;

use gradus::ops::{Cell, RecurrentWeights, Sequence};
use gradus::real::Bounded;
use gradus::verify::{Input, compare};
use gradus::{DType, Device, Result, Tensor};

const CELLS: [Cell; 4] = [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::Gru];
const STEPS: usize = 40;
const BATCH: usize = 3;
const INPUTS: usize = 5;
const HIDDEN: usize = 24;

/// A layer and a cotangent of its outputs, on one device, in one type.
struct Problem {
    cell: Cell,
    weights: RecurrentWeights,
    x: Tensor,
    w: Tensor,
}

fn of_shape(shape: &[usize], reach: f64, seed: u64, device: &Device, dtype: DType) -> Tensor {
    Input::uniform(shape, -reach, reach).make(device, dtype, seed).unwrap()
}

impl Problem {
    fn new(cell: Cell, steps: usize, device: &Device, dtype: DType) -> Self {
        let make = |shape: &[usize], reach, seed| of_shape(shape, reach, seed, device, dtype);
        let (rows, reach) = (cell.gates() * HIDDEN, 1.5 / (HIDDEN as f64).sqrt());
        Problem {
            cell,
            weights: RecurrentWeights {
                input: make(&[rows, INPUTS], 0.7, 1),
                hidden: make(&[rows, HIDDEN], reach, 2),
                bias: Some([make(&[rows], 0.3, 3), make(&[rows], 0.3, 4)]),
            },
            x: make(&[steps, BATCH, INPUTS], 2.0, 5),
            w: make(&[steps, BATCH, HIDDEN], 1.0, 6),
        }
    }

    /// The state after steps `start`.. below `end`, and ⟨y, w⟩ over these plus ⟨state, last⟩.
    fn run(
        &self,
        start: usize,
        end: usize,
        x: &Tensor,
        initial: &Tensor,
        last: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let sequence = Sequence { initial: Some(initial.clone()), ..Sequence::default() };
        let out = x.recurrent(self.cell, &self.weights, &sequence)?;
        let mut product = out.y.mul(&self.w.slice(0, start, end)?)?.sum(&[], false)?;
        if let Some(last) = last {
            product = product.add(&out.state.mul(last)?.sum(&[], false)?)?;
        }
        Ok((out.state, product))
    }

    fn zeros(&self) -> Tensor {
        let shape = [self.cell.states(), BATCH, HIDDEN];
        Tensor::full(self.x.device(), self.x.dtype(), shape, 0.0).unwrap()
    }
}

/// The values of a tensor as exact numbers of the reference.
fn exact(t: &Tensor) -> Tensor {
    let data: Vec<Bounded> = t.to_f64().unwrap().into_iter().map(Bounded::exact).collect();
    Tensor::from_slice(&Device::cpu(), &data, t.shape()).unwrap()
}

/// The share of the bound that the worst element uses.
fn share(what: &str, observed: &Tensor, expected: &Tensor) -> f64 {
    let bounds = expected.to_vec::<Bounded>().unwrap();
    let verdict = compare(observed.shape(), &observed.to_f64().unwrap(), expected.shape(), &bounds, false);
    assert!(verdict.rejected.is_none(), "{what}: {:?}", verdict.rejected);
    verdict.worst_share
}

/// Every step from the state before it as the device has it, and back from the gradient behind it.
fn steps_are_within_their_bounds(device: &Device) {
    for cell in CELLS {
        let (own, reference) = (
            Problem::new(cell, STEPS, device, DType::F32),
            Problem::new(cell, STEPS, &Device::cpu(), DType::Bounded),
        );
        let mut states = vec![own.zeros()];
        for end in 1..=STEPS {
            let x = own.x.slice(0, 0, end).unwrap();
            states.push(own.run(0, end, &x, &states[0], None).unwrap().0);
        }
        // Behind[t]: the gradient of what comes after step t, at the state after it.
        let (mut behind, mut slopes) = (vec![own.zeros()], vec![]);
        for start in (0..STEPS).rev() {
            let x = own.x.slice(0, start, STEPS).unwrap().variable().unwrap();
            let initial = states[start].variable().unwrap();
            let product = own.run(start, STEPS, &x, &initial, None).unwrap().1;
            let gradients = product.backward().unwrap();
            slopes.push(gradients.get(&x).unwrap().slice(0, 0, 1).unwrap());
            behind.push(gradients.get(&initial).unwrap().clone());
        }
        behind.reverse();
        slopes.reverse();
        let (mut forward, mut backward) = (0.0f64, 0.0f64);
        for t in 0..STEPS {
            let x = reference.x.slice(0, t, t + 1).unwrap().variable().unwrap();
            let initial = exact(&states[t]).variable().unwrap();
            let (state, product) =
                reference.run(t, t + 1, &x, &initial, Some(&exact(&behind[t + 1]))).unwrap();
            forward = forward.max(share(&format!("{cell:?} step {t}"), &states[t + 1], &state));
            let gradients = product.backward().unwrap();
            for (what, found, expected) in [("x", &slopes[t], &x), ("state", &behind[t], &initial)] {
                let what = format!("{cell:?} gradient of {what} at step {t}");
                backward = backward.max(share(&what, found, gradients.get(expected).unwrap()));
            }
        }
        println!("{device}: {cell:?}, {STEPS} steps: worst share forwards {forward:.4}, back {backward:.4}");
    }
}

#[test]
fn each_step_on_the_adapter_is_within_its_bound() {
    steps_are_within_their_bounds(&common::gpu());
}

#[test]
fn each_step_on_the_cpu_is_within_its_bound() {
    steps_are_within_their_bounds(&Device::cpu());
}

/// From end to end there is no bound worth the name: the error is observed. A mistake would show, as
/// one weight in a thousand does.
#[test]
fn long_sequences_stay_near_the_truth() {
    let device = common::gpu();
    for cell in CELLS {
        let run = |device: &Device, dtype| {
            let problem = Problem::new(cell, STEPS, device, dtype);
            let (x, initial) = (problem.x.variable().unwrap(), problem.zeros().variable().unwrap());
            let (state, product) = problem.run(0, STEPS, &x, &initial, None).unwrap();
            let gradients = product.backward().unwrap();
            [state, gradients.get(&x).unwrap().clone(), gradients.get(&initial).unwrap().clone()]
                .map(|t| t.to_f64().unwrap())
        };
        let truth = run(&Device::cpu(), DType::F64);
        for device in [&device, &Device::cpu()] {
            let errors: Vec<f64> = run(device, DType::F32)
                .iter()
                .zip(&truth)
                .map(|(found, truth)| {
                    let scale = truth.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                    assert!(found.len() == truth.len() && scale > 1e-6);
                    found.iter().zip(truth).fold(0.0f64, |m, (f, t)| m.max((f - t).abs() / scale))
                })
                .collect();
            let [state, dx, dinitial] = errors[..] else { unreachable!() };
            println!("{device}: {cell:?}: state {state:.1e}, dx {dx:.1e}, d initial {dinitial:.1e} off");
            assert!(errors.iter().all(|e| *e < 1e-4), "{cell:?}: {errors:?}");
        }
    }
}

/// One launch a step forwards, one a step back.
#[test]
fn a_step_is_one_launch_each_way() {
    let device = common::gpu();
    let launches = |cell, steps| {
        let problem = Problem::new(cell, steps, &device, DType::F32);
        let weight = problem.weights.hidden.variable().unwrap();
        let problem = Problem {
            weights: RecurrentWeights { hidden: weight.clone(), ..problem.weights.clone() },
            ..problem
        };
        let count = || device.as_gpu().unwrap().dispatches();
        let start = count();
        let (_, product) = problem.run(0, steps, &problem.x, &problem.zeros(), None).unwrap();
        product.finish().unwrap();
        let middle = count();
        product.backward().unwrap().get(&weight).unwrap().finish().unwrap();
        [middle - start, count() - middle]
    };
    for cell in CELLS {
        let (few, many) = (launches(cell, 10), launches(cell, 20));
        println!("{cell:?}: {few:?} launches forwards and back for 10 steps, {many:?} for 20");
        assert_eq!([many[0] - few[0], many[1] - few[1]], [10, 10]);
    }
}
