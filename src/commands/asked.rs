//! How attributions are asked for on the command line: method, target, and the tokens that get a score.

use clap::{Args, ValueEnum};

use super::output::Usage;
use crate::attribution::method::{MOST_STEPS, STEPS};
use crate::attribution::{Asked, Method, Over, Target};
use crate::rationale::recipe::{Baseline, Unit};

#[derive(Args, Clone)]
pub struct AskedArgs {
    /// How scores are found
    #[arg(long, value_enum, default_value_t = MethodArg::IntegratedGradients)]
    pub method: MethodArg,
    /// What is attributed: label, contrast (the label against the strongest other choice), choice:LABEL, token:PLACE (of the
    /// sequence that the student is trained on, from 0), or rationale
    #[arg(long, default_value = "label", value_parser = Target::parse)]
    pub target: Target,
    /// Steps of the integral
    #[arg(long, default_value_t = STEPS)]
    pub steps: usize,
    /// Steps up to which an integral that does not add up is taken again, twice as fine each time
    #[arg(long, default_value_t = MOST_STEPS)]
    pub most_steps: usize,
    /// Where the path begins, and what occlusion puts in a token's place
    #[arg(long, value_enum, default_value_t = BaselineArg::Mean)]
    pub baseline: BaselineArg,
    /// What occlusion and leave-one-out take away together
    #[arg(long, value_enum, default_value_t = UnitArg::Token)]
    pub unit: UnitArg,
    /// The layer whose attention is shown, from 0; the mean of all when left out
    #[arg(long)]
    pub layer: Option<usize>,
    /// The head whose attention is shown, from 0; the mean of all when left out
    #[arg(long)]
    pub head: Option<usize>,
    /// Which tokens get a score
    #[arg(long, value_enum, default_value_t = OverArg::Rationale)]
    pub over: OverArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// The gradient's integral from a baseline; scores sum to the change of the target
    IntegratedGradients,
    /// The gradient's product with the word vector
    GradientInput,
    /// The length of the gradient
    GradientNorm,
    /// What the target loses when a unit is replaced by the baseline
    Occlusion,
    /// What the target loses when a unit is taken out
    LeaveOneOut,
    /// Where a layer looks; no explanation
    Attention,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum BaselineArg {
    /// Zero vectors
    Zero,
    /// The vector of the end token
    Pad,
    /// The mean of all word vectors
    Mean,
    /// Words drawn at random; the results of eight draws are averaged
    Random,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnitArg {
    Token,
    Word,
    Sentence,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum OverArg {
    /// The rationale's; the question is held
    Rationale,
    /// Everything before the target
    Prompt,
}

impl MethodArg {
    /// All that claim to explain an answer.
    pub const EXPLAINING: [Self; 5] =
        [Self::IntegratedGradients, Self::GradientInput, Self::GradientNorm, Self::Occlusion, Self::LeaveOneOut];

    /// The method under the other settings.
    fn method(self, args: &AskedArgs) -> Method {
        let baseline = match args.baseline {
            BaselineArg::Zero => Baseline::Zero,
            BaselineArg::Pad => Baseline::Pad,
            BaselineArg::Mean => Baseline::Mean,
            BaselineArg::Random => Baseline::Random,
        };
        let unit = args.unit.unit();
        match self {
            Self::IntegratedGradients => Method::IntegratedGradients { steps: args.steps, baseline },
            Self::GradientInput => Method::GradientTimesInput,
            Self::GradientNorm => Method::GradientNorm,
            Self::Occlusion => Method::Occlusion { unit, baseline },
            Self::LeaveOneOut => Method::LeaveOneOut { unit },
            Self::Attention => Method::Attention { layer: args.layer, head: args.head },
        }
    }
}

impl UnitArg {
    pub fn unit(self) -> Unit {
        match self {
            Self::Token => Unit::Token,
            Self::Word => Unit::Word,
            Self::Sentence => Unit::Sentence,
        }
    }
}

impl AskedArgs {
    /// What was asked for; wrong usage where settings don't fit.
    pub fn asked(&self) -> Result<Asked, Usage> {
        self.asked_by(self.method)
    }

    /// The same by another method.
    pub fn asked_by(&self, method: MethodArg) -> Result<Asked, Usage> {
        if self.steps == 0 {
            return Err(Usage("--steps must be above 0".into()));
        }
        if method != MethodArg::Attention && (self.layer.is_some() || self.head.is_some()) {
            return Err(Usage("--layer and --head are settings of --method attention".into()));
        }
        let over = match self.over {
            OverArg::Rationale => Over::Rationale,
            OverArg::Prompt => Over::Prompt,
        };
        let most_steps = self.most_steps.max(self.steps);
        Ok(Asked { method: method.method(self), target: self.target.clone(), over, most_steps })
    }
}
