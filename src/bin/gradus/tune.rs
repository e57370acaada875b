//! `gradus tune`: kernels measured on the user's shapes, and the fastest kept.

use crate::Cli;
use crate::bench::{timed, workloads};
use gradus::gpu::Choice;
use gradus::nn::{Gru, LayerNorm, Lstm, Mode, Module, Params, RecurrentOptions};
use gradus::ops::Conv2dOptions;
use gradus::ops::random::Stream;
use gradus::{DType, Device, Error, Result, Tensor};
use workloads::Run;

#[derive(clap::Args)]
pub struct Args {
    /// Shapes: matmul/64x784x256, conv2d/n32c16h28o32k3s1, softmax/4096x512, sum/4096x512, layer_norm/4096x512,
    /// lstm/t32b16i64h128, gru/t32b16i64h128, each with its gradient; or parts of names of `gradus bench`. Without
    /// any, all that `gradus bench` times.
    #[arg(value_name = "SHAPE|FILTER")]
    what: Vec<String>,
}

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    let device = Device::select(&cli.device)?;
    let Some(gpu) = device.as_gpu() else {
        return Err(Error::Argument {
            op: "tune",
            given: device.to_string(),
            remedy: "Name an adapter: only its kernels have variants.".into(),
        });
    };
    let mut runs = Vec::new();
    let filters: Vec<&str> =
        if args.what.is_empty() { vec![""] } else { args.what.iter().map(String::as_str).collect() };
    for what in filters {
        match shape(&device, what) {
            Some(run) => runs.push((what.to_owned(), run?)),
            None => {
                let before = runs.len();
                for one in workloads::all().into_iter().filter(|one| one.name.contains(what)) {
                    runs.push((one.name, (one.make)(&device, DType::F32)?));
                }
                if runs.len() == before {
                    return Err(Error::Argument {
                        op: "tune",
                        given: format!("'{what}' is neither a shape nor part of a workload's name"),
                        remedy: "See `gradus tune --help`.".into(),
                    });
                }
            }
        }
    }
    if !cli.json {
        println!(
            "{device}\n\n{:44} {:22} {:>12} {:>12}",
            "operation and sizes", "chosen", "ms", "of table's"
        );
    }
    let mut choices: Vec<Choice> = Vec::new();
    for (_, run) in &mut runs {
        let report = |choice: &Choice| {
            if !cli.json {
                print(choice);
            }
        };
        // By the device's own clock, where it has one.
        let work = || timed(&device, run).map(|(wall, own)| own.unwrap_or(wall));
        choices.extend(gpu.tune(work, report)?);
    }
    let path = gpu.keep_choices()?;
    if cli.json {
        println!("{}", serde_json::json!({ "file": path, "choices": choices }));
    } else {
        println!(
            "\nKept in {}, which devices on this adapter read from now on. Delete it to undo.",
            path.display()
        );
    }
    Ok(true)
}

/// The work with each variant is that of all kernels in it.
fn print(choice: &Choice) {
    let seconds = |name: &str| choice.trials.iter().find(|one| one.0 == name).map_or(f64::NAN, |one| one.1);
    let (chosen, table) = (seconds(&choice.chosen), choice.trials.first().map_or(f64::NAN, |one| one.1));
    println!("{:44} {:22} {:12.3} {:12.2}", choice.shape, choice.chosen, chosen * 1e3, chosen / table);
}

/// An operation and its gradient on a shape, if that is what the words are.
fn shape(device: &Device, words: &str) -> Option<Result<Run>> {
    let (name, sizes) = words.split_once('/')?;
    let numbers: Option<Vec<usize>> = sizes
        .split(|c: char| !c.is_ascii_digit())
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().ok())
        .collect();
    match (name, &numbers?[..]) {
        ("matmul", &[m, k, n]) => Some(pair(device, &[m, k], &[k, n], |a, b| a.matmul(b))),
        ("conv2d", &[n, c, h, o, k, s]) => {
            let options = Conv2dOptions::default().stride([s, s]).padding([k / 2, k / 2]);
            Some(pair(device, &[n, c, h, h], &[o, c, k, k], move |x, w| x.conv2d(w, None, options)))
        }
        ("softmax", &[rows, terms]) => Some(pair(device, &[rows, terms], &[1], |x, _| x.softmax(1))),
        ("sum", &[rows, terms]) => Some(pair(device, &[rows, terms], &[1], |x, _| x.sum(&[1], true))),
        ("layer_norm", &[rows, terms]) => {
            let layer = LayerNorm::new(&Params::new(device, 7), [terms]);
            Some(layer.and_then(|l| pair(device, &[rows, terms], &[1], move |x, _| l.forward(x))))
        }
        ("lstm" | "gru", &[t, b, i, h]) => {
            let (params, options) = (Params::new(device, 7), RecurrentOptions::default());
            let layer: Result<Box<dyn Module>> = if name == "lstm" {
                Lstm::with(&params, i, h, options).map(|l| Box::new(l) as _)
            } else {
                Gru::with(&params, i, h, options).map(|l| Box::new(l) as _)
            };
            Some(layer.and_then(|l| pair(device, &[t, b, i], &[1], move |x, _| l.forward(x, Mode::Eval))))
        }
        _ => None,
    }
}

/// A function of two tensors, and the gradients of both as far as it depends on them.
fn pair(
    device: &Device,
    a: &[usize],
    b: &[usize],
    f: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + 'static,
) -> Result<Run> {
    let normal = |stream, shape: &[usize]| {
        Tensor::normal_in(device, DType::F32, shape, Stream { seed: 0, stream })?.variable()
    };
    let (a, b) = (normal(1, a)?, normal(2, b)?);
    Ok(Box::new(move || {
        let y = f(&a, &b)?;
        let inputs = if b.count() > 1 { vec![&a, &b] } else { vec![&a] };
        let mut all = y.pull_back(&y.detach(), &inputs)?;
        all.push(y.detach());
        Ok(all)
    }))
}
