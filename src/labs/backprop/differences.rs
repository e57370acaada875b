//! C3.2: what a difference quotient gets wrong, and where.

use super::network::{direction, doubles, inner, loss, moved, parameters, refs};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::{double, largest, slope};
use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, Plot, Rule, Series};
use crate::tensor::Tensor;

/// How many directions are tried.
const DIRECTIONS: usize = 8;

/// A function of the network's parameters at a point, the point, and some directions.
struct Point {
    p: Vec<Tensor>,
    x: Tensor,
    y: Tensor,
    directions: Vec<Vec<Tensor>>,
}

/// The errors at one step h, one for each direction.
type Errors = Vec<f64>;

impl Point {
    fn doubled(&self) -> Result<Point> {
        let directions: Result<_> = self.directions.iter().map(|v| doubles(v)).collect();
        Ok(Point { p: doubles(&self.p)?, x: double(&self.x)?, y: double(&self.y)?, directions: directions? })
    }

    /// f(θ + h·v).
    fn value(&self, v: &[Tensor], h: f64) -> Result<f64> {
        loss(&moved(&self.p, v, h)?, &self.x, &self.y)?.item()
    }

    /// ⟨∇f, v⟩ for each direction, by reverse mode.
    fn slopes(&self) -> Result<Vec<f64>> {
        let p: Result<Vec<Tensor>> = self.p.iter().map(Tensor::variable).collect();
        let p = p?;
        let gradient = loss(&p, &self.x, &self.y)?.grad(&refs(&p))?;
        self.directions.iter().map(|v| Ok(inner(&gradient, v)?.0)).collect()
    }

    /// How far the quotients with step h are from `truth`.
    fn errors(&self, lab: &Lab, h: f64, truth: &[f64]) -> Result<Errors> {
        let each = self.directions.iter().zip(truth);
        each.map(|(v, truth)| {
            let quotient = if lab.with("symmetry") {
                (self.value(v, h)? - self.value(v, -h)?) / (2.0 * h)
            } else {
                (self.value(v, h)? - self.value(v, 0.0)?) / h
            };
            Ok((quotient - truth).abs())
        })
        .collect()
    }

    /// f(θ + i·h·v) in complex arithmetic, whose imaginary part over h has no cancellation, so that h may be tiny.
    fn complex_step(&self, v: &[Tensor], h: f64) -> Result<f64> {
        let layers = self.p.len() / 2;
        let (mut re, mut im) = (self.x.clone(), self.x.full_like(0.0)?);
        for (layer, (wb, dwb)) in self.p.chunks(2).zip(v.chunks(2)).enumerate() {
            let (dw, db) = (dwb[0].mul_scalar(h)?, dwb[1].mul_scalar(h)?);
            let real = re.matmul_bias(&wb[0], &wb[1])?.sub(&im.matmul(&dw)?)?;
            let imaginary = re.matmul_bias(&dw, &db)?.add(&im.matmul(&wb[0])?)?;
            (re, im) = (real, imaginary);
            if layer + 1 < layers {
                // tanh(a + ib) with t = tanh a and s = tan b is (t(1 + s²) + i s(1 − t²)) / (1 + t²s²).
                let (t, s) = (re.tanh()?, im.sin()?.div(&im.cos()?)?);
                let (t2, s2) = (t.square()?, s.square()?);
                let below = t2.mul(&s2)?.add_scalar(1.0)?;
                re = t.mul(&s2.add_scalar(1.0)?)?.div(&below)?;
                im = s.mul(&t2.neg()?.add_scalar(1.0)?)?.div(&below)?;
            }
        }
        Ok(re.sub(&self.y)?.mul(&im)?.mean(&[], false)?.mul_scalar(2.0)?.item()? / h)
    }
}

