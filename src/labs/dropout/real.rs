//! R7: what dropout does to a network that has too few images, and what its masks know of strange ones.

use super::figures;
use crate::data::{Batches, FashionMnist, ImageSet, digits};
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::moments;
use crate::labs::lab::Lab;
use crate::labs::report::Chapter;
use crate::labs::training::{Classifier, Schedule, first, share_right};
use crate::nn::{Dropout, Init, LayerInit, Linear, Params, Sequential, mc_dropout_classes};
use crate::optim::Adam;
use crate::tensor::Tensor;

const IMAGES: usize = 1000;
const BATCH: usize = 50;
const EPOCHS: u64 = 40;
const RATE: f64 = 2e-3;
const P: f64 = 0.5;
const CLASSES: usize = 10;

/// How a predictor did.
pub(super) struct Judged {
    /// Accuracy on the training images, where it was asked for.
    pub train: Option<f64>,
    pub test: f64,
    /// Mean of −ln p(label) on the test images, in nats.
    pub nll: f64,
    /// How well the entropy tells digits from clothes.
    pub auroc: f64,
    /// Entropies of the clothes and of the digits, in nats.
    pub entropies: [Vec<f64>; 2],
}

/// 784-128-128-10 with relu and, unless p = 0, dropout behind it.
fn network(lab: &Lab, p: f64) -> Result<Classifier> {
    let params = Params::new(lab.device(), lab.seed());
    let init = LayerInit { weight: Init::he(), bias: true, bias_init: Some(Init::Zeros) };
    let model = Sequential::new()
        .then(|x| x.flatten(1))
        .add(Linear::with(&params.at("first"), 784, 128, init)?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop1"), p)?)
        .add(Linear::with(&params.at("second"), 128, 128, init)?)
        .add(Tensor::relu)
        .add(Dropout::new(&params.at("drop2"), p)?)
        .add(Linear::with(&params.at("output"), 128, CLASSES, init)?);
    Ok(Classifier { params, model })
}

/// Trains both, judges them and the masks.
pub(super) fn clothes(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let data = lab.fashion()?;
    let (train, test) = (first(&data.train, IMAGES)?, data.test);
    let strange = as_large(&digits()?)?;
    let schedule = Schedule { epochs: EPOCHS, batch: BATCH, seed: lab.seed(), judged: false };
    let networks = [network(lab, 0.0)?, network(lab, P)?];
    let mut judged = Vec::new();
    for (index, network) in networks.iter().enumerate() {
        let progress = |done, of| lab.progress(index as u64 * of + done, 2 * of + of / 4);
        let mut adam = Adam::new(&network.params, RATE)?;
        network.train(&mut adam, &train, &test, schedule, &progress)?;
        let softmax = |set: &ImageSet| Ok(probabilities(&network.logits(set)?));
        let mut row = judge(softmax(&test)?, softmax(&strange)?, &test);
        row.train = Some(network.accuracy(&train)?);
        judged.push(row);
    }
    let masks = if lab.full() { 200 } else { 40 };
    let (clothes, clothes_entropy) = sampled(&networks[1], &test, masks)?;
    let (_, strange_entropy) = sampled(&networks[1], &strange, masks)?;
    judged.push(score(&clothes, [clothes_entropy, strange_entropy], &test));
    claims(lab, chapter, &judged, masks);
    figures::judged(lab, chapter, &judged, masks);
    figures::entropies(lab, chapter, &judged[2].entropies);
    chapter.method(lab.language().pick(
        format!(
            "R7: {IMAGES} training and {} test images, 784-128-128-10, relu, dropout ½ behind both hidden layers or \
             none, Adam at rate 2e-3, batches of {BATCH}, {EPOCHS} epochs; then {masks} masks. The strange images are \
             {} digits of 8 × 8 pixels, enlarged three times and framed to 28 × 28.",
            test.len(),
            strange.len()
        ),
        format!(
            "R7：{IMAGES} 幅训练图像，{} 幅测试图像，784-128-128-10，relu，两个隐藏层后失活率 ½ 或不失活，Adam，学习率 2e-3，\
             批量 {BATCH}，{EPOCHS} 轮；之后取 {masks} 个掩码。陌生图像是 {} 个 8 × 8 像素的手写数字，放大三倍并补边到 28 × 28。",
            test.len(),
            strange.len()
        ),
    ));
    Ok(())
}

fn claims(lab: &Lab, chapter: &mut Chapter, judged: &[Judged], masks: u64) {
    let [plain, dropout, sampled] = judged else { return };
    let gap = |row: &Judged| row.train.unwrap_or(f64::NAN) - row.test;
    let source = lab.say("measured; Srivastava et al. 2014", "实测；Srivastava et al. 2014");
    chapter
        .claim(
            Claim::check(
                "R7",
                lab.language().pick(
                    format!(
                        "With 1000 images dropout lowers the test loss to at most 0.9 of the plain network's, by \
                         scaled weights and by {masks} masks (ratios)"
                    ),
                    format!("只有 1000 幅图像时，随机失活使测试损失不超过普通网络的 0.9；缩放权重与 {masks} 个掩码皆然（比值）"),
                ),
                source,
                0.9,
                [dropout.nll / plain.nll, sampled.nll / plain.nll],
                Tolerance::AtMost,
            )
            .parts(lab.language().pick(["scaled weights", "masks"], ["缩放权重", "掩码"])),
        )
        .claim(Claim::check(
            "R7.gap",
            lab.say(
                "and narrows the gap between training and test accuracy (ratio of the gaps). The accuracy itself is \
                 not asserted",
                "并缩小训练与测试准确率之差（两差之比）。准确率本身不作断言",
            ),
            source,
            1.0,
            gap(dropout) / gap(plain),
            Tolerance::Below,
        ))
        .claim(Claim::check(
            "R7.strange",
            lab.say(
                "The entropy of the averaged prediction tells digits from clothes: area under the ROC curve. (The plain \
                 network's entropy does nearly as well, see the table.)",
                "平均预测的熵能区分数字与服饰：ROC 曲线下面积。（普通网络的熵几乎同样有效，见表。）",
            ),
            lab.say("measured; Gal & Ghahramani 2016", "实测；Gal & Ghahramani 2016"),
            0.75,
            sampled.auroc,
            Tolerance::AtLeast,
        ));
}

/// 8 × 8 digits as 28 × 28 images: each pixel three times three, and a frame of two.
fn as_large(small: &ImageSet) -> Result<ImageSet> {
    let side = FashionMnist::bundled()?.test.width;
    let (times, frame) = (3, (side - 3 * small.width) / 2);
    let mut images = Vec::with_capacity(small.len() * side * side);
    for image in small.images.chunks(small.width * small.height) {
        images.extend((0..side * side).map(|at| {
            let inside = |k: usize| k.checked_sub(frame).map(|k| k / times).filter(|&k| k < small.width);
            let place = inside(at / side).zip(inside(at % side));
            place.map_or(0, |(row, column)| image[row * small.width + column])
        }));
    }
    ImageSet::new(images, small.labels.clone(), side, side)
}

/// Mean probabilities over masks, and their entropies.
fn sampled(network: &Classifier, set: &ImageSet, masks: u64) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut probabilities, mut entropies) = (Vec::new(), Vec::new());
    for indices in Batches::new(set.len(), 500, 0)?.in_order().epoch(0) {
        let batch = set.gather(&indices)?;
        let images = Tensor::from_slice(network.params.device(), &batch.images, batch.shape())?;
        let classes = mc_dropout_classes(&network.model, &images, masks)?;
        probabilities.extend(classes.probabilities.to_f64()?);
        entropies.extend(classes.entropy.to_f64()?);
    }
    Ok((probabilities, entropies))
}

