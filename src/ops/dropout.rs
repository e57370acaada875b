//! Dropout: elements, channels or whole examples left out at random.
//!
//! What is left out is a function of the [`Stream`] and the index, by Philox: the same on every device and
//! in every pass with that stream. So nothing is stored for the gradient, which is the same operation on the
//! cotangent and makes the same choice again.

use crate::autodiff::At;
use crate::cpu::Array;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Shader, Source, shader, tape};
use crate::op::{self, Data, GpuView, Inputs, Meta, Op};
use crate::ops::Stream;
use crate::ops::random::{halves, philox::philox4x32_10};
use crate::real::Real;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

static DROPOUT: Shader = shader!("random/dropout.wgsl");

/// Keeps the counters of masks apart from those of random tensors.
pub(super) const TAG: u32 = u32::from_be_bytes(*b"drop");

/// Kept elements become scale·x + shift, the others `dropped`. `span` neighbours share their lot.
#[derive(Clone, Copy)]
struct Dropout {
    name: &'static str,
    stream: Stream,
    keep: f64,
    span: usize,
    scale: f64,
    shift: f64,
    dropped: f64,
}

impl Dropout {
    /// The upper 24 bits of a kept element's word are below this: the probability, as the mask has it.
    fn below(&self) -> u32 {
        (self.keep * f64::from(1 << 24)).round() as u32
    }

    fn keeps(&self, index: usize) -> bool {
        let unit = index / self.span;
        let [low, high] = halves(self.stream.stream);
        let words = philox4x32_10([(unit / 4) as u32, low, high, TAG], halves(self.stream.seed));
        words[unit % 4] >> 8 < self.below()
    }

