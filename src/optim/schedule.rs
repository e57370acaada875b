//! Learning rates over time.

use std::f64::consts::PI;

/// A learning rate as a function of the step, which counts from zero.
///
/// Nothing is kept between steps, so a resumed run needs no more than its step.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// The same rate always.
    Constant {
        /// The rate.
        lr: f64,
    },
    /// lr·γᵏ, with one more factor after every `every` steps.
    Step {
        /// The first rate.
        lr: f64,
        /// Steps between two factors; zero counts as one.
        every: u64,
        /// The factor γ.
        gamma: f64,
    },
    /// lr·γᵏ, with one more factor from each milestone on.
    MultiStep {
        /// The first rate.
        lr: f64,
        /// The steps at which the rate changes.
        milestones: Vec<u64>,
        /// The factor γ.
        gamma: f64,
    },
    /// lr·γ^step.
    Exponential {
        /// The first rate.
        lr: f64,
        /// The factor γ of each step.
        gamma: f64,
    },
    /// Half a cosine from `lr` down to `min` over `steps` steps, and `min` from then on. Loshchilov and
    /// Hutter 2017, arXiv:1608.03983, without restarts.
    Cosine {
        /// The first rate.
        lr: f64,
        /// The last rate.
        min: f64,
        /// The step at which it is reached.
        steps: u64,
    },
    /// A straight line from `start`·lr up to lr over `steps` steps, and lr from then on.
    LinearWarmup {
        /// The last rate.
        lr: f64,
        /// The share of it to start with.
        start: f64,
        /// The step at which the last rate is reached.
        steps: u64,
    },
    /// [`LinearWarmup`](Schedule::LinearWarmup) for `warmup` steps, then [`Cosine`](Schedule::Cosine).
    WarmupCosine {
        /// The highest rate.
        lr: f64,
        /// The share of it to start with.
        start: f64,
        /// The step at which the highest rate is reached.
        warmup: u64,
        /// The step at which the last rate is reached.
        steps: u64,
        /// The last rate.
        min: f64,
    },
    /// Half a cosine up and half a cosine down: from max/`div` up to `max` over the share `up` of the
    /// steps, then down to max/(div·final_div) at the last of them. Smith and Topin 2018,
    /// arXiv:1708.07120, as PyTorch anneals it.
    OneCycle {
        /// The highest rate.
        max: f64,
        /// How many steps there are.
        steps: u64,
        /// The share of the steps to rise in; PyTorch's default is 0.3.
        up: f64,
        /// The highest rate over the first; PyTorch's default is 25.
        div: f64,
        /// The first rate over the last; PyTorch's default is 1e4.
        final_div: f64,
    },
}

impl Schedule {
    /// The learning rate at a step.
    pub fn lr(&self, step: u64) -> f64 {
        match *self {
            Schedule::Constant { lr } => lr,
            Schedule::Step { lr, every, gamma } => lr * gamma.powf((step / every.max(1)) as f64),
            Schedule::MultiStep { lr, ref milestones, gamma } => {
                lr * gamma.powf(milestones.iter().filter(|&&m| m <= step).count() as f64)
            }
            Schedule::Exponential { lr, gamma } => lr * gamma.powf(step as f64),
            Schedule::Cosine { lr, min, steps } => half_cosine(lr, min, share(step, 0, steps)),
            Schedule::LinearWarmup { lr, start, steps } => {
                lr * (start + (1.0 - start) * share(step, 0, steps))
            }
            Schedule::WarmupCosine { lr, start, warmup, .. } if step < warmup => {
                Schedule::LinearWarmup { lr, start, steps: warmup }.lr(step)
            }
            Schedule::WarmupCosine { lr, warmup, steps, min, .. } => {
                half_cosine(lr, min, share(step, warmup, steps))
            }
            Schedule::OneCycle { max, steps, up, div, final_div } => {
                let (first, last) = (max / div, steps.saturating_sub(1) as f64);
                let (top, at) = (up * steps as f64 - 1.0, (step as f64).min(last));
                if at <= top {
                    half_cosine(first, max, if top > 0.0 { at / top } else { 1.0 })
                } else {
                    let share = if last > top { (at - top) / (last - top) } else { 1.0 };
                    half_cosine(max, first / final_div, share)
                }
            }
        }
    }
}

/// How far `step` is from `from` to `to`, within [0, 1].
fn share(step: u64, from: u64, to: u64) -> f64 {
    if step >= to {
        return 1.0;
    }
    step.saturating_sub(from) as f64 / to.saturating_sub(from).max(1) as f64
}

/// From `from` at share 0 to `to` at share 1, level at both ends.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn schedules_stay_at_their_last_rate_and_bear_empty_spans() {
        let (lr, min) = (0.1, 0.01);
        let cosine = Schedule::Cosine { lr, min, steps: 5 };
        assert_eq!((cosine.lr(0), cosine.lr(5), cosine.lr(900)), (lr, min, min));
        assert_eq!(Schedule::LinearWarmup { lr, start: 0.5, steps: 0 }.lr(0), lr);
        assert_eq!(Schedule::WarmupCosine { lr, start: 0.0, warmup: 0, steps: 0, min }.lr(3), min);
        assert_eq!(Schedule::Step { lr, every: 0, gamma: 0.5 }.lr(1), lr / 2.0);
        for steps in 0..4 {
            let cycle = Schedule::OneCycle { max: lr, steps, up: 0.3, div: 25.0, final_div: 1e4 };
            assert!((0..6).all(|step| cycle.lr(step).is_finite()), "{steps} steps");
        }
    }
}
