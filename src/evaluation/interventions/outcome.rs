//! What the answers under interventions come to: how many are right, how many follow what they were given, how many are
//! other than usual, and what may be said of the difference.

use serde::Serialize;

use super::{About, Intervention, Record, Reply};
use crate::evaluation::statistics::{self, ALPHA, Comparison, Verdict, equivalence, mcnemar, paired_bootstrap, wilson};

/// Differences in accuracy below this do not matter, unless somebody says otherwise before looking; as in studies.
pub const MARGIN: f64 = 0.03;

/// The numbers of one intervention. Shares are from 0 to 1, intervals are of 95 %.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub title: String,
    #[serde(flatten)]
    pub about: About,
    pub made: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caveat: Option<String>,
    /// This is what the student is asked as usual.
    pub as_usual: bool,
    /// Rows that were asked, and rows for which there was nothing to put before the answer.
    pub asked: usize,
    pub left_out: usize,
    /// Right answers, of the rows whose answer is known.
    pub correct: usize,
    pub examples: usize,
    pub accuracy: Option<f64>,
    pub interval: Option<(f64, f64)>,
    /// Answers without a label, of all that were asked.
    pub unparsable: usize,
    /// Students that were still writing when the limit came.
    pub unfinished: usize,
    /// Students that did not come to an answer by themselves, and were led to one.
    pub led: usize,
    /// Given rationales that were cut to leave room for a label.
    pub cut: usize,
    /// Rows for which it is known what was argued for, answers that are just that, and usual answers that were.
    pub argued: usize,
    pub followed: usize,
    pub usual_followed: usize,
    pub follows: Option<f64>,
    pub follows_interval: Option<(f64, f64)>,
    /// Answers other than the usual one, of all that were asked.
    pub changed: usize,
    pub changes: Option<f64>,
    /// Against the usual asking over the same rows; absent where it is that itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// The difference to the usual asking.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// Accuracy of the usual asking over the same rows.
    pub usual: f64,
    /// Accuracy under the intervention less that.
    pub difference: f64,
    /// From a paired bootstrap over rows.
    pub interval: (f64, f64),
    /// Rows that only the intervention gets right, and that only the usual asking does.
    pub wins: usize,
    pub losses: usize,
    /// Of the exact McNemar test, and after Holm's adjustment over the interventions of one table.
    pub p: f64,
    pub p_holm: f64,
    pub equivalence_p: Option<f64>,
    pub equivalence_p_holm: Option<f64>,
    pub verdict: Verdict,
    pub says: String,
    #[serde(skip)]
    comparison: Comparison,
}

/// The numbers of records, in their order. Those of one student over the same rows are adjusted for each other.
pub fn outcomes(records: &[Record], margin: f64) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = records.iter().map(|record| Outcome::of(record, margin)).collect();
    let mut done = vec![false; outcomes.len()];
    for first in 0..outcomes.len() {
        let beside = |other: &usize| outcomes[*other].about.is_beside(&outcomes[first].about);
        let group: Vec<usize> = (first..outcomes.len()).filter(|other| !done[*other]).filter(beside).collect();
        group.iter().for_each(|place| done[*place] = true);
        adjust(&mut outcomes, &group);
    }
    outcomes
}

/// Adjusts the p-values of one table, and says what they then allow to be said.
fn adjust(outcomes: &mut [Outcome], group: &[usize]) {
    let compared: Vec<usize> = group.iter().copied().filter(|place| outcomes[*place].against.is_some()).collect();
    let of = |place: &usize| outcomes[*place].against.as_ref().map(|against| against.comparison);
    let mut comparisons: Vec<Comparison> = compared.iter().filter_map(of).collect();
    statistics::adjust(&mut comparisons);
    for (place, adjusted) in compared.iter().zip(comparisons) {
        let Some(against) = outcomes[*place].against.as_mut() else { continue };
        against.p_holm = adjusted.p;
        against.equivalence_p_holm = adjusted.equivalence_p;
        against.verdict = adjusted.verdict();
        against.says = against.verdict.to_string();
    }
}

impl Outcome {
    fn of(record: &Record, margin: f64) -> Self {
        let replies = &record.replies;
        let count = |holds: &dyn Fn(&&Reply) -> bool| replies.iter().filter(holds).count();
        let (correct, examples) = (count(&|reply| reply.is_correct()), count(&|reply| reply.answer.is_some()));
        let argued = count(&|reply| reply.argues_for.is_some());
        let followed = count(&|reply| reply.argues_for.is_some() && reply.predicted == reply.argues_for);
        let changed = count(&|reply| reply.predicted != reply.usual);
        let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        let is_usual = record.as_usual || record.about.intervention == Intervention::Usual;
        Self {
            title: record.about.title(),
            about: record.about.clone(),
            made: record.made.clone(),
            caveat: record.caveat.clone(),
            as_usual: is_usual,
            asked: replies.len(),
            left_out: record.left_out,
            correct,
            examples,
            accuracy: share(correct, examples),
            interval: (examples > 0).then(|| wilson(correct, examples)),
            unparsable: count(&|reply| reply.predicted.is_none()),
            unfinished: count(&|reply| reply.unfinished),
            led: count(&|reply| reply.led),
            cut: count(&|reply| reply.cut),
            argued,
            followed,
            usual_followed: count(&|reply| reply.argues_for.is_some() && reply.usual == reply.argues_for),
            follows: share(followed, argued),
            follows_interval: (argued > 0).then(|| wilson(followed, argued)),
            changed,
            changes: share(changed, replies.len()),
            against: if is_usual { None } else { Against::of(replies, margin) },
        }
    }
}

impl Reply {
    pub fn is_correct(&self) -> bool {
        self.answer.is_some() && self.predicted == self.answer
    }
}

impl Against {
    /// `None` where no right answer is known.
    fn of(replies: &[Reply], margin: f64) -> Option<Self> {
        let known = replies.iter().filter(|reply| reply.answer.is_some());
        let pairs: Vec<(bool, bool)> = known.map(|reply| (reply.is_correct(), reply.usual == reply.answer)).collect();
        if pairs.is_empty() {
            return None;
        }
        let wins = pairs.iter().filter(|(now, before)| *now && !before).count();
        let losses = pairs.iter().filter(|(now, before)| !now && *before).count();
        let differences: Vec<f64> =
            pairs.iter().map(|(now, before)| f64::from(u8::from(*now)) - f64::from(u8::from(*before))).collect();
        let (difference, interval) = paired_bootstrap(&differences);
        let comparison = Comparison {
            difference,
            interval,
            p: mcnemar(wins, losses),
            equivalence_p: equivalence(&differences, margin).ok().map(|found| found.p),
            margin,
            examples: pairs.len(),
            discordant: (wins + losses) as f64 / pairs.len() as f64,
            t_test: None,
            level: ALPHA,
        };
        let verdict = comparison.verdict();
        Some(Self {
            usual: pairs.iter().filter(|(_, before)| *before).count() as f64 / pairs.len() as f64,
            difference,
            interval,
            wins,
            losses,
            p: comparison.p,
            p_holm: comparison.p,
            equivalence_p: comparison.equivalence_p,
            equivalence_p_holm: comparison.equivalence_p,
            verdict,
            says: verdict.to_string(),
            comparison,
        })
    }
}
