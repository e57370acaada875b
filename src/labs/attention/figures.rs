//! What the chapter draws.

use crate::labs::lab::Lab;
use crate::labs::report::{Axis, Chapter, Figure, HeatMap, Plot, Rule, Series, Shade, Table, smoothed};

/// σ; mean and variance of the entropy; mean Σp²; both as the exact integral has them.
pub(super) type Spread = (f64, (f64, f64), f64, (f64, f64));

/// The entropy of softmax against the spread of its logits.
pub(super) fn entropy(lab: &Lab, chapter: &mut Chapter, log_n: f64, curve: &[Spread]) {
    let freezing = (2.0 * log_n).sqrt();
    let law = (0..=40).map(|i| f64::from(i) / 40.0 * freezing).map(|s| (s, log_n - s * s / 2.0));
    chapter.figure(
        Figure::new(
            lab.say("Why divide by √d", "为什么要除以 √d"),
            Plot::new(
                Axis::new(lab.say("standard deviation σ of the logits", "logit 的标准差 σ")),
                Axis::new(lab.say("entropy of softmax", "softmax 的熵")).unit(lab.say("nats", "奈特")),
            )
            .series(
                Series::scatter(
                    lab.say("measured, ± one s.d. over 1000 queries", "测量值，± 1000 个查询的标准差"),
                    curve.iter().map(|c| (c.0, c.1.0)),
                )
                .errors(curve.iter().map(|c| c.1.1.sqrt()))
                .colour(0),
            )
            .series(
                Series::line(lab.say("exact, n = 1024", "精确值，n = 1024"), curve.iter().map(|c| (c.0, c.3.0)))
                    .colour(0)
                    .faint(),
            )
            .series(Series::line("ln n − σ²/2", law).dashed().colour(1))
            .rule(Rule::vertical(freezing, lab.say("freezing, √(2 ln n)", "冻结点 √(2 ln n)"))),
        )
        .caption(lab.say(
            "Softmax of 1024 normal logits. Scaled attention works at $σ = 1$; without $1/\\sqrt d$ and with $d = 64$ it \
             would work at $σ = 8$, where a few keys take everything and gradients vanish.",
            "1024 个正态 logit 的 softmax。带缩放的注意力工作在 $σ = 1$；若去掉 $1/\\sqrt d$ 而 $d = 64$，则工作在 \
             $σ = 8$：少数几个键占去全部权重，梯度随之消失。",
        ))
        .alt(lab.say(
            "Entropy of softmax falling with the standard deviation of the logits, along the parabola and then flat",
            "softmax 的熵随 logit 标准差下降：先沿抛物线，过冻结点后趋平",
        )),
    );
}

/// The same queries and keys with and without the scale.
pub(super) fn weights(lab: &Lab, chapter: &mut Chapter, scaled: &[f64], raw: &[f64]) {
    let pictures = [
        (lab.say("Attention with 1/√d", "有 1/√d 的注意力"), scaled),
        (lab.say("The same without", "同样的查询与键，没有 1/√d"), raw),
    ];
    for (title, values) in pictures {
        let map = HeatMap::new(24, 48, values.iter().copied())
            .axes(lab.say("key", "键"), lab.say("query", "查询"))
            .shade(Shade::Sqrt)
            .bar(lab.say("weight", "权重"));
        chapter.figure(
            Figure::new(title, map)
                .caption(lab.say(
                    "Weights of 24 random queries over 48 random keys, $d = 64$; each row sums to 1.",
                    "24 个随机查询对 48 个随机键的权重，$d = 64$；每行之和为 1。",
                ))
                .alt(lab.say("Heat map of attention weights", "注意力权重的热图")),
        );
    }
}

