//! The learning rate over time.

use serde::{Deserialize, Serialize};

/// The curve after the warmup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    Constant,
    Linear,
    Cosine,
}

/// A learning rate that rises in a straight line to its peak and falls along a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub shape: Shape,
    pub peak: f64,
    /// Steps of the rise.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
    /// What the rate falls to, as a share of the peak.
    pub floor: f64,
}

impl Schedule {
    /// The rate of step `step`, 1 for the first.
    pub fn rate(&self, step: usize) -> f64 {
        if step <= self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let rest = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup - 1) as f64 / rest as f64).min(1.0);
        let height = match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => 1.0 - progress,
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        self.peak * (self.floor + (1.0 - self.floor) * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_peaks_and_falls_to_the_floor() {
        for shape in [Shape::Linear, Shape::Cosine] {
            let schedule = Schedule { shape, peak: 2.0, warmup: 10, steps: 110, floor: 0.1 };
            assert_eq!(schedule.rate(1), 0.2);
            assert_eq!(schedule.rate(10), 2.0);
            assert_eq!(schedule.rate(11), 2.0);
            assert!((schedule.rate(61) - 1.1).abs() < 1e-12);
            assert!(schedule.rate(110) < 0.25 && schedule.rate(110) > 0.2);
            assert!((11..110).all(|step| schedule.rate(step) >= schedule.rate(step + 1)));
        }
        let constant = Schedule { shape: Shape::Constant, peak: 2.0, warmup: 0, steps: 5, floor: 0.0 };
        assert_eq!(constant.rate(5), 2.0);
    }
}