/// The softmax of every row of ten logits.
fn probabilities(logits: &[f64]) -> Vec<f64> {
    let row = |z: &[f64]| {
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = z.iter().map(|z| (z - top).exp()).sum();
        z.iter().map(|z| (z - top).exp() / sum).collect::<Vec<f64>>()
    };
    logits.chunks(CLASSES).flat_map(row).collect()
}

fn judge(clothes: Vec<f64>, strange: Vec<f64>, test: &ImageSet) -> Judged {
    let entropy = |p: &[f64]| -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
    let of = |set: &[f64]| set.chunks(CLASSES).map(entropy).collect::<Vec<f64>>();
    score(&clothes, [of(&clothes), of(&strange)], test)
}

fn score(clothes: &[f64], entropies: [Vec<f64>; 2], test: &ImageSet) -> Judged {
    let of_label = clothes.chunks(CLASSES).zip(&test.labels).map(|(p, &label)| p[usize::from(label)]);
    let losses: Vec<f64> = of_label.map(|p| -p.max(f64::MIN_POSITIVE).ln()).collect();
    let auroc = area(&entropies[0], &entropies[1]);
    Judged { train: None, test: share_right(clothes, test), nll: moments(&losses).0, auroc, entropies }
}

/// The area under the ROC curve: the probability that one of `high` exceeds one of `low`, a tie counting half.
fn area(low: &[f64], high: &[f64]) -> f64 {
    let mut sorted = low.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |v: &f64| {
        let (less, not_more) = (sorted.partition_point(|l| l < v), sorted.partition_point(|l| l <= v));
        (less + not_more) as f64 / 2.0
    };
    high.iter().map(below).sum::<f64>() / (low.len() * high.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs() {
        assert_eq!(area(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(area(&[1.0, 3.0], &[2.0, 3.0]), (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
    }
}
