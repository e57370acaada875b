//! L.4: full-batch gradient descent finds the edge of stability.

use crate::autodiff::hvp;
use crate::data::digits;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::moments;
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series};
use crate::labs::training::split;
use crate::nn::{Init, LayerInit, Linear, Mode, Module, Params, Sequential};
use crate::ops::lanczos;
use crate::optim::{Optimizer, Sgd};
use crate::tensor::Tensor;

const RATES: [f64; 3] = [0.1, 0.3, 0.5];
/// Steps between two measurements of the sharpness.
const BLOCK: usize = 60;
const BLOCKS: usize = 20;
/// Steps of Lanczos' method, which starts from the direction that was steepest before.
const LANCZOS: usize = 8;

/// A network, its data, and half the mean squared error.
struct Problem {
    params: Params,
    model: Sequential,
    x: Tensor,
    y: Tensor,
}

impl Problem {
    fn new(lab: &Lab) -> Result<Self> {
        let (set, _) = split(&digits()?, 100, lab.seed())?;
        let (count, pixels) = (set.len(), set.height * set.width);
        let x = Tensor::from_slice(lab.device(), &set.to_f32(), [count, pixels])?;
        let x = x.sub(&x.mean(&[0], true)?)?.contiguous()?;
        let mut y = vec![0.0f32; 10 * count];
        set.labels.iter().enumerate().for_each(|(i, label)| y[10 * i + usize::from(*label)] = 1.0);
        let y = Tensor::from_slice(lab.device(), &y, [count, 10])?;
        let params = Params::new(lab.device(), lab.seed());
        let init = LayerInit { weight: Init::LecunNormal, bias: true, bias_init: Some(Init::Zeros) };
        let model = Sequential::new()
            .add(Linear::with(&params.at("first"), pixels, 32, init)?)
            .add(Tensor::tanh)
            .add(Linear::with(&params.at("second"), 32, 32, init)?)
            .add(Tensor::tanh)
            .add(Linear::with(&params.at("readout"), 32, 10, init)?);
        Ok(Problem { params, model, x, y })
    }

    fn loss(&self) -> Result<Tensor> {
        let miss = self.model.forward(&self.x, Mode::Train)?.sub(&self.y)?;
        miss.square()?.sum(&[], false)?.mul_scalar(0.5 / self.x.shape()[0] as f64)
    }

    /// The largest eigenvalue of the Hessian, and its direction.
    fn sharpness(&self, start: &Tensor) -> Result<(f64, Tensor)> {
        let now: Vec<Tensor> = self.params.trainable().iter().map(|p| p.get().detach()).collect();
        let counts: Vec<usize> = now.iter().map(Tensor::count).collect();
        let at: Vec<&Tensor> = now.iter().collect();
        let product = |v: &Tensor| -> Result<Tensor> {
            let parts: Result<Vec<Tensor>> =
                v.split(&counts, 0)?.iter().zip(&now).map(|(v, p)| v.reshape(p.shape())).collect();
            let along = parts?;
            let hv = hvp(
                |values| self.params.with(values, || self.loss()),
                &at,
                &along.iter().collect::<Vec<_>>(),
            )?;
            let flat: Result<Vec<Tensor>> = hv.iter().map(|t| t.detach().reshape([t.count()])).collect();
            Tensor::concat(&flat?.iter().collect::<Vec<_>>(), 0)
        };
        let spectrum = lanczos(product, start, LANCZOS)?;
        let top = spectrum.values.len() - 1;
        Ok((spectrum.values[top], spectrum.vector(top)?))
    }
}

/// What one rate gave: sharpness times half the rate every [`BLOCK`] steps, and the loss before each step.
struct Run {
    sharpness: Vec<f64>,
    losses: Vec<f64>,
}

impl Run {
    /// The share of steps, from half the run on, after which the loss was larger.
    fn rises(&self) -> f64 {
        let late = &self.losses[self.losses.len() / 2..];
        late.windows(2).filter(|w| w[1] > w[0]).count() as f64 / (late.len() - 1) as f64
    }
}

