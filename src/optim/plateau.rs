//! A learning rate that follows what has been achieved.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What a [`Plateau`] watches should do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// Fall, like a loss.
    #[default]
    Fall,
    /// Rise, like an accuracy.
    Rise,
}

/// Lowers a learning rate when a metric has stopped getting better.
///
/// A value is better than the best so far by a share: below best·(1 − threshold), or above
/// best·(1 + threshold). After more than `patience` values that are not, the rate is multiplied by `factor`,
/// never below `min`, and the next `cooldown` values do not count. As PyTorch's `ReduceLROnPlateau` in relative
/// mode.
///
/// Unlike a [`Schedule`](super::Schedule) it remembers: [`Display`](fmt::Display) writes all of it as a line,
/// for the notes of a checkpoint, and [`FromStr`] reads it back, bit for bit.
///
/// ```
/// use gradus::optim::Plateau;
/// let mut plateau = Plateau::new(0.1);
/// plateau.patience = 1;
/// let rates: Vec<f64> = [3.0, 2.0, 2.0, 2.0, 1.0].map(|loss| plateau.observe(loss)).into();
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1]);
/// assert_eq!(plateau.to_string().parse::<Plateau>().unwrap(), plateau);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// The rate now.
    pub lr: f64,
    /// Whether the metric should fall or rise.
    pub goal: Goal,
    /// What the rate is multiplied by; PyTorch's default is 0.1.
    pub factor: f64,
    /// How many values in a row may be no better; PyTorch's default is 10.
    pub patience: u64,
    /// The share by which a value must be better; PyTorch's default is 1e-4.
    pub threshold: f64,
    /// How many values after a change do not count.
    pub cooldown: u64,
    /// The lowest rate.
    pub min: f64,
    /// The best value so far.
    best: Option<f64>,
    /// How many values in a row were no better.
    bad: u64,
    /// How many values still do not count.
    cooling: u64,
}

impl Plateau {
    /// From this rate on, with PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Plateau {
            lr,
            goal: Goal::Fall,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min: 0.0,
            best: None,
            bad: 0,
            cooling: 0,
        }
    }

    /// Takes note of a value of the metric and returns the rate from now on. NaN is never better.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let better = self.best.is_none_or(|best| match self.goal {
            Goal::Fall => metric < best * (1.0 - self.threshold),
            Goal::Rise => metric > best * (1.0 + self.threshold),
        });
        if better && !metric.is_nan() {
            (self.best, self.bad) = (Some(metric), 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad > self.patience {
            let lower = (self.lr * self.factor).max(self.min);
            // As PyTorch: a change too small to matter is none.
            if self.lr - lower > 1e-8 {
                self.lr = lower;
            }
            (self.cooling, self.bad) = (self.cooldown, 0);
        }
        self.lr
    }
}

impl fmt::Display for Plateau {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plateau { lr, goal, factor, patience, threshold, cooldown, min, best, bad, cooling } = self;
        let best = best.map_or("none".to_string(), |best| best.to_string());
        write!(f, "{lr} {goal:?} {factor} {patience} {threshold} {cooldown} {min} {best} {bad} {cooling}")
    }
}

impl FromStr for Plateau {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::format("plateau", format!("`{text}`"), "Give a line that a Plateau wrote.");
        fn read<T: FromStr>(word: &str) -> Option<T> {
            word.parse().ok()
        }
        let parts: Vec<&str> = text.split(' ').collect();
        let [lr, goal, factor, patience, threshold, cooldown, min, best, bad, cooling] = parts[..] else {
            return Err(wrong());
        };
        let made = || {
            Some(Plateau {
                lr: read(lr)?,
                goal: match goal {
                    "Fall" => Goal::Fall,
                    "Rise" => Goal::Rise,
                    _ => return None,
                },
                factor: read(factor)?,
                patience: read(patience)?,
                threshold: read(threshold)?,
                cooldown: read(cooldown)?,
                min: read(min)?,
                best: if best == "none" { None } else { Some(read(best)?) },
                bad: read(bad)?,
                cooling: read(cooling)?,
            })
        };
        made().ok_or_else(wrong)
    }
}
