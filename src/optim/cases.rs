//! The cases of the updates: what `verify` runs on every device.

use super::adam::AdamStep;
use super::large::{LambRule, MuonRule};
use super::rules::{AdadeltaRule, AdagradRule, LionRule, RmsPropRule};
use super::sgd::{SgdStep, plain};
use super::slots::{Rule, Turn};
use crate::op;
use crate::shape::Shape;
use crate::verify::{Case, Input, Room};

/// Shapes around a workgroup's edge, one that verification folds, and one without elements.
const SHAPES: [&[usize]; 7] = [&[1], &[7, 5], &[256], &[257], &[1301], &[5304], &[0]];

/// The cases of this room.
pub(crate) fn rooms() -> Vec<Room> {
    let mut sgd = Vec::new();
    let mut adam = Vec::new();
    for shape in SHAPES {
        let any = || Input::any(shape);
        for decay in [0.0, 0.1] {
            let detail = format!("plain, decay {decay}, {shape:?}");
            sgd.push(Case::new("sgd", &detail, [any(), any()], move |x| plain(0.1, decay, &x[0], &x[1])));
        }
        for (name, nesterov, decay) in
            [("momentum", false, 0.0), ("nesterov", true, 0.0), ("decay", true, 0.1)]
        {
            for (output, what) in ["p", "v"].into_iter().enumerate() {
                let detail = format!("{name}, {what}, {shape:?}");
                sgd.push(Case::new("sgd", &detail, [any(), any(), any()], move |x| {
                    let step = SgdStep { lr: 0.1, momentum: 0.9, nesterov, weight_decay: decay };
                    Ok(op::apply(step, &x.iter().collect::<Vec<_>>())?.swap_remove(output))
                }));
            }
        }
        for (name, decoupled, decay, t) in
            [("adam", false, 0.0, 3), ("adam, decay", false, 0.1, 1), ("adamw", true, 0.1, 2000)]
        {
            for (output, what) in ["p", "m", "v"].into_iter().enumerate() {
                let detail = format!("{name}, {what}, {shape:?}");
                let inputs = [any(), any(), any(), Input::uniform(shape, 0.01, 2.0)];
                adam.push(Case::new("adam", &detail, inputs, move |x| {
                    let step = AdamStep::example(decoupled, decay, t);
                    Ok(op::apply(step, &x.iter().collect::<Vec<_>>())?.swap_remove(output))
                }));
            }
        }
    }
    sgd.push(wrong_shape("sgd", 3));
    adam.push(wrong_shape("adam", 4));
    let value_only = |cases: Vec<Case>| cases.into_iter().map(Case::value_only).collect();
    let mut rooms = vec![Room { op: "sgd", cases: sgd }, Room { op: "adam", cases: adam }];
    rooms.extend(formulas());
    let mut rooms: Vec<Room> =
        rooms.into_iter().map(|room| Room { cases: value_only(room.cases), ..room }).collect();
    rooms.push(Room { op: "non_finite", cases: non_finite_cases() });
    rooms
}