/// L.4.
pub(super) fn stability(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let blocks = if lab.full() { 3 * BLOCKS } else { BLOCKS };
    let mut runs = Vec::new();
    for (index, rate) in RATES.into_iter().enumerate() {
        let problem = Problem::new(lab)?;
        let mut sgd = Sgd::new(&problem.params, rate)?;
        let mut direction = lab.normal(1040, [problem.params.count()])?;
        let mut run = Run { sharpness: vec![], losses: vec![] };
        for block in 0..blocks {
            let (sharpness, steepest) = problem.sharpness(&direction)?;
            direction = steepest;
            run.sharpness.push(0.5 * rate * sharpness);
            let mut losses = Vec::with_capacity(BLOCK);
            for _ in 0..BLOCK {
                let loss = problem.loss()?;
                sgd.step(&loss.backward()?)?;
                losses.push(loss.detach());
            }
            for loss in &losses {
                run.losses.push(loss.item()?);
            }
            lab.progress((index * blocks + block + 1) as u64, (RATES.len() * blocks) as u64);
        }
        runs.push(run);
    }
    let late = |run: &Run| moments(&run.sharpness[run.sharpness.len() - 8..]).0;
    let source = "Cohen et al. 2021";
    let last = |run: &Run| run.losses[run.losses.len() - 1] / run.losses[0];
    chapter
        .claim(
            Claim::check(
                "L.4",
                lab.say(
                    "Gradient descent brings the sharpness to where its own step is barely stable, from below or from \
                     above: ηλ/2 over the last 480 steps; a small step does not get there",
                    "梯度下降会把曲率带到自身步长恰好勉强稳定之处，无论起初低于还是高于它：最后 480 步的 ηλ/2；步长小则到不了",
                ),
                source,
                [1.0, 1.0, 0.6],
                [late(&runs[1]), late(&runs[2]), late(&runs[0])],
                Tolerance::Each(vec![
                    Tolerance::Between(0.95, 1.1),
                    Tolerance::Between(0.95, 1.1),
                    Tolerance::Below,
                ]),
            )
            .formula(r"\frac{η λ_{\max}(\nabla^2 L)}{2}")
            .parts(["η = 0.3", "η = 0.5", "η = 0.1"]),
        )
        .claim(
            Claim::check(
                "L.4.loss",
                lab.say(
                    "There the loss rises in more than one step of twenty and falls all the same; with the small step it \
                     never rises (share of late steps; last loss over first)",
                    "在那里，每二十步中有一步以上损失上升，而总体仍在下降；步长小时则从不上升（后半程上升步的比例；末损失与初损失之比）",
                ),
                source,
                [0.05, 0.05, 0.0, 0.5, 0.5],
                [runs[1].rises(), runs[2].rises(), runs[0].rises(), last(&runs[1]), last(&runs[2])],
                Tolerance::Each(vec![
                    Tolerance::Above,
                    Tolerance::Above,
                    Tolerance::Exact,
                    Tolerance::Below,
                    Tolerance::Below,
                ]),
            )
            .parts([
                lab.say("rises, η = 0.3", "上升比例，η = 0.3"),
                lab.say("rises, η = 0.5", "上升比例，η = 0.5"),
                lab.say("rises, η = 0.1", "上升比例，η = 0.1"),
                lab.say("last/first, η = 0.3", "末/初，η = 0.3"),
                lab.say("last/first, η = 0.5", "末/初，η = 0.5"),
            ]),
        );
    chapter.method(lab.language().pick(
        format!(
            "L.4: 100 centred digits, 64-32-32-10 with tanh, half the mean of the summed squares, {} steps of full-batch \
             descent. The sharpness is the top value of {LANCZOS} steps of Lanczos' method on exact Hessian-vector \
             products, every {BLOCK} steps, started from the last top direction.",
            blocks * BLOCK
        ),
        format!(
            "L.4：100 幅去均值的数字，64-32-32-10 的 tanh 网络，平方和之均值的一半，全批量下降 {} 步。\
             曲率每 {BLOCK} 步测一次：对精确的海森向量积作 {LANCZOS} 步 Lanczos 迭代，从上一次的最陡方向出发。",
            blocks * BLOCK
        ),
    ));
    let mut plot = Plot::new(Axis::new(lab.say("step", "步")), Axis::new("η λ / 2"));
    for (run, rate) in runs.iter().zip(RATES) {
        let points = run.sharpness.iter().enumerate().map(|(k, s)| ((k * BLOCK) as f64, *s));
        plot = plot.series(Series::line(format!("η = {rate}"), points).dots());
    }
    let plot = plot.rule(Rule::horizontal(1.0, lab.say("stability ends", "稳定的边界")));
    chapter.figure(
        Figure::new(lab.say("The edge of stability", "稳定性的边缘"), plot)
            .caption(lab.say(
                "Sharpness times half the step along gradient descent. Above the line a quadratic of that curvature \
                 would diverge.",
                "沿梯度下降路径的曲率乘以步长之半。在线之上，具有该曲率的二次函数便会发散。",
            ))
            .alt(lab.say(
                "Three curves of sharpness against step; two settle at one, the third stays below",
                "三条曲率随步数变化的曲线，两条停在一，第三条停在其下",
            )),
    );
    Ok(())
}
