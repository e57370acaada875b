//! What the chapter draws.

use crate::data::{FashionMnist, ImageSet};
use crate::error::Result;
use crate::labs::lab::Lab;
use crate::labs::report::{
    Axis, Chapter, Figure, HeatMap, ImageGrid, Picture, Plot, Rule, Series, Shade, smoothed,
};
use crate::labs::training::{Classifier, History, predicted};

/// The names of the classes, in the language of the report.
fn classes(lab: &Lab) -> [&'static str; 10] {
    let chinese = ["T 恤", "裤子", "套头衫", "连衣裙", "外套", "凉鞋", "衬衫", "运动鞋", "包", "短靴"];
    lab.language().pick(FashionMnist::CLASSES, chinese)
}

/// Loss and accuracy of the convolutional network.
pub(super) fn training(lab: &Lab, chapter: &mut Chapter, history: &History, measured_on: usize) {
    let steps =
        |values: &[f64]| values.iter().enumerate().map(|(i, &v)| (i as f64 + 1.0, v)).collect::<Vec<_>>();
    let smooth = smoothed(&history.losses, 10.0);
    chapter.figure(
        Figure::new(
            lab.say("Loss", "损失"),
            Plot::new(
                Axis::new(lab.say("step", "步")),
                Axis::new(lab.say("cross-entropy", "交叉熵")).unit(lab.say("nats", "奈特")).log(),
            )
            .series(Series::line(lab.say("each step", "逐步"), steps(&history.losses)).colour(0).faint())
            .series(Series::line(lab.say("smoothed", "平滑后"), steps(&smooth)).colour(0))
            .rule(Rule::horizontal(10f64.ln(), lab.say("guessing: ln 10", "随机猜测：ln 10"))),
        )
        .caption(lab.say(
            "Cross-entropy of each training batch, and its moving average with a half-life of ten steps.",
            "每个训练批次的交叉熵，及其半衰期为十步的滑动平均。",
        ))
        .alt(lab.say("Training loss falling from about ln 10", "训练损失从约 ln 10 开始下降")),
    );
    let epochs = |f: fn(&(f64, f64)) -> f64| {
        history.accuracies.iter().enumerate().map(|(i, a)| (i as f64 + 1.0, f(a))).collect::<Vec<_>>()
    };
    chapter.figure(
        Figure::new(
            lab.say("Accuracy", "准确率"),
            Plot::new(Axis::new(lab.say("epoch", "轮")), Axis::new(lab.say("accuracy", "准确率")).percent())
                .series(
                    Series::line(lab.say("training images", "训练图像"), epochs(|a| a.0)).dots().colour(0),
                )
                .series(Series::line(lab.say("test images", "测试图像"), epochs(|a| a.1)).dots().colour(1))
                .rule(Rule::horizontal(0.8, lab.say("target", "目标"))),
        )
        .caption(lab.language().pick(
            format!("After each epoch, with running statistics, on {measured_on} images of each kind."),
            format!("每轮之后用滑动统计量、在两类图像各 {measured_on} 幅上测得。"),
        ))
        .alt(lab.say(
            "Accuracy on training and test images after each epoch, both rising above the target",
            "每轮之后训练与测试图像上的准确率，二者都升过目标线",
        )),
    );
}

/// Accuracy under shifts, of both networks.
pub(super) fn shifts(lab: &Lab, chapter: &mut Chapter, curves: &[Vec<f64>]) {
    let points = |k: usize| curves[k].iter().enumerate().map(|(i, &v)| (i as f64, v)).collect::<Vec<_>>();
    chapter.figure(
        Figure::new(
            lab.say("A shift tells them apart", "平移见分晓"),
            Plot::new(
                Axis::new(lab.say("shift to the right", "右移")).unit("px"),
                Axis::new(lab.say("test accuracy", "测试准确率")).percent(),
            )
            .series(Series::line(lab.say("with convolutions", "有卷积"), points(0)).dots().colour(0))
            .series(Series::line(lab.say("without", "无卷积"), points(1)).dots().colour(1))
            .rule(Rule::vertical(2.0, lab.say("the claim's shift", "论断中的平移"))),
        )
        .caption(lab.say(
            "The test images moved to the right; neither network saw a moved image in training.",
            "把测试图像向右移动；两个网络在训练中都没有见过移动的图像。",
        ))
        .alt(lab.say(
            "Test accuracy against the shift of the images: it falls for both networks, faster without convolutions",
            "测试准确率随图像平移的变化：两个网络都下降，无卷积的下降更快",
        )),
    );
}

