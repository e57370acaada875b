//! R6: a GPT on the letters of Shakespeare's plays.

use super::figures;
use super::selection::ROUNDING;
use crate::error::Result;
use crate::labs::claim::{Claim, Tolerance};
use crate::labs::host::largest;
use crate::labs::lab::Lab;
use crate::labs::language::{CONTEXT, LEARNED, Plays, Recipe, TESTED};
use crate::labs::report::Chapter;
use crate::models::{Gpt, GptOptions, Reader, Sampling};
use crate::nn::{Mode, Params};
use crate::tensor::Tensor;

/// Trains, measures, writes.
pub(super) fn plays(lab: &Lab, chapter: &mut Chapter) -> Result<()> {
    let (layers, recipe) = match lab.full() {
        false => (1, Recipe { batch: 16, steps: 250, rate: 3e-3, clip: None }),
        true => (2, Recipe { batch: 32, steps: 900, rate: 2e-3, clip: None }),
    };
    let plays = Plays::new()?;
    let params = Params::new(lab.device(), lab.seed());
    let gpt = Gpt::new(&params, GptOptions::new(plays.alphabet.len(), CONTEXT, layers, 64, 4))?;
    let of = |tokens: &Tensor, next: &Tensor, mode: Mode| gpt.loss(tokens, next, mode);
    let losses = plays.learn(lab, &params, &of, &recipe)?;
    let loss = plays.judge(lab, &of)?;
    let [unigram, bigram] = plays.counts(recipe.seen());
    let target = if lab.full() { plays.counts(LEARNED)[1] - 0.2 } else { 2.65 };
    chapter
        .claim(
            Claim::check(
                "R6",
                match lab.full() {
                    false => lab.say(
                        "A GPT of one layer, after 256 000 characters of Shakespeare, needs less than 2.65 nats for \
                         each character of other plays; counting letters needs more than 3",
                        "单层 GPT 读过 25.6 万个莎士比亚字符之后，预测其余剧本每个字符所需不到 2.65 奈特；只数字母则要 3 奈特以上",
                    ),
                    true => lab.say(
                        "A GPT of two layers, after 1.8 million characters of Shakespeare, beats the counts of pairs \
                         of characters in all of the text by at least 0.2 nats a character",
                        "两层 GPT 读过 180 万个莎士比亚字符之后，每个字符至少比在全部文本上统计字符对少 0.2 奈特",
                    ),
                },
                lab.say("measured", "实测"),
                [target, 3.0],
                [loss, unigram],
                Tolerance::Each(vec![Tolerance::Below, Tolerance::Above]),
            )
            .parts([lab.say("GPT, test text", "GPT，测试文本"), lab.say("letters alone", "单个字符")]),
        )
        .claim(Claim::check(
            "R6.cache",
            lab.say(
                "Reading character by character through the cache of keys and values gives the logits of one pass \
                 over the text (largest difference, over the largest logit)",
                "借助键值缓存逐字符读入，得到的 logit 与整段一次读入相同（最大差与最大 logit 之比）",
            ),
            lab.say("by construction", "由构造"),
            0.0,
            cached(lab, &gpt, &plays.test()[..CONTEXT])?,
            Tolerance::Absolute(ROUNDING),
        ));
    figures::learning(lab, chapter, &losses, [unigram, bigram, loss]);
    let stream = lab.stream(697);
    let ways = [
        (lab.say("the likeliest", "最可能者"), Sampling::greedy()),
        (lab.say("temperature 0.8", "温度 0.8"), Sampling::new(stream).temperature(0.8)),
        (lab.say("top 5", "前 5 名"), Sampling::new(stream).top_k(5)),
        (lab.say("nucleus 0.9", "核 0.9"), Sampling::new(stream).top_p(0.9)),
    ];
    let prompt = plays.alphabet.encode("KING ")?;
    let mut samples = Vec::new();
    for (name, sampling) in ways {
        let drawn: Result<Vec<i32>> = gpt.generate(&prompt, sampling)?.take(150).collect();
        samples.push((name, format!("KING {}", plays.alphabet.decode(&drawn?)?)));
    }
    figures::written(lab, chapter, &samples);
    chapter.method(lab.language().pick(
        format!(
            "R6: {LEARNED} characters to learn from, {TESTED} segments of {CONTEXT} of the other hundred thousand to judge; \
             {} layer(s) of 64 features and 4 heads, batches of {} segments, {} steps of Adam, the rate rising to {} in 20 \
             steps and falling linearly to a tenth. On as many characters as the model saw, counts of pairs need {bigram:.3} \
             nats, of single characters {unigram:.3}.",
            layers, recipe.batch, recipe.steps, recipe.rate
        ),
        format!(
            "R6：{LEARNED} 个字符用于训练，其余十万个字符中取 {TESTED} 段、每段 {CONTEXT} 个用于测试；{} 层，64 个特征，4 个头，\
             每批 {} 段，Adam {} 步，学习率在 20 步内升到 {}，再线性降到十分之一。用模型读过的同样多的字符来统计，字符对需 \
             {bigram:.3} 奈特，单个字符需 {unigram:.3} 奈特。",
            layers, recipe.batch, recipe.steps, recipe.rate
        ),
    ));
    Ok(())
}

/// How far the logits through the cache lie from those of one pass, over the largest of these.
fn cached(lab: &Lab, gpt: &Gpt, text: &[i32]) -> Result<f64> {
    let tokens = Tensor::from_slice(lab.device(), text, [1, text.len()])?;
    let whole = gpt.forward(&tokens, Mode::Eval)?.to_f64()?;
    let mut reader = gpt.reader();
    let mut found = Vec::new();
    for token in text {
        found.extend(reader.read(&[*token])?);
    }
    let size = largest(whole.iter().copied());
    Ok(largest(found.iter().zip(&whole).map(|(a, b)| (a - b) / size)))
}
