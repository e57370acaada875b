//! Models, optimisers and checkpoints together, on the CPU reference and on the GPU if there is one.

use gradus::autodiff::Gradients;
use gradus::io::Checkpoint;
use gradus::nn::{
    BatchNorm, Conv2d, Dropout, Init, LayerInit, LayerNorm, Linear, Mode, Module, Parameter, Params,
    Sequential,
};
use gradus::optim::{
    Adadelta, Adagrad, Adam, AdamW, Ema, Group, Lamb, Lion, Muon, Optimizer, RmsProp, Sgd, clip_grad_norm,
};
use gradus::{Device, Error, Result, Tensor};
use std::path::{Path, PathBuf};

fn devices() -> Vec<Device> {
    let best = Device::auto().unwrap();
    if best.is_cpu() { vec![best] } else { vec![Device::cpu(), best] }
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gradus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A small network with every kind of layer.
fn network(params: &Params) -> Result<Sequential> {
    let conv = Conv2d::with(&params.at("conv"), 1, 4, [3, 3], Default::default(), LayerInit::without_bias())?;
    Ok(Sequential::new()
        .add(conv)
        .add(BatchNorm::new(&params.at("norm"), 4)?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop"), 0.1)?)
        .then(|x| x.flatten(1))
        .add(LayerNorm::new(&params.at("last"), [4 * 4 * 4])?)
        .add(Linear::new(&params.at("head"), 4 * 4 * 4, 3)?))
}

/// A batch that is a function of the step.
fn batch(device: &Device, step: usize) -> (Tensor, Tensor) {
    let value = |i: usize| ((i * 7919 + step * 104_729) % 1009) as f32 / 504.0 - 1.0;
    let x: Vec<f32> = (0..5 * 36).map(value).collect();
    let y: Vec<f32> = (0..5 * 3).map(|i| value(i + 11)).collect();
    (Tensor::from_slice(device, &x, [5, 1, 6, 6]).unwrap(), Tensor::from_slice(device, &y, [5, 3]).unwrap())
}

fn train(
    model: &Sequential,
    device: &Device,
    steps: std::ops::Range<usize>,
    optimizer: &mut dyn Optimizer,
) -> f64 {
    let mut last = f64::NAN;
    for step in steps {
        let (x, y) = batch(device, step % 4);
        let mode = Mode::Step(step as u64);
        let loss = model.forward(&x, mode).unwrap().sub(&y).unwrap().square().unwrap();
        let loss = loss.mean(&[], false).unwrap();
        let (gradients, _) = clip_grad_norm(loss.backward().unwrap(), 1.0).unwrap();
        optimizer.step(&gradients).unwrap();
        last = loss.item().unwrap();
    }
    last
}

/// The bits of all parameters and buffers.
fn bits(params: &Params) -> Vec<(String, Vec<u32>)> {
    let words = |p: &Parameter| p.get().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
    params.all().iter().map(|p| (p.path().to_string(), words(p))).collect()
}

type Make = fn(&Params) -> Result<Box<dyn Optimizer>>;
const OPTIMIZERS: [Make; 10] = [
    |params| Ok(Box::new(Sgd::new(params, 0.05)?)),
    |params| Ok(Box::new(Sgd::new(params, 0.02)?.nesterov(0.9)?.weight_decay(1e-3)?)),
    |params| Ok(Box::new(Adam::new(params, 0.01)?)),
    |params| Ok(Box::new(AdamW::new(params, 0.01)?.weight_decay(0.1)?)),
    |params| Ok(Box::new(RmsProp::new(params, 0.005)?.centred().momentum(0.5)?)),
    |params| Ok(Box::new(Adagrad::new(params, 0.05)?)),
    |params| Ok(Box::new(Adadelta::new(params, 2.0)?)),
    |params| Ok(Box::new(Lion::new(params, 0.005)?.weight_decay(0.1)?)),
    |params| Ok(Box::new(Lamb::new(params, 0.05)?)),
    |params| Ok(Box::new(Muon::new(params, 0.05)?)),
];

#[test]
fn a_resumed_run_computes_the_same_bits() {
    let folder = Folder::new("resume");
    for device in devices() {
        for (k, make) in OPTIMIZERS.iter().enumerate() {
            let path = folder.file("run.safetensors");
            let params = Params::new(&device, 3);
            let model = network(&params).unwrap();
            let mut optimizer = make(&params).unwrap();
            train(&model, &device, 0..4, &mut *optimizer);
            optimizer.set_lr(0.1 / 3.0).unwrap();
            let run = Checkpoint { epoch: 1, step: 4, seed: u64::MAX, ..Default::default() };
            run.save(&path, &params, Some(&*optimizer)).unwrap();
            train(&model, &device, 4..8, &mut *optimizer);

            // With the seed of the run, from which the masks of dropout follow.
            let resumed = Params::new(&device, 3);
            let model = network(&resumed).unwrap();
            let mut optimizer = make(&resumed).unwrap();
            assert_ne!(bits(&resumed), bits(&params));
            assert_eq!(Checkpoint::load(&path, &resumed, Some(&mut *optimizer)).unwrap(), run);
            train(&model, &device, 4..8, &mut *optimizer);
            assert_eq!(bits(&resumed), bits(&params), "optimiser {k} on {device}");
        }
    }
}

/// The joint norm is a sum in some order, which is not that in which parameters got their values: a step sets those that
/// move together one after the other, a file in the order of paths.
#[test]
fn the_norm_of_all_gradients_does_not_depend_on_which_parameter_was_set_last() {
    // Whoever begins with the one gets it back, and whoever ends with it does not.
    let gradients = [1.0, 2f64.powi(-12), 2f64.powi(-12), 2f64.powi(-12), 2f64.powi(-12)];
    for device in devices() {
        let params = Params::new(&device, 3);
        let named = |k: usize| params.at(format!("w{k}")).parameter("w", [1], Init::Constant(0.5));
        let all: Vec<Parameter> = (0..gradients.len()).map(|k| named(k).unwrap()).collect();
        let norm = || {
            let terms = all.iter().zip(gradients).map(|(w, by)| w.get().mul_scalar(by).unwrap());
            let loss = terms.reduce(|sum, term| sum.add(&term).unwrap()).unwrap();
            clip_grad_norm(loss.backward().unwrap(), 1.0).unwrap().1.item().unwrap()
        };
        let before = norm();
        all.iter().rev().for_each(|w| w.set(&w.get()).unwrap());
        assert_eq!(norm(), before, "on {device}");
    }
}

/// The second half of the run is computed by this process and by another, which knows the file alone.
#[test]
fn a_new_process_resumes_with_the_same_bits() {
    const CHILD: &str = "GRADUS_TEST_RESUME";
    let start = |device: &Device, seed| {
        let params = Params::new(device, seed);
        let model = network(&params).unwrap();
        let adam = AdamW::new(&params, 0.01).unwrap();
        (params, model, adam)
    };
    if let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) {
        for (k, device) in devices().iter().enumerate() {
            let (params, model, mut adam) = start(device, 3);
            let run = folder.join(format!("{k}-half"));
            assert_eq!(Checkpoint::load(run, &params, Some(&mut adam)).unwrap().step, 4);
            train(&model, device, 4..8, &mut adam);
            params.save(folder.join(format!("{k}-child"))).unwrap();
        }
        return;
    }
    let folder = Folder::new("process");
    for (k, device) in devices().iter().enumerate() {
        let (params, model, mut adam) = start(device, 3);
        train(&model, device, 0..4, &mut adam);
        let run = Checkpoint { step: 4, ..Default::default() };
        run.save(folder.file(&format!("{k}-half")), &params, Some(&adam)).unwrap();
        train(&model, device, 4..8, &mut adam);
        params.save(folder.file(&format!("{k}-parent"))).unwrap();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_new_process_resumes_with_the_same_bits"])
        .env(CHILD, &folder.0)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    for (k, device) in devices().iter().enumerate() {
        let read = |who: &str| std::fs::read(folder.file(&format!("{k}-{who}"))).unwrap();
        assert!(read("parent") == read("child"), "on {device}");
    }
}

#[test]
fn averages_of_the_weights_resume_with_the_same_bits() {
    let folder = Folder::new("ema");
    for device in devices() {
        let path = folder.file("run.safetensors");
        let start = || {
            let params = Params::new(&device, 3);
            let model = network(&params).unwrap();
            let (adam, ema) = (Adam::new(&params, 0.01).unwrap(), Ema::new(&params, 0.9).unwrap());
            (params, model, adam, ema)
        };
        let run = |model: &Sequential, adam: &mut Adam, ema: &Ema, steps: std::ops::Range<usize>| {
            for step in steps {
                train(model, &device, step..step + 1, adam);
                ema.update().unwrap();
            }
        };
        let (params, model, mut adam, ema) = start();
        run(&model, &mut adam, &ema, 0..3);
        Checkpoint { step: 3, ..Default::default() }.save(&path, &params, Some(&adam)).unwrap();
        run(&model, &mut adam, &ema, 3..6);
        let (resumed, model, mut adam, ema) = start();
        Checkpoint::load(&path, &resumed, Some(&mut adam)).unwrap();
        run(&model, &mut adam, &ema, 3..6);
        assert_eq!(bits(&resumed), bits(&params), "on {device}");
        let now = params.get("head.weight").unwrap().get().to_f64().unwrap();
        let averaged = params.get("ema.head.weight").unwrap().get().to_f64().unwrap();
        assert_ne!(now, averaged);
        let inside = ema.with(|| resumed.get("head.weight")?.get().to_f64()).unwrap();
        assert_eq!(inside, averaged);
        assert_eq!(resumed.get("head.weight").unwrap().get().to_f64().unwrap(), now);
    }
}

#[test]
fn gradients_of_parts_add_to_that_of_the_whole() {
    let params = Params::new_f64(5);
    let layer = Linear::new(&params, 3, 2).unwrap();
    let data: Vec<f64> = (0..18).map(|i| f64::from(i).sin()).collect();
    let x = Tensor::from_slice(&Device::cpu(), &data, [6, 3]).unwrap();
    let loss = |x: &Tensor| layer.forward(x)?.square()?.sum(&[], false);
    let whole = loss(&x).unwrap().backward().unwrap();
    let mut sum = Gradients::default();
    for start in [0, 2, 4] {
        sum.add(loss(&x.slice(0, start, start + 2).unwrap()).unwrap().backward().unwrap()).unwrap();
    }
    let sum = sum.scaled(0.5).unwrap();
    for p in params.trainable() {
        let (whole, sum) =
            (whole.get(&p.get()).unwrap().to_f64().unwrap(), sum.get(&p.get()).unwrap().to_f64().unwrap());
        assert!(whole.iter().zip(&sum).all(|(w, s)| (w - 2.0 * s).abs() <= 1e-14 * w.abs().max(1.0)));
    }
}

#[test]
fn a_checkpoint_moves_between_devices_and_its_bytes_repeat() {
    let folder = Folder::new("devices");
    let mut files = vec![];
    for (k, device) in devices().into_iter().chain([Device::cpu()]).enumerate() {
        let params = Params::new(&device, 5);
        network(&params).unwrap();
        let mut adam = Adam::new(&params, 0.1).unwrap();
        if let Some(last) = files.last() {
            Checkpoint::load(last, &params, Some(&mut adam)).unwrap();
        } else {
            let loss = params.get("head.bias").unwrap().get().square().unwrap().sum(&[], false).unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
        }
        let path = folder.file(&format!("{k}"));
        Checkpoint { step: 1, ..Default::default() }.save(&path, &params, Some(&adam)).unwrap();
        files.push(path);
    }
    let first = std::fs::read(&files[0]).unwrap();
    for file in &files {
        assert!(std::fs::read(file).unwrap() == first, "{}", file.display());
    }
}

#[test]
fn models_start_with_the_same_bits_on_every_device_in_any_order() {
    let mut all = vec![];
    for device in devices() {
        let params = Params::new(&device, 11);
        network(&params).unwrap();
        all.push(bits(&params));
        let other = Params::new(&device, 11);
        let head = Linear::new(&other.at("head"), 64, 3).unwrap();
        let expected = params.get("head.weight").unwrap().get().to_vec::<f32>().unwrap();
        assert_eq!(head.weight.get().to_vec::<f32>().unwrap(), expected);
    }
    assert!(all.iter().all(|bits| *bits == all[0]));
}

#[test]
fn every_layer_learns_on_every_device() {
    for device in devices() {
        for make in OPTIMIZERS {
            let params = Params::new(&device, 3);
            let model = network(&params).unwrap();
            let before: Vec<_> = params.trainable().iter().map(|p| p.get().to_f64().unwrap()).collect();
            let mut optimizer = make(&params).unwrap();
            let first = train(&model, &device, 0..1, &mut *optimizer);
            let last = train(&model, &device, 1..41, &mut *optimizer);
            assert!(last < 0.6 * first, "{device}: {first} to {last}");
            for (p, before) in params.trainable().iter().zip(before) {
                assert_ne!(p.get().to_f64().unwrap(), before, "{} did not move", p.path());
            }
        }
    }
}

#[test]
fn thousands_of_updates_leave_memory_flat() {
    let device = Device::auto().unwrap();
    let Some(gpu) = device.as_gpu() else { return };
    let params = Params::new(&device, 3);
    let w = params.parameter("w", [33, 3], Init::Ones).unwrap();
    let mut adam = Adam::new(&params, 1e-3).unwrap();
    let mut step = || {
        let loss = w.get().square().unwrap().sum(&[], false).unwrap();
        adam.step(&loss.backward().unwrap()).unwrap();
    };
    (0..50).for_each(|_| step());
    let before = gpu.pool_stats();
    (0..2000).for_each(|_| step());
    let after = gpu.pool_stats();
    assert_eq!((after.live, after.created), (before.live, before.created));
}

#[test]
fn batch_norm_moves_its_running_statistics_as_torch_does() {
    for device in devices() {
        let params = Params::new(&device, 0);
        let norm = BatchNorm::new(&params.at("norm"), 2).unwrap();
        let x = Tensor::from_slice(&device, &[1.0f32, 10.0, 2.0, 20.0, 6.0, 60.0], [3, 2]).unwrap();
        let y = norm.forward(&x, Mode::Train).unwrap().to_f64().unwrap();
        assert!((y[0] + 2.0 / (14.0f64 / 3.0).sqrt()).abs() < 1e-5, "{y:?}");
        // Mean 3 and 30; unbiased variance 7 and 700; a tenth of the way from 0 and from 1.
        let close = |p: &Parameter, expected: [f64; 2]| {
            let found = p.get().to_f64().unwrap();
            assert!(found.iter().zip(expected).all(|(f, e)| (f / e - 1.0).abs() < 1e-6), "{found:?}");
        };
        close(&norm.running_mean, [0.3, 3.0]);
        close(&norm.running_var, [1.6, 70.9]);
        let judged = norm.forward(&x, Mode::Eval).unwrap().to_f64().unwrap();
        assert!((judged[0] - 0.7 / 1.60001f64.sqrt()).abs() < 1e-5);
        close(&norm.running_mean, [0.3, 3.0]);
        assert!(!norm.running_var.get().is_tracked());
        let one = x.slice(0, 0, 1).unwrap();
        assert!(matches!(norm.forward(&one, Mode::Train), Err(Error::Shape { .. })));
        assert_eq!((params.count(), params.buffers().len()), (4, 2));
    }
}

#[test]
fn params_reject_what_has_no_meaning() {
    let params = Params::new(&Device::cpu(), 0);
    let part = params.at("block").at(3);
    part.parameter("weight", [2, 3], Init::he()).unwrap();
    assert_eq!(part.all()[0].path(), "block.3.weight");
    assert!(params.at("bloc").all().is_empty());
    let argument = |result: Result<Parameter>| match result {
        Err(Error::Argument { given, .. }) => given,
        other => panic!("{other:?}"),
    };
    let again = argument(params.parameter("block.3.weight", [1], Init::Ones));
    assert!(again.contains("`block.3.weight` is defined twice"), "{again}");
    for path in ["", "a b", "a..b", ".a", "optim", "optim.a", "µ"] {
        argument(params.parameter(path, [1], Init::Ones));
    }
    argument(params.parameter("n", [1], Init::Normal { mean: 0.0, std: f64::NAN }));
    argument(params.parameter("n", [1], Init::Uniform { low: 2.0, high: 1.0 }));
    assert!(matches!(params.parameter("n", [4], Init::he()), Err(Error::Shape { .. })));
    assert!(matches!(part.all()[0].set(&part.all()[0].get().t().unwrap()), Err(Error::Shape { .. })));
    assert!(params.get("block.3.bias").is_err() && part.get("weight").is_ok());
    let table = params.to_string();
    assert!(table.contains("block.3.weight") && table.contains('6'), "{table}");
}

#[test]
fn optimisers_reject_what_has_no_meaning() {
    let params = Params::new(&Device::cpu(), 0);
    assert!(matches!(Adam::new(&params, 0.1), Err(Error::Argument { .. })));
    let x = params.parameter("x", [2], Init::Ones).unwrap();
    let unused = params.parameter("unused", [2], Init::Ones).unwrap();
    for lr in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(Sgd::new(&params, lr).is_err() && Adam::new(&params, lr).is_err());
    }
    let adam = || Adam::new(&params, 0.1).unwrap();
    assert!(adam().betas(1.0, 0.9).is_err() && adam().betas(0.9, -0.1).is_err());
    assert!(adam().eps(0.0).is_err() && adam().weight_decay(-0.1).is_err());
    assert!(Sgd::new(&params, 0.1).unwrap().momentum(1.0).is_err());
    let grouped = |group: Group| adam().group(|path| path == "x", group);
    assert!(grouped(Group { lr: -1.0, ..Group::default() }).is_err());
    assert!(grouped(Group { weight_decay: Some(f64::NAN), ..Group::default() }).is_err());
    assert!(adam().group(|path| path == "no such", Group::default()).is_err());
    assert!(Ema::new(&params, 1.0).is_err());

    let mut adam = adam();
    let foreign = Tensor::ones(&Device::cpu(), [2]).unwrap().variable().unwrap();
    let gradients = foreign.square().unwrap().sum(&[], false).unwrap().backward().unwrap();
    assert!(matches!(adam.step(&gradients), Err(Error::NoGradient { .. })));
    let gradients = x.get().square().unwrap().sum(&[], false).unwrap().backward().unwrap();
    adam.step(&gradients).unwrap();
    assert_eq!(unused.get().to_f64().unwrap(), [1.0, 1.0]);
    assert_eq!(adam.state().steps.into_iter().collect::<Vec<_>>(), [("x".to_string(), 1)]);
    // The value has been replaced: the old gradients are those of nothing.
    assert!(matches!(adam.step(&gradients), Err(Error::NoGradient { .. })));
    assert!(clip_grad_norm(gradients, -1.0).is_err());
}

/// Loads into a model with an Adam and says what went wrong; checks that nothing changed.
fn refuses(path: &Path, build: impl Fn(&Params)) -> String {
    let params = Params::new(&Device::cpu(), 1);
    build(&params);
    let mut adam = Adam::new(&params, 0.5).unwrap();
    let before = bits(&params);
    let error = Checkpoint::load(path, &params, Some(&mut adam)).unwrap_err();
    assert_eq!(bits(&params), before);
    assert!(adam.state().steps.is_empty() && adam.lr() == 0.5);
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(matches!(error, Error::Format { .. } | Error::Io { .. }), "{text}");
    text
}

#[test]
fn a_file_that_does_not_fit_changes_nothing() {
    let folder = Folder::new("refused");
    let path = folder.file("run.safetensors");
    let define = |params: &Params, name: &str, n: usize| {
        params.parameter(name, [n], Init::Normal { mean: 0.0, std: 1.0 }).unwrap();
    };
    let two = |params: &Params| {
        define(params, "a", 2);
        define(params, "b", 3);
    };
    let params = Params::new(&Device::cpu(), 0);
    two(&params);
    let mut adam = Adam::new(&params, 0.1).unwrap();
    for p in params.all() {
        adam.step(&p.get().square().unwrap().sum(&[], false).unwrap().backward().unwrap()).unwrap();
    }
    let run = Checkpoint::default();
    run.save(&path, &params, Some(&adam)).unwrap();
    assert!(std::fs::read_dir(&folder.0).unwrap().count() == 1, "a temporary file was left behind");

    let missing =
        refuses(&path, |p| [("a", 2), ("b", 3), ("c", 1)].iter().for_each(|(n, k)| define(p, n, *k)));
    assert!(missing.contains("no tensor `c`"), "{missing}");
    let extra = refuses(&path, |p| define(p, "a", 2));
    assert!(extra.contains("`b` is not in the model"), "{extra}");
    let shape = refuses(&path, |p| [("a", 2), ("b", 4)].iter().for_each(|(n, k)| define(p, n, *k)));
    assert!(shape.contains("`b` is [3] F32, the model's is [4] f32"), "{shape}");
    assert!(refuses(&folder.file("none"), two).contains("cannot access"));

    let whole = std::fs::read(&path).unwrap();
    let broken = folder.file("broken");
    for cut in [0, 5, 8, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&broken, &whole[..cut]).unwrap();
        assert!(refuses(&broken, two).contains("not a whole safetensors file"));
    }
    std::fs::write(&broken, [&whole[..], b"more"].concat()).unwrap();
    refuses(&broken, two);

    run.save(&broken, &params, None).unwrap();
    assert!(refuses(&broken, two).contains("no state of an optimiser"));
    let sgd = Sgd::new(&params, 0.1).unwrap();
    run.save(&broken, &params, Some(&sgd)).unwrap();
    let kind = refuses(&broken, two);
    assert!(kind.contains("`sgd`") && kind.contains("`adam`"), "{kind}");
    params.save(&broken).unwrap();
    assert!(refuses(&broken, two).contains("a model without a run"));

    // The part that one wants is there whole: a model alone, from a file of a run.
    let model = Params::new(&Device::cpu(), 9);
    two(&model);
    model.load(&path).unwrap();
    assert_eq!(bits(&model), bits(&params));
    let unwritable = params.save(folder.file("no/such/folder"));
    assert!(matches!(unwritable, Err(Error::Io { .. })));
}

#[test]
fn a_handle_loads_its_own_part() {
    let folder = Folder::new("part");
    let path = folder.file("model.safetensors");
    let (old, new) = (Params::new(&Device::cpu(), 1), Params::new(&Device::cpu(), 2));
    for params in [&old, &new] {
        Linear::new(&params.at("body"), 3, 2).unwrap();
    }
    Linear::new(&old.at("head"), 2, 5).unwrap();
    Linear::new(&new.at("head"), 2, 7).unwrap();
    old.save(&path).unwrap();
    assert!(new.load(&path).is_err());
    let head = bits(&new.at("head"));
    new.at("body").load(&path).unwrap();
    assert_eq!(bits(&new.at("body")), bits(&old.at("body")));
    assert_eq!(bits(&new.at("head")), head);
    let mut sgd = Sgd::new(&new.at("head"), 0.1).unwrap();
    let body = new.get("body.weight").unwrap().get().square().unwrap().sum(&[], false).unwrap();
    assert!(sgd.step(&body.backward().unwrap()).is_err());
}