    /// The derivative: linear in x, it scales the same elements and knows no constants.
    fn slope(&self, d: &Option<Tensor>) -> Result<Vec<Option<Tensor>>> {
        let slope = Dropout { shift: 0.0, dropped: 0.0, ..*self };
        d.as_ref()
            .map(|d| op::apply(slope, &[d])?.into_iter().map(|d| Ok(Some(d))).collect())
            .unwrap_or(Ok(vec![None]))
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct DropoutParams {
    count: u32,
    span: u32,
    below: u32,
    tag: u32,
    seed: [u32; 2],
    stream: [u32; 2],
    scale: f32,
    shift: f32,
    dropped: f32,
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rule(&self, inputs: &[Meta]) -> Result<Vec<Meta>> {
        Ok(vec![Meta::new(inputs[0].shape, inputs[0].dtype)])
    }

    fn reference<R: Real>(&self, inputs: &Inputs<R>, outputs: &[Meta]) -> Vec<Data<R>> {
        let x = inputs.real(0);
        let [scale, shift, dropped] = [self.scale, self.shift, self.dropped].map(R::from_f64);
        vec![Data::Real(Array::from_fn(outputs[0].shape, |i| {
            if self.keeps(i) { scale * x.data[i] + shift } else { dropped }
        }))]
    }

    fn plan(&self, gpu: &Gpu, inputs: &[GpuView], outputs: &[GpuView]) -> Result<()> {
        tape::refuse(gpu, self.name, "it would draw the same at every replay")?;
        let count = outputs[0].shape().count();
        let params = DropoutParams {
            count: count as u32,
            span: self.span as u32,
            below: self.below(),
            tag: TAG,
            seed: halves(self.stream.seed),
            stream: halves(self.stream.stream),
            scale: self.scale as f32,
            shift: self.shift as f32,
            dropped: self.dropped as f32,
        };
        gpu.dispatch(Dispatch {
            op: self.name,
            source: Source::File(&DROPOUT, &[]),
            params: bytemuck::bytes_of(&params),
            buffers: &op::buffers(inputs, outputs),
            groups: gpu.fold(count.div_ceil(4), 64),
        })
    }

    fn keeps(&self) -> (u32, u32) {
        (0, 0)
    }

    fn vjp(&self, _: &At, dy: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        self.slope(&dy[0])
    }

    fn jvp(&self, _: &At, dx: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        self.slope(&dx[0])
    }
}

/// What a dropped probability must be.
pub(crate) fn check_probability(op: &'static str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::argument(op, format!("probability {p}"), "What is dropped has a probability from 0 to 1."))
}

impl Tensor {
    fn dropped(&self, name: &'static str, p: f64, span: usize, stream: Stream) -> Result<Tensor> {
        self.require_float(name)?;
        check_probability(name, p)?;
        let keep = 1.0 - p;
        let scale = if keep > 0.0 { 1.0 / keep } else { 0.0 };
        let op = Dropout { name, stream, keep, span: span.max(1), scale, shift: 0.0, dropped: 0.0 };
        Ok(op::apply(op, &[self])?.swap_remove(0))
    }

    /// Inverted dropout: each element is zero with probability `p`, else x/(1 − p), so that the expectation
    /// is x.
    ///
    /// Float of any shape. The mask is a function of the stream and the element's row-major index: the same
    /// on every device and in every call; `p` counts as rounded to a multiple of 2⁻²⁴. Gradient: the same
    /// mask, made again, on the cotangent; nothing is kept. [`nn::Dropout`](crate::nn::Dropout) chooses
    /// streams.
    ///
    /// Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, JMLR 15.
    /// Errors: [`Error::Argument`] unless 0 ≤ p ≤ 1, [`Error::DType`].
    pub fn dropout(&self, p: f64, stream: Stream) -> Result<Tensor> {
        self.dropped("dropout", p, 1, stream)
    }

    /// Spatial dropout: each channel of each example is zero with probability `p`, else x/(1 − p).
    ///
    /// `[N, C, ..]` float; as [`dropout`](Self::dropout) otherwise.
    /// Source: Tompson, Goroshin, Jain, LeCun and Bregler 2015, arXiv:1411.4280.
    /// Errors: [`Error::Shape`] below rank 2, [`Error::Argument`] unless 0 ≤ p ≤ 1, [`Error::DType`].
    pub fn dropout_channels(&self, p: f64, stream: Stream) -> Result<Tensor> {
        if self.rank() < 2 {
            let remedy = "Give [N, C, ..]: examples, channels, and what they extend over.";
            return Err(Error::shape("dropout_channels", self.describe(), remedy));
        }
        self.dropped("dropout_channels", p, self.shape()[2..].iter().product(), stream)
    }

    /// Stochastic depth: each example is zero with probability `p`, else x/(1 − p). In a residual network,
    /// x + drop_path(f(x)) leaves out the branch.
    ///
    /// `[N, ..]` float; as [`dropout`](Self::dropout) otherwise.
    /// Source: Huang, Sun, Liu, Sedra and Weinberger 2016, arXiv:1603.09382.
    /// Errors: [`Error::Shape`] for rank 0, [`Error::Argument`] unless 0 ≤ p ≤ 1, [`Error::DType`].
    pub fn drop_path(&self, p: f64, stream: Stream) -> Result<Tensor> {
        if self.rank() == 0 {
            return Err(Error::shape(
                "drop_path",
                self.describe(),
                "Give [N, ..]: examples, and what they are.",
            ));
        }
        self.dropped("drop_path", p, self.shape()[1..].iter().product(), stream)
    }

    /// Alpha dropout, for self-normalising networks: with probability `p` an element becomes −α' = −λα of
    /// [`selu`](Self::selu), its limit at −∞, and an affine map behind restores mean zero and variance one.
    ///
    /// y = a·(x or −α') + b with a = ((1 − p)(1 + p·α'²))^−½ and b = a·p·α'. As [`dropout`](Self::dropout)
    /// otherwise.
    /// Source: Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515.
    /// Errors: [`Error::Argument`] unless 0 ≤ p < 1, [`Error::DType`].
    pub fn alpha_dropout(&self, p: f64, stream: Stream) -> Result<Tensor> {
        let name = "alpha_dropout";
        self.require_float(name)?;
        if !(0.0..1.0).contains(&p) {
            let remedy = "What is dropped has a probability from 0 to below 1.";
            return Err(Error::argument(name, format!("probability {p}"), remedy));
        }
        let limit = 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
        let scale = 1.0 / ((1.0 - p) * (1.0 + p * limit * limit)).sqrt();
        let shift = scale * p * limit;
        let op =
            Dropout { name, stream, keep: 1.0 - p, span: 1, scale, shift, dropped: shift - scale * limit };
        Ok(op::apply(op, &[self])?.swap_remove(0))
    }
}

/// The cases of this room.
pub(super) fn rooms() -> Vec<Room> {
    type Call = fn(&Tensor, f64, Stream) -> Result<Tensor>;
    const STREAM: Stream = Stream::new(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
    let calls: [(&'static str, Call); 4] = [
        ("dropout", Tensor::dropout),
        ("dropout_channels", Tensor::dropout_channels),
        ("alpha_dropout", Tensor::alpha_dropout),
        ("drop_path", Tensor::drop_path),
    ];
    let rooms = calls.map(|(op, call)| {
        let case =
            |detail: &str, x: Input, p: f64| Case::new(op, detail, [x], move |x| call(&x[0], p, STREAM));
        // Around the blocks of four and the workgroup's edge; spans of one, of less and of more than a block.
        let shapes: [&[usize]; 11] = [
            &[1, 1],
            &[1, 5],
            &[3, 1],
            &[4, 4],
            &[2, 3, 5],
            &[5, 7, 3],
            &[3, 5, 2, 2],
            &[17, 15],
            &[16, 16],
            &[257, 1],
            &[2, 9, 67],
        ];
        let mut cases: Vec<Case> =
            shapes.iter().map(|shape| case(&format!("{shape:?}"), Input::any(shape), 0.4)).collect();
        if op != "alpha_dropout" {
            // The scale is a power of two, and the product exact.
            let whole = |shape: &[usize]| Input::uniform(shape, 1.0, 2.0);
            let halved = |shape: &[usize], x: Input| case(&format!("{shape:?}, half"), x, 0.5).exact();
            cases.push(halved(&[30, 41], Input::whole([30, 41])));
            cases.push(halved(&[3, 66_000], Input::whole([3, 66_000])).value_only());
            cases.push(case("all but one in four", whole(&[40, 33]), 0.75));
        }
        // Where the first word itself is the threshold, its element is dropped.
        let [low, high] = halves(STREAM.stream);
        let word = philox4x32_10([0, low, high, TAG], halves(STREAM.seed))[0] >> 8;
        let edge = 1.0 - f64::from(word) / f64::from(1 << 24);
        cases.push(case("at the edge", Input::uniform([6, 5], 1.0, 2.0), edge));
        cases.push(case("transposed", Input::any([6, 5]).transposed(), 0.4));
        cases.push(case("stride 2", Input::any([6, 5]).strided(), 0.4));
        cases.push(case("stride 0", Input::any([6, 5]).repeated(), 0.4));
        cases.push(case("nothing dropped", Input::whole([6, 5]), 0.0).exact());
        cases.push(case("empty", Input::any([3, 0]), 0.4).value_only());
        let all = case("everything dropped", Input::any([6, 5]), 1.0);
        cases.push(if op == "alpha_dropout" { all.fails() } else { all.exact() });
        cases.push(case("p = -0.1", Input::any([6, 5]), -0.1).fails());
        cases.push(case("p = NaN", Input::any([6, 5]), f64::NAN).fails());
        cases.push(case("integers", Input::index([6, 5], 4), 0.4).fails());
        match op {
            "dropout_channels" => cases.push(case("rank 1", Input::any([6]), 0.4).fails()),
            "drop_path" => cases.push(case("rank 0", Input::any([]), 0.4).fails()),
            _ => cases.push(case("rank 0", Input::any([]), 0.4)),
        }
        Room { op, cases }
    });
    rooms.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn kept(y: &Tensor) -> Vec<bool> {
        y.to_vec::<f32>().unwrap().into_iter().map(|v| v != 0.0).collect()
    }

    #[test]
    fn masks_are_shared_over_spans_and_have_their_probability() {
        let x = Tensor::ones(&Device::cpu(), [40, 25, 4]).unwrap();
        let stream = Stream::new(1, 2);
        let elements = kept(&x.dropout(0.3, stream).unwrap());
        let channels = kept(&x.dropout_channels(0.3, stream).unwrap());
        let examples = kept(&x.drop_path(0.3, stream).unwrap());
        // One mask for all three, stretched.
        assert!(channels.iter().enumerate().all(|(i, &k)| k == elements[i / 4]));
        assert!(examples.iter().enumerate().all(|(i, &k)| k == elements[i / 100]));
        // 4000 draws at 0.7: four deviations are 116.
        let count = elements.iter().filter(|&&k| k).count();
        assert!(count.abs_diff(2800) < 116, "{count}");
        let other = kept(&x.dropout(0.3, Stream::new(1, 3)).unwrap());
        assert!(other != elements && kept(&x.dropout(0.3, stream).unwrap()) == elements);
    }

    #[test]
    fn alpha_dropout_keeps_mean_and_variance() {
        let x = Tensor::normal(&Device::cpu(), [100_000], Stream::new(3, 0)).unwrap();
        let y = x.alpha_dropout(0.3, Stream::new(3, 1)).unwrap().to_f64().unwrap();
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let var = y.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / y.len() as f64;
        assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.03, "{mean}, {var}");
    }
}