/// The root of the mean square.
fn rms(errors: &Errors) -> f64 {
    (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt()
}

/// From 1 down to 10^−`decades` by half decades.
fn steps(decades: i32) -> Vec<f64> {
    (0..=2 * decades).map(|k| 10f64.powf(-0.5 * f64::from(k))).collect()
}

/// C3.2.
pub(super) fn anatomy(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let p = parameters(lab, 318, &[6, 16, 16, 1])?;
    let directions: Result<Vec<_>> = (0..DIRECTIONS).map(|k| direction(lab, 326 + k as u64, &p)).collect();
    let (x, y) = (lab.normal(324, [8, 6])?, lab.normal(325, [8, 1])?);
    let single = Point { p, x, y, directions: directions? };
    let point = single.doubled()?;
    let truth = point.slopes()?;
    let h = steps(12);
    let errors: Result<Vec<Errors>> = h.iter().map(|&h| point.errors(lab, h, &truth)).collect();
    let errors = errors?;
    let size: Vec<f64> = errors.iter().map(rms).collect();
    let best = (0..h.len()).fold(0, |best, k| if size[k] < size[best] { k } else { best });

    // Taylor's remainder |f(θ + hv) − f(θ) − h⟨∇f, v⟩|, which a wrong gradient turns from h² into h.
    let taylor_steps = &h[2..9];
    let mut remainders = Vec::new();
    for &h in taylor_steps {
        let each: Result<Errors> = point
            .directions
            .iter()
            .zip(&truth)
            .map(|(v, slope)| Ok((point.value(v, h)? - point.value(v, 0.0)? - h * slope).abs()))
            .collect();
        remainders.push(rms(&each?));
    }
    let mut complex = Vec::new();
    for (v, truth) in point.directions.iter().zip(&truth) {
        complex.push((point.complex_step(v, 1e-30)? - truth).abs());
    }
    let single_h = steps(6);
    let single_errors: Result<Vec<Errors>> =
        single_h.iter().map(|&h| single.errors(lab, h, &truth)).collect();
    let single_errors = single_errors?;
    let backprop: Errors =
        single.slopes()?.iter().zip(&truth).map(|(single, truth)| (single - truth).abs()).collect();
    let single_best = single_errors.iter().map(rms).fold(f64::INFINITY, f64::min);

    let source = "Griewank & Walther 2008";
    chapter
        .claim(
            Claim::check(
                "C3.2",
                lab.say(
                    "The error of a central difference against h, in f64: slope 2 where it is truncation (h from 10⁻¹ \
                     to 10⁻³), slope −1 where it is rounding (h from 10⁻⁸·⁵ to 10⁻¹²)",
                    "f64 下中心差商的误差随 h 的变化：截断占优处（h 从 10⁻¹ 到 10⁻³）斜率为 2，舍入占优处（h 从 10⁻⁸·⁵ 到 10⁻¹²）斜率为 −1",
                ),
                source,
                [2.0, -1.0],
                [slope(&h[2..7], &size[2..7]), slope(&h[17..], &size[17..])],
                Tolerance::Each(vec![Tolerance::Absolute(0.05), Tolerance::Absolute(0.15)]),
            )
            .formula(r"\frac{f(θ+hv) - f(θ-hv)}{2h} - \langle \nabla f, v \rangle = c h^2 + O\left(\frac{ε}{h}\right)")
            .parts([lab.say("truncation", "截断"), lab.say("rounding", "舍入")]),
        )
        .claim(
            Claim::check(
                "C3.2.minimum",
                lab.say(
                    "The least error is about ε^(2/3), at h about ε^(1/3): at most 3·10⁻¹⁰, at an h from 10⁻⁷ to 10⁻⁴",
                    "最小误差约为 ε^(2/3)，出现在 h 约为 ε^(1/3) 处：不超过 3·10⁻¹⁰，且 h 在 10⁻⁷ 与 10⁻⁴ 之间",
                ),
                source,
                [3e-10, f64::EPSILON.cbrt()],
                [size[best], h[best]],
                Tolerance::Each(vec![Tolerance::AtMost, Tolerance::Between(1e-7, 1e-4)]),
            )
            .parts([lab.say("least error", "最小误差"), lab.say("at the step h", "对应的步长 h")]),
        )
        .claim(
            Claim::check(
                "C3.2.taylor",
                lab.say(
                    "What the gradient leaves of f is of second order: slope of the remainder",
                    "用梯度作线性近似后，余项是二阶的：余项的斜率",
                ),
                source,
                2.0,
                slope(taylor_steps, &remainders),
                Tolerance::Absolute(0.05),
            )
            .formula(r"|f(θ + hv) - f(θ) - h \langle \nabla f, v \rangle| \propto h^2"),
        )
        .claim(
            Claim::check(
                "C3.2.complex",
                lab.say(
                    "A complex step of 10⁻³⁰ has nothing to cancel and agrees with reverse mode to rounding (largest \
                     difference, f64)",
                    "取复步长 10⁻³⁰ 则没有相消，结果与反向模式只差舍入误差（最大差，f64）",
                ),
                "Squire & Trapp 1998",
                0.0,
                largest(complex.iter().copied()),
                Tolerance::Absolute(1e-15),
            )
            .formula(r"\frac{\operatorname{Im} f(θ + i h v)}{h} = \langle \nabla f, v \rangle + O(h^2)"),
        )
        .claim(Claim::check(
            "C3.2.f32",
            lab.say(
                "In f32 on the device, reverse mode is at least ten times as accurate as the best of all central \
                 differences (ratio of errors; theory says about ε^(−1/3) = 200)",
                "在设备的 f32 下，反向模式的精度至少是最好的中心差商的十倍（误差之比；理论值约为 ε^(−1/3) = 200）",
            ),
            source,
            10.0,
            single_best / rms(&backprop),
            Tolerance::AtLeast,
        ));
    chapter.method(lab.say(
        "C3.2: a network 6-16-16-1 with tanh on 8 examples, mean square loss, eight random directions of length one; \
         slopes are those of the root mean square over the directions, least squares on log–log. The same bits of \
         the parameters were used in f64 on the CPU reference and in f32 on the device.",
        "C3.2：6-16-16-1 的 tanh 网络，8 个样本，均方损失，八个单位长的随机方向；斜率取各方向误差的均方根，在双对数坐标下以最小二乘拟合。\
         CPU 参考实现的 f64 与设备上的 f32 使用逐位相同的参数。",
    ));
    figure(lab, chapter, (&h, &errors), (&single_h, &single_errors), [rms(&backprop), rms(&complex)]);
    Ok(())
}

fn figure(
    lab: &Lab,
    chapter: &mut Chapter,
    (h, errors): (&[f64], &[Errors]),
    (single_h, single_errors): (&[f64], &[Errors]),
    [backprop, complex]: [f64; 2],
) {
    let curve = |name: &'static str, h: &[f64], errors: &[Errors], colour: usize| {
        let at = |f: fn(f64, f64) -> f64, start: f64| {
            errors.iter().map(|e| e.iter().copied().fold(start, f)).collect::<Vec<f64>>()
        };
        // A difference that happens to be exact has no place on a logarithmic axis.
        let low: Vec<f64> = at(f64::min, f64::INFINITY).iter().map(|e| e.max(1e-17)).collect();
        Series::line(name, h.iter().copied().zip(errors.iter().map(rms)))
            .dots()
            .band(low.into_iter().zip(at(f64::max, 0.0)))
            .colour(colour)
    };
    let c = rms(&errors[4]) / h[4].powi(2);
    let line = |name: &'static str, f: &dyn Fn(f64) -> f64, low: f64, high: f64| {
        let ends = [low, high].map(|h| (h, f(h)));
        Series::line(name, ends).dashed().colour(2)
    };
    let last = h.len() - 1;
    let rounding = rms(&errors[last]) * h[last];
    let plot = Plot::new(
        Axis::new(lab.say("step h", "步长 h")).log(),
        Axis::new(lab.say("error of ⟨∇f, v⟩", "⟨∇f, v⟩ 的误差")).log().range(1e-18, 10.0),
    )
    .series(curve(lab.say("central difference, f64", "中心差商，f64"), h, errors, 0))
    .series(curve(lab.say("central difference, f32", "中心差商，f32"), single_h, single_errors, 1))
    .series(line(lab.say("slope 2", "斜率 2"), &|h| c * h * h, 3e-6, 1.0))
    .series(line(lab.say("slope −1", "斜率 −1"), &|h| rounding / h, 1e-12, 3e-5).colour(3))
    .rule(Rule::horizontal(backprop, lab.say("backpropagation, f32", "反向传播，f32")))
    .rule(Rule::horizontal(complex.max(2e-18), lab.say("backpropagation, f64", "反向传播，f64")));
    chapter.figure(
        Figure::new(lab.say("A difference can only lose", "差商总是顾此失彼"), plot)
            .caption(lab.say(
                "Error of central differences against the step, root mean square over eight directions (band: least \
                 and largest). From the right truncation falls as $h^2$, from the left rounding as $ε/h$; \
                 reverse mode, the horizontal lines, has no step to choose. The f64 line is its difference from a \
                 complex step.",
                "中心差商的误差随步长的变化，取八个方向的均方根（色带为最小与最大）。从右往左截断误差按 $h^2$ 下降，\
                 从左往右舍入误差按 $ε/h$ 下降；水平线是反向模式，它没有步长可选。f64 的水平线是它与复步长结果之差。",
            ))
            .alt(lab.say(
                "Two V-shaped curves of error against step, for f64 and f32, far above two horizontal lines for \
                 backpropagation",
                "误差随步长变化的两条 V 形曲线（f64 与 f32），远高于代表反向传播的两条水平线",
            ))
            .wide(),
    );
}
