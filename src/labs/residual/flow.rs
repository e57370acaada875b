//! C4.3: a residual network as a method for a differential equation.

use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{double, slope};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Series};
use crate::tensor::Tensor;

const WIDTH: usize = 16;
const DEPTHS: [usize; 5] = [8, 16, 32, 64, 128];

/// ‖a − b‖ over all elements.
fn distance(a: &Tensor, b: &[f64]) -> Result<f64> {
    Ok(a.to_f64()?.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt())
}

/// y + h·F(y), `steps` times: a residual network with one evaluation a block.
fn euler_steps(f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor, steps: usize) -> Result<Tensor> {
    let h = 1.0 / steps as f64;
    (0..steps).try_fold(x.clone(), |y, _| y.add(&f(&y)?.mul_scalar(h)?)?.contiguous())
}

/// y + ½h·(F(y) + F(y + h·F(y))): two evaluations a block.
fn heun_steps(f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor, steps: usize) -> Result<Tensor> {
    let h = 1.0 / steps as f64;
    (0..steps).try_fold(x.clone(), |y, _| {
        let k = f(&y)?;
        let ahead = f(&y.add(&k.mul_scalar(h)?)?)?;
        y.add(&k.add(&ahead)?.mul_scalar(0.5 * h)?)?.contiguous()
    })
}

/// The flow at time one, by the classical method of Runge and Kutta with so many steps that in f64 nothing else shows.
fn flow(f: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let steps = 512;
    let h = 1.0 / f64::from(steps);
    (0..steps).try_fold(x.clone(), |y, _| {
        let k1 = f(&y)?;
        let k2 = f(&y.add(&k1.mul_scalar(0.5 * h)?)?)?;
        let k3 = f(&y.add(&k2.mul_scalar(0.5 * h)?)?)?;
        let k4 = f(&y.add(&k3.mul_scalar(h)?)?)?;
        let sum = k1.add(&k2.add(&k3)?.mul_scalar(2.0)?)?.add(&k4)?;
        y.add(&sum.mul_scalar(h / 6.0)?)?.contiguous()
    })
}

/// C4.3.
pub(super) fn euler(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let drawn = lab.normal(470, [WIDTH, WIDTH])?.mul_scalar(0.25)?;
    let a = drawn.sub(&drawn.t()?)?.contiguous()?;
    let w = lab.normal(471, [WIDTH, WIDTH])?.mul_scalar(0.5)?.contiguous()?;
    let x = lab.normal(472, [1, WIDTH])?.contiguous()?;
    let (a64, w64, x64) = (double(&a)?, double(&w)?, double(&x)?);

    // The exponential series: A is small enough for it to converge at once.
    let (mut term, mut end) = (x64.clone(), x64.clone());
    for k in 1..=40 {
        term = term.matmul(&a64)?.mul_scalar(1.0 / f64::from(k))?;
        end = end.add(&term)?;
    }
    let constant = 0.5 * distance(&end.matmul(&a64)?.matmul(&a64)?, &[0.0; WIDTH])?;
    let exact = end.to_f64()?;
    let mut linear = Vec::new();
    for depth in DEPTHS {
        linear.push(distance(&euler_steps(&|x| x.matmul(&a), &x, depth)?, &exact)?);
    }
    let ratios: Vec<f64> = DEPTHS.iter().zip(&linear).map(|(l, e)| *l as f64 * e / constant).collect();

    let truth = flow(&|x| x.matmul(&w64)?.tanh(), &x64)?.to_f64()?;
    let field = |x: &Tensor| x.matmul(&w)?.tanh();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for depth in DEPTHS {
        first.push(distance(&euler_steps(&field, &x, depth)?, &truth)?);
        second.push(distance(&heun_steps(&field, &x, depth)?, &truth)?);
    }
    let depths = DEPTHS.map(|l| l as f64);
    let source = "Hairer, Nørsett & Wanner 1993; E 2017; Haber & Ruthotto 2017";
    chapter
        .claim(
            Claim::check(
                "C4.3",
                lab.say(
                    "A linear residual network with blocks 1 + A/L approaches e^A x with an error of ½‖A²e^A x‖/L \
                     (ratio of the two at L = 128)",
                    "线性残差网络每块为 1 + A/L，以误差 ½‖A²e^A x‖/L 逼近 e^A x（L = 128 时两者之比）",
                ),
                source,
                1.0,
                ratios[4],
                Tolerance::Relative(0.05),
            )
            .formula(r"L \left‖ \left(1 + \frac{A}{L}\right)^L x - e^A x \right‖ \to \frac{1}{2} \left‖ A^2 e^A x \right‖"),
        )
        .claim(
            Claim::check(
                "C4.3.order",
                lab.say(
                    "For the field tanh(Wx): exponent of the error in L, with one evaluation a block and with two",
                    "对向量场 tanh(Wx)：误差关于 L 的指数，每块分别求值一次与两次",
                ),
                source,
                [-1.0, -2.0],
                // The first depth is not asymptotic, and beyond 64 f32 shows in Heun's error.
                [slope(&depths[1..], &first[1..]), slope(&depths[1..4], &second[1..4])],
                Tolerance::Each(vec![Tolerance::Absolute(0.05), Tolerance::Absolute(0.1)]),
            )
            .parts([lab.say("Euler", "欧拉"), "Heun"]),
        );
    let line = |name: &'static str, errors: &[f64], colour: usize| {
        Series::line(name, depths.into_iter().zip(errors.iter().copied())).dots().colour(colour)
    };
    let predicted = depths.map(|l| (l, constant / l));
    let plot =
        Plot::new(Axis::new(lab.say("blocks L", "块数 L")).log(), Axis::new(lab.say("error", "误差")).log())
            .series(line(lab.say("linear field, Euler", "线性场，欧拉"), &linear, 0))
            .series(Series::line("‖A²eᴬx‖/2L", predicted).dashed().colour(0))
            .series(line(lab.say("tanh(Wx), Euler", "tanh(Wx)，欧拉"), &first, 1))
            .series(line(lab.say("tanh(Wx), Heun", "tanh(Wx)，Heun"), &second, 2));
    chapter.figure(
        Figure::new(lab.say("A network as a flow", "网络即流"), plot)
            .caption(lab.say(
                "Distance of a residual network from the flow it discretises, against its depth. Dashed: the predicted \
                 constant of the linear field, nothing fitted.",
                "残差网络与它所离散的流之间的距离随深度的变化。虚线：线性场的理论常数，没有拟合任何参数。",
            ))
            .alt(lab.say(
                "Three straight lines on log–log axes, two of slope minus one and one of slope minus two",
                "双对数坐标上的三条直线，两条斜率为负一，一条为负二",
            )),
    );
    Ok(())
}
