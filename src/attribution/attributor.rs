//! Attributes examples: puts them to the student as the target asks, and scores many together.

use std::ops::{ControlFlow, Range};

use super::example::{Asked, AttributionError, ExampleAttribution, Over, Posed, Target, contrast};
use super::method::{Means, Method, Scores};
use super::query::Query;
use super::room::Room;
use super::start::Start;
use super::variants::{Change, Variant, values};
use crate::corpus::{Choice, Example};
use crate::rationale::recipe::Unit;
use crate::rationale::{Borrowed, Placement, Rendered, Renderer, Role};
use crate::student::Decoder;

/// Examples that are scored together; the answer to a stop comes after so many at the latest.
pub const TOGETHER: usize = 16;

/// A student, with how it reads and what is asked of it.
pub struct Attributor<'a> {
    pub decoder: &'a Decoder,
    /// Reads rationales before the label, whole.
    pub renderer: &'a Renderer,
    /// Where the student had its rationales in training: what targets beside the label are read in.
    pub placement: Placement,
    pub asked: &'a Asked,
    pub room: Room,
}

/// Is given each result with the example's place, and can stop the work there.
pub type OnFound<'a> = &'a mut dyn FnMut(usize, Result<ExampleAttribution, AttributionError>) -> ControlFlow<()>;

