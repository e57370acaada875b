//! Optimisers, schedules, clipping and initialisers against what PyTorch computes; see golden/README.md.

mod golden;

use gradus::nn::{Fan, Init, Nonlinearity, Params};
use gradus::optim::{Adam, AdamW, Optimizer, Schedule, Sgd, clip_grad_norm};
use gradus::{Device, Result, Tensor};
use serde_json::Value;

/// The cases of an operation: name and options.
fn cases(op: &str) -> Vec<(String, Value)> {
    golden::cases(Some(op)).into_iter().map(|case| (case.id, case.options)).collect()
}

/// A golden tensor, with its shape.
fn golden(name: &str) -> (Vec<f64>, Vec<usize>) {
    let stored = golden::stored(name);
    (stored.data, stored.shape)
}

fn number(options: &Value, name: &str) -> f64 {
    options[name].as_f64().unwrap_or_else(|| panic!("{name} in {options}"))
}

fn whole(options: &Value, name: &str) -> u64 {
    options[name].as_u64().unwrap_or_else(|| panic!("{name} in {options}"))
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * e.abs().max(1.0), "{what}[{i}]: {f}, PyTorch has {e}");
    }
}

/// Empty models on which to try: the truth, the CPU reference, and the GPU if there is one. With how far
/// from PyTorch's f64 each may be.
fn models() -> Vec<(Params, f64)> {
    let single = [Device::cpu(), Device::auto().unwrap()].map(|device| (Params::new(&device, 0), 3e-6));
    [(Params::new_f64(0), 1e-13)].into_iter().chain(single).collect()
}

fn tensor(params: &Params, data: &[f64], shape: &[usize]) -> Tensor {
    if params.dtype() == gradus::DType::F64 {
        return Tensor::from_slice(params.device(), data, shape).unwrap();
    }
    let data: Vec<f32> = data.iter().map(|&v| v as f32).collect();
    Tensor::from_slice(params.device(), &data, shape).unwrap()
}

fn follows(op: &str, make: impl Fn(&Params, &Value) -> Result<Box<dyn Optimizer>>) {
    for (case, options) in cases(op) {
        let ((p0, shape), (g, _), (expected, _)) =
            (golden(&format!("{case}/p0")), golden(&format!("{case}/G")), golden(&format!("{case}/P")));
        for (params, tolerance) in models() {
            let p = params.parameter("p", &shape, Init::Zeros).unwrap();
            p.set(&tensor(&params, &p0, &shape)).unwrap();
            let mut optimizer = make(&params, &options).unwrap();
            for (step, (g, expected)) in g.chunks(p0.len()).zip(expected.chunks(p0.len())).enumerate() {
                let loss = p.get().mul(&tensor(&params, g, &shape)).unwrap().sum(&[], false).unwrap();
                optimizer.step(&loss.backward().unwrap()).unwrap();
                let what = format!("{case}, step {step}, {} {}", params.device(), params.dtype());
                close(&what, &p.get().to_f64().unwrap(), expected, tolerance);
            }
        }
    }
}

#[test]
fn sgd_follows_torch() {
    follows("sgd", |params, o| {
        assert_eq!(number(o, "dampening"), 0.0);
        let sgd = Sgd::new(params, number(o, "lr"))?.weight_decay(number(o, "weight_decay"))?;
        let momentum = number(o, "momentum");
        Ok(Box::new(if o["nesterov"] == true { sgd.nesterov(momentum)? } else { sgd.momentum(momentum)? }))
    });
}

#[test]
fn adam_and_adamw_follow_torch() {
    let betas = |o: &Value| (o["betas"][0].as_f64().unwrap(), o["betas"][1].as_f64().unwrap());
    follows("adam", |params, o| {
        let adam =
            Adam::new(params, number(o, "lr"))?.betas(betas(o).0, betas(o).1)?.eps(number(o, "eps"))?;
        Ok(Box::new(adam.weight_decay(number(o, "weight_decay"))?))
    });
    follows("adamw", |params, o| {
        let adam =
            AdamW::new(params, number(o, "lr"))?.betas(betas(o).0, betas(o).1)?.eps(number(o, "eps"))?;
        Ok(Box::new(adam.weight_decay(number(o, "weight_decay"))?))
    });
}

