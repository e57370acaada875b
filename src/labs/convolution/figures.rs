//! What the chapter draws.

use crate::data::{FashionMnist, ImageSet};
use crate::error::Result;
use crate::labs::report::{
    Axis, Chapter, Figure, HeatMap, ImageGrid, Picture, Plot, Rule, Series, Shade, smoothed,
};
use crate::labs::training::{Classifier, History, predicted};

pub(super) fn training(chapter: &mut Chapter, history: &History, measured_on: usize) {
    let steps =
        |values: &[f64]| values.iter().enumerate().map(|(i, &v)| (i as f64 + 1.0, v)).collect::<Vec<_>>();
    let smooth = smoothed(&history.losses, 10.0);
    chapter.figure(
        Figure::new(
            "Loss",
            Plot::new(Axis::new("step"), Axis::new("cross-entropy").unit("nats").log())
                .series(Series::line("each step", steps(&history.losses)).colour(0).faint())
                .series(Series::line("smoothed", steps(&smooth)).colour(0))
                .rule(Rule::horizontal(10f64.ln(), "guessing: ln 10")),
        )
        .caption(
            "Cross-entropy of each training batch, and its moving average with a half-life of ten steps.",
        )
        .alt("Training loss falling from about ln 10"),
    );
    let epochs = |f: fn(&(f64, f64)) -> f64| {
        history.accuracies.iter().enumerate().map(|(i, a)| (i as f64 + 1.0, f(a))).collect::<Vec<_>>()
    };
    chapter.figure(
        Figure::new(
            "Accuracy",
            Plot::new(Axis::new("epoch"), Axis::new("accuracy").percent())
                .series(Series::line("training images", epochs(|a| a.0)).dots().colour(0))
                .series(Series::line("test images", epochs(|a| a.1)).dots().colour(1))
                .rule(Rule::horizontal(0.8, "target")),
        )
        .caption(format!("After each epoch, with running statistics, on {measured_on} images of each kind."))
        .alt("Accuracy on training and test images after each epoch"),
    );
}

pub(super) fn shifts(chapter: &mut Chapter, curves: &[Vec<f64>]) {
    let points = |k: usize| curves[k].iter().enumerate().map(|(i, &v)| (i as f64, v)).collect::<Vec<_>>();
    chapter.figure(
        Figure::new(
            "A shift tells them apart",
            Plot::new(Axis::new("shift to the right").unit("px"), Axis::new("test accuracy").percent())
                .series(Series::line("with convolutions", points(0)).dots().colour(0))
                .series(Series::line("without", points(1)).dots().colour(1))
                .rule(Rule::vertical(2.0, "the claim's shift")),
        )
        .caption("The test images moved to the right; neither network saw a moved image in training.")
        .alt("Test accuracy against the shift of the images for both networks"),
    );
}

pub(super) fn confusion(chapter: &mut Chapter, logits: &[f64], test: &ImageSet) {
    let mut counts = [0.0; 100];
    for (row, &label) in logits.chunks(10).zip(&test.labels) {
        counts[usize::from(label) * 10 + predicted(row)] += 1.0;
    }
    let names = FashionMnist::CLASSES;
    let map = HeatMap::new(10, 10, counts)
        .axes("predicted class", "true class")
        .names(names, names)
        .shade(Shade::Sqrt)
        .printed()
        .bar("images");
    chapter.figure(
        Figure::new("What it takes for what", map)
            .caption("Test images by true and predicted class.")
            .alt("Confusion matrix of the ten classes")
            .wide(),
    );
}

pub(super) fn filters(chapter: &mut Chapter, network: &Classifier) -> Result<()> {
    let weights: Vec<f32> = network.params.get("conv1.weight")?.get().to_vec()?;
    let pictures: Vec<Picture> =
        weights.chunks(25).zip(1..).map(|(w, k)| Picture::signed(5, 5, w, format!("filter {k}"))).collect();
    chapter.figure(
        Figure::new("What the first layer learned", ImageGrid::new(pictures).columns(4))
            .caption("The eight 5 × 5 kernels of the first convolution, on one scale.")
            .alt("Eight learned filters"),
    );
    Ok(())
}

/// The images it was surest of and wrong about.
pub(super) fn mistakes(chapter: &mut Chapter, logits: &[f64], test: &ImageSet) -> Result<()> {
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
            let truth = FashionMnist::CLASSES[usize::from(test.labels[index])];
            let caption = format!("{truth}\n→ {} {probability:.2}", FashionMnist::CLASSES[guess]);
            Ok(Picture::ink(test.width, test.height, test.image(index)?, caption))
        })
        .collect();
    chapter.figure(
        Figure::new("Twelve it got wrong", ImageGrid::new(pictures?).columns(6))
            .caption("The test images it was surest of and wrong about: true class → its guess and the probability it gave.")
            .alt("Twelve misclassified images")
            .wide(),
    );
    Ok(())
}