impl Attributor<'_> {
    /// Attributes one example.
    pub fn one(&self, example: &Example) -> Result<ExampleAttribution, AttributionError> {
        let mut found = Err(AttributionError::NoRationale { id: example.id.clone() });
        self.all(std::slice::from_ref(example), &mut |_, result| {
            found = result;
            ControlFlow::Continue(())
        });
        found
    }

    /// Attributes examples, in their order.
    pub fn all(&self, examples: &[Example], found: OnFound) {
        for (group, examples) in examples.chunks(TOGETHER).enumerate() {
            let posed: Vec<_> = examples.iter().map(|example| self.pose(example)).collect();
            let queries: Vec<Query> = posed.iter().flatten().map(|posed| posed.query.clone()).collect();
            let units: Vec<_> = posed.iter().flatten().map(|posed| posed.units.clone()).collect();
            let mut scores = self.means().score(&self.asked.method, &queries, &units).map(Vec::into_iter);
            for (place, posed) in posed.into_iter().enumerate() {
                let told = posed.and_then(|posed| match &mut scores {
                    Ok(scores) => match scores.next() {
                        Some(scores) => posed.told(&self.asked.method, scores),
                        None => Err(AttributionError::NotANumber { id: posed.id }),
                    },
                    // One example's failure is told of that example: alone, others may do.
                    Err(_) if examples.len() > 1 => self.alone(posed),
                    Err(error) => Err(AttributionError::Tensor { id: posed.id, source: copy(error) }),
                });
                if found(group * TOGETHER + place, told).is_break() {
                    return;
                }
            }
        }
    }

    fn means(&self) -> Means<'_> {
        let pad = self.renderer.tokenizer.specials.eos;
        Means { decoder: self.decoder, pad, room: &self.room, most_steps: self.asked.most_steps }
    }

    fn alone(&self, posed: Posed) -> Result<ExampleAttribution, AttributionError> {
        let (queries, units) = ([posed.query.clone()], [posed.units.clone()]);
        match self.means().score(&self.asked.method, &queries, &units) {
            Ok(mut scores) if !scores.is_empty() => posed.told(&self.asked.method, scores.remove(0)),
            Ok(_) => Err(AttributionError::NotANumber { id: posed.id }),
            Err(source) => Err(AttributionError::Tensor { id: posed.id, source }),
        }
    }

    /// What was found earlier, of the same example by the same question: its tokens are rendered, nothing is computed.
    pub fn retold(
        &self,
        example: &Example,
        found: Scores,
        target: &str,
    ) -> Result<ExampleAttribution, AttributionError> {
        let (rendered, range, end) = self.sequence(example)?;
        let query = Query::new(rendered.ids()[..end].to_vec(), range, vec![]);
        Posed::new(&example.id, rendered, query, Unit::Token, target.to_owned()).told(&self.asked.method, found)
    }

    /// The tokens that are shown, the places that get a score, and the end of what is read before the target.
    fn sequence(&self, example: &Example) -> Result<(Rendered, Range<usize>, usize), AttributionError> {
        let id = || example.id.clone();
        let (rendered, end) = match self.asked.target {
            Target::Label | Target::Choice(_) | Target::Contrast => {
                let rendered = self.read_first(example)?;
                let end = rendered.tokens.len();
                (rendered, end)
            }
            Target::Token(place) => {
                let rendered = self.trained_on(example)?;
                let count = rendered.tokens.len();
                if place >= count {
                    return Err(AttributionError::NoToken { id: id(), place, count });
                }
                if place == 0 {
                    return Err(AttributionError::NothingBefore { id: id(), place });
                }
                (rendered, place)
            }
            Target::Rationale => {
                let rendered = self.trained_on(example)?;
                let own = rendered.places(Role::Rationale);
                if own.is_empty() {
                    return Err(AttributionError::NoRationale { id: id() });
                }
                // The rationale can't rest on itself: what stands before it is scored, whatever was asked.
                return Ok((rendered, 0..own.start, own.start));
            }
        };
        let range = match self.asked.over {
            Over::Prompt => 0..end,
            Over::Rationale => {
                let own = rendered.places(Role::Rationale);
                own.start.min(end)..own.end.min(end)
            }
        };
        if range.is_empty() { Err(AttributionError::NoRationale { id: id() }) } else { Ok((rendered, range, end)) }
    }

    /// Puts an example as the target asks.
    pub(super) fn pose(&self, example: &Example) -> Result<Posed, AttributionError> {
        let id = || example.id.clone();
        let chosen = match &self.asked.target {
            Target::Choice(wanted) => Some(example.choice_named(wanted).ok_or_else(|| {
                let known = example.choices.iter().map(|choice| crate::text::line(&choice.label).into_owned());
                let choice = crate::text::line(wanted).into_owned();
                AttributionError::NoChoice { id: id(), choice, known: known.collect() }
            })?),
            Target::Label | Target::Contrast => {
                Some(example.gold().ok_or_else(|| AttributionError::NoAnswer { id: id() })?)
            }
            Target::Token(_) | Target::Rationale => None,
        };
        self.check_heads()?;
        let (rendered, range, end) = self.sequence(example)?;
        let ids = rendered.ids();
        let text = |choice| self.renderer.template.label_text(choice).trim().to_owned();
        let (continuation, mut target) = match (chosen, &self.asked.target) {
            (Some(chosen), _) => (self.renderer.label_ids(chosen)?, text(chosen)),
            (None, Target::Token(place)) => (vec![ids[*place]], rendered.tokens[*place].text.trim().to_owned()),
            (None, _) => (ids[rendered.places(Role::Rationale)].to_vec(), "the rationale".into()),
        };
        let mut query = Query::new(ids[..end].to_vec(), range, continuation);
        if let (Some(chosen), Target::Contrast) = (chosen, &self.asked.target) {
            let other = self.strongest_other(example, chosen, &query)?;
            target = format!("{target} over {}", text(other));
            query.parts = contrast(self.renderer.label_ids(chosen)?, self.renderer.label_ids(other)?);
        }
        let unit = self.asked.method.unit().unwrap_or_default();
        Ok(Posed::new(&example.id, rendered, query, unit, target))
    }

    /// Refuses attention of a layer or a head that the student does not have.
    fn check_heads(&self) -> Result<(), AttributionError> {
        let Method::Attention { layer, head } = self.asked.method else { return Ok(()) };
        let (layers, heads) = (self.decoder.architecture.layers.len(), self.decoder.architecture.heads);
        let wanted = |name: &str, number: Option<usize>, count: usize| {
            number.filter(|number| *number >= count).map(|number| format!("{name} {number}"))
        };
        match wanted("layer", layer, layers).or_else(|| wanted("head", head, heads)) {
            Some(wanted) => Err(AttributionError::NoHead { wanted, layers, heads }),
            None => Ok(()),
        }
    }

    /// The sequence up to the label, with the rationale before it.
    fn read_first(&self, example: &Example) -> Result<Rendered, AttributionError> {
        Ok(self.renderer.prompt_with_rationale(example, Borrowed::default())?)
    }

    /// The sequence that the student is trained on, its rationale whole.
    fn trained_on(&self, example: &Example) -> Result<Rendered, AttributionError> {
        let mut renderer = self.renderer.clone();
        renderer.recipe.placement = self.placement;
        Ok(renderer.render(example, Borrowed::default())?)
    }

    /// The most probable choice beside one. A choice that is written alike is none.
    fn strongest_other<'e>(
        &self,
        example: &'e Example,
        chosen: &Choice,
        query: &Query,
    ) -> Result<&'e Choice, AttributionError> {
        let text = |choice: &Choice| self.renderer.template.label_text(choice);
        let others: Vec<&Choice> = example.choices.iter().filter(|choice| text(choice) != text(chosen)).collect();
        let ids = others.iter().map(|choice| self.renderer.label_ids(choice)).collect::<Result<Vec<_>, _>>()?;
        let queries: Vec<Query> =
            ids.into_iter().map(|ids| Query::new(query.ids.clone(), query.range.clone(), ids)).collect();
        let variants: Vec<Variant> = queries.iter().map(|query| Variant { query, change: Change::Nothing }).collect();
        let scores = values(self.decoder, &variants, &Start::Zero, &self.room)
            .map_err(|source| AttributionError::Tensor { id: example.id.clone(), source })?;
        let best = scores.iter().zip(others).reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, choice)| choice).ok_or_else(|| AttributionError::NoOther { id: example.id.clone() })
    }
}

/// Candle's errors are not to be cloned; their words are.
fn copy(error: &candle_core::Error) -> candle_core::Error {
    candle_core::Error::Msg(error.to_string())
}