/// What is left of the differences between tokens, by depth: without skip and with.
pub(super) fn collapse(lab: &Lab, chapter: &mut Chapter, depths: &[[f64; 2]]) {
    let points =
        |k: usize| depths.iter().enumerate().map(move |(depth, both)| (depth as f64, both[k].max(1e-9)));
    chapter.figure(
        Figure::new(
            lab.say("Attention alone makes all tokens alike", "只有注意力，词元终将雷同"),
            Plot::new(
                Axis::new(lab.say("layers", "层数")),
                Axis::new(lab.say("share that differs between rows", "各行相异部分的占比")).log(),
            )
            .series(Series::line(lab.say("without skip", "无残差"), points(0)).dots().colour(1))
            .series(Series::line(lab.say("with skip", "有残差"), points(1)).dots().colour(0))
            .rule(Rule::horizontal(6e-8, lab.say("rounding of f32", "f32 的舍入"))),
        )
        .caption(lab.say(
            "Random tokens through random layers, rescaled after each. Without a skip connection the fall is doubly \
             exponential, until rounding is all that is left.",
            "随机词元通过随机的各层，每层之后重新归一。没有残差连接时，差别以双重指数的速度消失，最后只剩舍入误差。",
        ))
        .alt(lab.say(
            "Residual against depth: collapses without skip, stays of order one with",
            "残差随深度的变化：无残差连接时崩塌，有则保持在 1 的量级",
        )),
    );
}

/// The loss of a language model while it learns, beside models that only count.
pub(super) fn learning(lab: &Lab, chapter: &mut Chapter, losses: &[f64], [unigram, bigram, test]: [f64; 3]) {
    let steps =
        |values: &[f64]| values.iter().enumerate().map(|(i, &v)| (i as f64 + 1.0, v)).collect::<Vec<_>>();
    let smooth = smoothed(losses, 10.0);
    chapter.figure(
        Figure::new(
            lab.say("A GPT learns Shakespeare's letters", "GPT 学习莎士比亚的字母"),
            Plot::new(
                Axis::new(lab.say("step", "步数")),
                Axis::new(lab.say("cross-entropy", "交叉熵")).unit(lab.say("nats a character", "奈特/字符")),
            )
            .series(Series::line(lab.say("each step", "每步"), steps(losses)).colour(0).faint())
            .series(Series::line(lab.say("smoothed", "平滑后"), steps(&smooth)).colour(0))
            .series(
                Series::scatter(
                    lab.say("test text, at the end", "测试文本，训练结束时"),
                    [(losses.len() as f64, test)],
                )
                .colour(2),
            )
            .rule(Rule::horizontal(unigram, lab.say("counting letters", "只数单个字符")))
            .rule(Rule::horizontal(bigram, lab.say("counting pairs", "只数字符对"))),
        )
        .caption(lab.say(
            "Training loss, with what counting single characters and pairs of them in the same text gives.",
            "训练损失；横线是在同样多的文本上只统计单个字符或相邻字符对所得的交叉熵。",
        ))
        .alt(lab.say(
            "Loss of the language model falling towards that of pairs",
            "语言模型的损失逐渐下降到字符对模型的水平",
        )),
    );
}

/// What a model writes behind a beginning.
pub(super) fn written(lab: &Lab, chapter: &mut Chapter, samples: &[(&'static str, String)]) {
    let table = samples.iter().fold(
        Table::new([lab.say("drawn by", "抽样方式"), lab.say("text", "文本")]),
        |table, (name, text)| {
            // Cells are prose: what marks it up there stands for itself here.
            let plain: String = text.chars().map(|c| if "*$`".contains(c) { ' ' } else { c }).collect();
            table.row([(*name).to_owned(), plain.split_whitespace().collect::<Vec<_>>().join(" ")])
        },
    );
    chapter.figure(
        Figure::new(lab.say("What it writes", "它写出的文字"), table)
            .caption(lab.say(
                "Drawn character by character through the cache of keys and values. So short a training gives words \
                 of the right shape, hardly a sentence.",
                "借助键值缓存逐字符抽样而成。训练如此之短，只能写出形似的单词，还不成句。",
            ))
            .alt(lab.say("Texts that the model wrote", "模型写出的文字"))
            .wide(),
    );
}