/// The optimisers whose updates are formulas: every output, at several shapes and options.
fn formulas() -> Vec<Room> {
    fn cases<R: Rule + Clone + Send + Sync + 'static>(
        op: &'static str,
        shapes: &[&'static [usize]],
        rules: &[(&'static str, R)],
    ) -> Room {
        let mut cases = Vec::new();
        for (shape, (detail, rule)) in shapes.iter().flat_map(|s| rules.iter().map(move |rule| (*s, rule))) {
            let state = rule.state(&Shape::known(shape));
            for output in 0..=state.len() {
                for (t, decay) in [(1, 0.0), (30, 0.1)] {
                    let what = if output == 0 { "p" } else { state[output - 1].0 };
                    let detail = format!("{detail}, {what}, decay {decay}, {shape:?}");
                    // Averages of squares are not negative, and not smaller than the square of the mean.
                    let states = state.iter().map(|(name, shape)| match *name {
                        "m" | "mean" | "velocity" => Input::uniform(shape, -0.5, 0.5),
                        _ => Input::uniform(shape, 0.3, 2.0),
                    });
                    let inputs: Vec<Input> =
                        [Input::any(shape), Input::any(shape)].into_iter().chain(states).collect();
                    let rule = *rule;
                    cases.push(Case::new(op, &detail, inputs, move |x| {
                        let mut state = x[2..].to_vec();
                        let next = rule.update(Turn { t, lr: 0.05, decay }, &x[0], &x[1], &mut state)?;
                        Ok(if output == 0 { next } else { state.swap_remove(output - 1) })
                    }));
                }
            }
        }
        // Parameters and averages stay in f32.
        Room { op, cases: cases.into_iter().map(Case::single).collect() }
    }
    let plain = RmsPropRule { alpha: 0.9, eps: 1e-6, momentum: 0.0, centred: false };
    let centred = RmsPropRule { centred: true, ..plain };
    let shapes: [&[usize]; 3] = [&[1], &[7, 5], &[0]];
    vec![
        cases(
            "rmsprop",
            &shapes,
            &[
                ("plain", plain),
                ("centred", centred),
                ("momentum", RmsPropRule { momentum: 0.9, ..plain }),
                ("both", RmsPropRule { momentum: 0.9, ..centred }),
            ],
        ),
        cases("adagrad", &shapes, &[("", AdagradRule { lr_decay: 0.01, eps: 1e-6 })]),
        cases("adadelta", &shapes, &[("", AdadeltaRule { rho: 0.9, eps: 1e-3 })]),
        cases("lion", &shapes, &[("", LionRule { beta1: 0.9, beta2: 0.99 })]),
        cases("lamb", &shapes, &[("", LambRule { beta1: 0.9, beta2: 0.99, eps: 1e-6 })]),
        cases(
            "muon",
            &[&[1], &[5], &[3, 3], &[4, 2], &[2, 1, 3], &[0, 3], &[3, 0]],
            &[("", MuonRule { momentum: 0.9, vector_lr: 0.5, iterations: 1 })],
        ),
    ]
}

/// Infinities and NaNs among numbers as large as there are.
fn non_finite_cases() -> Vec<Case> {
    let call = |x: &[crate::Tensor]| super::loss_scaler::non_finite(&x[0].to_dtype(x[0].dtype().wide())?);
    let mixed = |count: usize| -> Vec<f64> {
        let (most, least) = (f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE));
        // What is a NaN of f32 whose last bit is set too, 0x7fc0_0001: all of the exponent counts, and nothing else.
        let odd = f64::from_bits(0x7ff8_0000_2000_0000);
        let kinds = [1.0, f64::INFINITY, most, f64::NAN, -least, f64::NEG_INFINITY, -most, odd, 0.0, 2.5];
        kinds.iter().copied().cycle().take(count).collect()
    };
    let make = |detail: &str, input: Input| Case::new("non_finite", detail, [input], call).value_only();
    let mut cases: Vec<Case> =
        [1, 2, 255, 256, 257, 1301, 7001].map(|n| make(&n.to_string(), Input::fixed([n], &mixed(n)))).into();
    cases.push(make("none", Input::any([700])));
    cases.push(make("transposed", Input::fixed([30, 20], &mixed(600)).transposed()));
    cases.push(make("no elements", Input::any([0])));
    cases.push(make("integers", Input::index([3], 4)).fails());
    cases
}

/// A gradient that is not shaped like its parameter.
fn wrong_shape(op: &'static str, inputs: usize) -> Case {
    let shapes = (0..inputs).map(|k| Input::any(if k == 1 { [3, 2] } else { [2, 3] }));
    Case::new(op, "wrong shape", shapes, move |x| {
        let x: Vec<_> = x.iter().collect();
        let made = match op {
            "sgd" => op::apply(SgdStep { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0 }, &x),
            _ => op::apply(AdamStep::example(false, 0.0, 1), &x),
        };
        Ok(made?.swap_remove(0))
    })
    .fails()
}

#[cfg(test)]
mod tests {
    use super::rooms;
    use crate::real::Bounded;
    use crate::{DType, Device, Tensor};

    #[test]
    fn updates_stay_within_their_bounds_on_the_gpu() {
        let (cpu, gpu) = (Device::cpu(), Device::auto().unwrap());
        let mut vacuous = vec![];
        for case in rooms().into_iter().flat_map(|room| room.cases) {
            let run = |device: &Device, dtype| (case.run)(&case.make(device, dtype).unwrap());
            if case.fails {
                assert!(run(&cpu, DType::F32).is_err() && run(&gpu, DType::F32).is_err(), "{}", case.id);
                continue;
            }
            let bounds = run(&cpu, DType::Bounded).unwrap();
            if bounds.dtype() != DType::Bounded {
                continue; // Integers, which `verify` demands to be equal.
            }
            let bounds = bounds.to_vec::<Bounded>().unwrap();
            for device in [&cpu, &gpu] {
                let y = run(device, DType::F32).unwrap();
                assert!(y.guard_intact().unwrap());
                let y = y.to_vec::<f32>().unwrap();
                assert_eq!(y.len(), bounds.len());
                for (i, (y, bound)) in y.iter().zip(&bounds).enumerate() {
                    let error = (f64::from(*y) - bound.value).abs();
                    assert!(error <= bound.error, "{}[{i}] on {device}: {y}, {bound:?}", case.id);
                    if bound.error >= 1e-4 {
                        vacuous.push(format!("{}[{i}]: the bound {bound:?} says nothing", case.id));
                    }
                }
            }
        }
        assert!(vacuous.is_empty(), "{}", vacuous.join("\n"));
    }

    /// Muon's five steps compound the worst case to nothing, so the whole update is held to f64. A step moves a
    /// singular value by at most its slope at zero, 3.4445: what rounding adds to each grows to at most
    /// (3.4445⁵ − 1)/2.4445 = 198 times, and counts by the rate of 0.05. Eight units of 2⁻²³ a step make 1e-5.
    #[test]
    fn muon_is_near_the_truth() {
        use crate::optim::slots::{Rule, Turn};
        let rule = super::MuonRule { momentum: 0.9, vector_lr: 0.5, iterations: 5 };
        for shape in [[3, 3], [7, 4], [16, 33]] {
            let run = |device: &Device, dtype| {
                let make = |stream| {
                    let stream = crate::ops::Stream::new(5, stream);
                    Tensor::normal_in(&Device::cpu(), DType::F64, shape, stream).unwrap().to_dtype(DType::F32)
                };
                let make = |stream| make(stream)?.to_device(device)?.to_dtype(dtype);
                let turn = Turn { t: 1, lr: 0.05, decay: 0.1 };
                rule.update(turn, &make(0)?, &make(1)?, &mut [make(2)?]).and_then(|p| p.to_f64())
            };
            let truth = run(&Device::cpu(), DType::F64).unwrap();
            for device in [Device::cpu(), Device::auto().unwrap()] {
                let found = run(&device, DType::F32).unwrap();
                let worst = found.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                println!("muon {shape:?} on {device}: {worst:.1e} off");
                assert!(worst < 1e-5, "{shape:?} on {device}: {worst}");
            }
        }
    }

    #[test]
    fn state_is_written_in_place_exactly_where_nobody_sees_it() {
        let Some(gpu) = Some(Device::auto().unwrap()).filter(|d| !d.is_cpu()) else { return };
        let step = || super::AdamStep::example(false, 0.1, 4);
        let fill = |v: f32| Tensor::from_slice(&gpu, &[v, 2.0 * v, -v], [3]).unwrap();
        let (p, g) = (fill(1.0), fill(0.5));
        let expected = crate::op::apply(step(), &[&p, &g, &fill(0.2), &fill(3.0).abs().unwrap()]).unwrap();
        for watched in [false, true] {
            let mut state = [fill(0.2), fill(3.0).abs().unwrap()];
            state[1].view().unwrap();
            let before = state[0].sole_buffer().unwrap();
            let (address, witness) = (std::sync::Arc::as_ptr(&before), watched.then(|| state[0].clone()));
            drop(before);
            let next = super::super::slots::apply(step(), &p, &g, &mut state).unwrap();
            let after = state[0].sole_buffer().unwrap();
            assert_eq!(std::ptr::eq(std::sync::Arc::as_ptr(&after), address), !watched);
            let results = [&next, &state[0], &state[1]];
            for (result, expected) in results.iter().zip(&expected) {
                assert_eq!(result.to_vec::<f32>().unwrap(), expected.to_vec::<f32>().unwrap());
            }
            if let Some(witness) = witness {
                assert_eq!(witness.to_vec::<f32>().unwrap(), [0.2, 0.4, -0.2]);
            }
        }
    }
}