/// Which class is taken for which.
pub(super) fn confusion(lab: &Lab, chapter: &mut Chapter, logits: &[f64], test: &ImageSet) {
    let mut counts = [0.0; 100];
    for (row, &label) in logits.chunks(10).zip(&test.labels) {
        counts[usize::from(label) * 10 + predicted(row)] += 1.0;
    }
    let names = classes(lab);
    let map = HeatMap::new(10, 10, counts)
        .axes(lab.say("predicted class", "预测类别"), lab.say("true class", "真实类别"))
        .names(names, names)
        .shade(Shade::Sqrt)
        .printed()
        .bar(lab.say("images", "图像数"));
    chapter.figure(
        Figure::new(lab.say("What it takes for what", "把什么认作什么"), map)
            .caption(
                lab.say("Test images by true and predicted class.", "测试图像，按真实类别与预测类别计数。"),
            )
            .alt(lab.say("Confusion matrix of the ten classes", "十个类别的混淆矩阵"))
            .wide(),
    );
}

/// The kernels of the first layer.
pub(super) fn filters(lab: &Lab, chapter: &mut Chapter, network: &Classifier) -> Result<()> {
    let weights: Vec<f32> = network.params.get("conv1.weight")?.get().to_vec()?;
    let name = |k: usize| lab.language().pick(format!("filter {k}"), format!("滤波器 {k}"));
    let pictures: Vec<Picture> =
        weights.chunks(25).zip(1..).map(|(w, k)| Picture::signed(5, 5, w, name(k))).collect();
    chapter.figure(
        Figure::new(
            lab.say("What the first layer learned", "第一层学到了什么"),
            ImageGrid::new(pictures).columns(4),
        )
        .caption(lab.say(
            "The eight 5 × 5 kernels of the first convolution, on one scale.",
            "第一个卷积层的八个 5 × 5 卷积核，使用同一色标。",
        ))
        .alt(lab.say("Eight learned filters", "八个学到的滤波器")),
    );
    Ok(())
}

/// The images it was surest of and wrong about.
pub(super) fn mistakes(lab: &Lab, chapter: &mut Chapter, logits: &[f64], test: &ImageSet) -> Result<()> {
    let mut wrong: Vec<(f64, usize, usize)> = Vec::new();
    for (index, (row, &label)) in logits.chunks(10).zip(&test.labels).enumerate() {
        let guess = predicted(row);
        if guess != usize::from(label) {
            let total: f64 = row.iter().map(|z| (z - row[guess]).exp()).sum();
            wrong.push((1.0 / total, index, guess));
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
    let pictures: Result<Vec<Picture>> = wrong
        .iter()
        .take(12)
        .map(|&(probability, index, guess)| {
            let truth = classes(lab)[usize::from(test.labels[index])];
            let caption = format!("{truth}\n→ {} {probability:.2}", classes(lab)[guess]);
            Ok(Picture::ink(test.width, test.height, test.image(index)?, caption))
        })
        .collect();
    chapter.figure(
        Figure::new(lab.say("Twelve it got wrong", "认错的十二幅"), ImageGrid::new(pictures?).columns(6))
            .caption(lab.say(
                "The test images it was surest of and wrong about: true class → its guess and the probability it gave.",
                "它最有把握却认错的测试图像：真实类别 → 它的猜测及其给出的概率。",
            ))
            .alt(lab.say("Twelve misclassified images", "十二幅被错误分类的图像"))
            .wide(),
    );
    Ok(())
}