#[test]
fn schedules_are_torchs() {
    for (case, o) in cases("schedule") {
        let f = |name| number(&o, name);
        let schedule = match case.as_str() {
            "schedule/step" => {
                Schedule::Step { lr: f("lr"), every: whole(&o, "step_size"), gamma: f("gamma") }
            }
            "schedule/multi_step" => Schedule::MultiStep {
                lr: f("lr"),
                milestones: o["milestones"].as_array().unwrap().iter().map(|m| m.as_u64().unwrap()).collect(),
                gamma: f("gamma"),
            },
            "schedule/exponential" => Schedule::Exponential { lr: f("lr"), gamma: f("gamma") },
            "schedule/cosine" => {
                Schedule::Cosine { lr: f("lr"), min: f("eta_min"), steps: whole(&o, "t_max") }
            }
            "schedule/linear_warmup" => Schedule::LinearWarmup {
                lr: f("lr"),
                start: f("start_factor"),
                steps: whole(&o, "total_iters"),
            },
            "schedule/warmup_cosine" => Schedule::WarmupCosine {
                lr: f("lr"),
                start: f("start_factor"),
                warmup: whole(&o, "milestone"),
                steps: whole(&o, "milestone") + whole(&o, "t_max"),
                min: f("eta_min"),
            },
            "schedule/one_cycle" => Schedule::OneCycle {
                max: f("max_lr"),
                steps: whole(&o, "total_steps"),
                up: f("pct_start"),
                div: f("div_factor"),
                final_div: f("final_div_factor"),
            },
            other => panic!("no schedule for {other}"),
        };
        for (step, value) in o["values"].as_array().unwrap().iter().enumerate() {
            let (found, expected) = (schedule.lr(step as u64), value.as_f64().unwrap());
            let near = (found - expected).abs() <= 1e-12 * expected + 1e-17;
            assert!(near, "{case} at {step}: {found}, PyTorch has {expected}");
        }
    }
}

#[test]
fn clipping_is_torchs() {
    for (case, o) in cases("clip_grad_norm").into_iter().filter(|(_, o)| o["norm_type"] == 2.0) {
        for (params, tolerance) in models() {
            let (mut parameters, mut loss) = (vec![], None);
            for i in 0..whole(&o, "inputs") {
                let (g, shape) = golden(&format!("{case}/g{i}"));
                let p = params.at(i).parameter("p", &shape, Init::Zeros).unwrap();
                let term = p.get().mul(&tensor(&params, &g, &shape)).unwrap().sum(&[], false).unwrap();
                loss = Some(loss.map_or(term.clone(), |l: Tensor| l.add(&term).unwrap()));
                parameters.push(p);
            }
            let (clipped, norm) =
                clip_grad_norm(loss.unwrap().backward().unwrap(), number(&o, "max_norm")).unwrap();
            close(&case, &norm.to_f64().unwrap(), &golden(&format!("{case}/norm")).0, tolerance);
            for (i, p) in parameters.iter().enumerate() {
                let (expected, found) = (golden(&format!("{case}/c{i}")).0, clipped.get(&p.get()).unwrap());
                close(&case, &found.to_f64().unwrap(), &expected, tolerance);
            }
        }
    }
}

fn shape(options: &Value) -> Vec<usize> {
    options["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect()
}

fn nonlinearity(options: &Value, slope: &str) -> Nonlinearity {
    match options["nonlinearity"].as_str().unwrap() {
        "linear" | "conv2d" => Nonlinearity::Linear,
        "sigmoid" => Nonlinearity::Sigmoid,
        "tanh" => Nonlinearity::Tanh,
        "relu" => Nonlinearity::Relu,
        "leaky_relu" => Nonlinearity::LeakyRelu(number(options, slope)),
        "selu" => Nonlinearity::Selu,
        other => panic!("{other}"),
    }
}

#[test]
fn gains_and_fans_are_torchs() {
    for (case, o) in cases("gain") {
        close(&case, &[nonlinearity(&o, "param").gain()], &[number(&o, "gain")], 1e-15);
    }
    for (case, o) in cases("fan") {
        let expected = (whole(&o, "fan_in") as usize, whole(&o, "fan_out") as usize);
        assert_eq!(Init::fans(&shape(&o)).unwrap(), expected, "{case}");
    }
}

#[test]
fn initialisers_have_torchs_deviations_and_bounds() {
    for (case, o) in cases("init_kaiming").into_iter().chain(cases("init_xavier")) {
        let shape = shape(&o);
        let (uniform, normal) = if case.starts_with("init_xavier") {
            let gain = number(&o, "gain");
            (Init::XavierUniform { gain }, Init::XavierNormal { gain })
        } else {
            let fan = if o["mode"] == "fan_in" { Fan::In } else { Fan::Out };
            let gain = nonlinearity(&o, "a").gain();
            (Init::KaimingUniform { gain, fan }, Init::KaimingNormal { gain, fan })
        };
        for init in [uniform, normal] {
            close(&case, &[init.std(&shape).unwrap()], &[number(&o, "std")], 1e-15);
        }
        let params = Params::new_f64(1);
        let values = params.parameter("w", &shape, uniform).unwrap().get().to_f64().unwrap();
        let widest = values.iter().fold(0.0f64, |w, v| w.max(v.abs()));
        let bound = number(&o, "bound");
        assert!(widest < bound && widest > 0.8 * bound, "{case}: {widest} of {bound}");
    }
}
