//! The ablations: pure functions from tokens to tokens, deterministic in (seed, example id).

mod fill;
mod keep;
mod mask;
pub mod settings;
mod shuffle;

use super::recipe::{Ablation, Anew, Fill};
use super::tokens::Token;
use crate::seeds::Stream;
use crate::student::tokenizer::Piece;

/// What an ablation may draw on beside the tokens.
pub struct Material<'a> {
    /// The `ablation` seed of the run.
    pub seed: u64,
    pub example_id: &'a str,
    /// The rationale of the example that [`donor`] chose; `None` where no other example has one.
    pub donor: Option<&'a [Token]>,
    /// The epoch that is drawn for, 0 for the first; only what is drawn anew looks at it.
    pub epoch: usize,
    /// The mask token.
    pub mask: &'a Piece,
    /// The token that pauses are made of, where the student has one.
    pub pause: Option<&'a Piece>,
    /// Tokenises the text of `with`.
    pub tokenise: &'a dyn Fn(&str) -> Vec<Piece>,
}

/// Applies the ablations in order.
pub fn apply(ablations: &[Ablation], mut tokens: Vec<Token>, material: &Material) -> Vec<Token> {
    for (place, ablation) in ablations.iter().enumerate() {
        // The place keeps two shuffles of one recipe from being the same shuffle.
        let place = place.to_string();
        let path = [ablation.name(), &place, material.example_id];
        let mut stream = Stream::new(material.seed, &path);
        let of_epoch = || Stream::new(material.seed, &[&path[..], &["epoch", &material.epoch.to_string()]].concat());
        tokens = match ablation {
            Ablation::Shuffle(settings) => {
                if let Some(Anew::Epoch) = settings.anew {
                    stream = of_epoch();
                }
                shuffle::shuffle(tokens, settings.unit, &mut stream)
            }
            Ablation::Mask(settings) => mask::mask(tokens, settings, &material.pieces(&settings.with), &mut stream),
            Ablation::Keep(settings) => keep::keep(tokens, settings, &mut stream),
            Ablation::Truncate(settings) => keep::truncate(tokens, settings),
            Ablation::Remove(settings) => keep::remove(tokens, settings, material.epoch, &mut of_epoch()),
            Ablation::Swap(_) => material.donor.map_or_else(Vec::new, <[Token]>::to_vec),
            Ablation::Fill(settings) => fill::fill(tokens, settings, &material.filler(settings)),
        };
    }
    tokens
}

impl Material<'_> {
    fn filler(&self, settings: &Fill) -> Vec<Piece> {
        match self.pause.filter(|_| settings.pauses()) {
            Some(pause) => vec![pause.clone()],
            None => self.pieces(&settings.with),
        }
    }

    /// The tokens of a replacement text, or the mask.
    fn pieces(&self, with: &Option<String>) -> Vec<Piece> {
        let pieces = with.as_deref().map(|text| (self.tokenise)(&format!(" {}", text.trim()))).unwrap_or_default();
        if pieces.is_empty() { vec![self.mask.clone()] } else { pieces }
    }
}

/// Which of `count` examples lends its rationale to the one at `place`: never itself.
pub fn donor(seed: u64, example_id: &str, place: usize, count: usize) -> Option<usize> {
    if count < 2 {
        return None;
    }
    let other = Stream::new(seed, &["donor", example_id]).below(count - 1);
    Some(if other < place { other } else { other + 1 })
}

/// A token that stands where `of` stood but says something else.
fn replaced(of: &Token, with: &Piece, in_loss: bool) -> Token {
    Token {
        id: with.id,
        text: if of.text.starts_with(char::is_whitespace) { with.text.clone() } else { with.text.trim_start().into() },
        origin: None,
        score: None,
        similarity: None,
        highlighted: false,
        in_loss,
        ..of.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rationale::recipe::*;
    use crate::rationale::tokens::tokens;
    use crate::student::Tokenizer;
    use proptest::prelude::*;

    const TEXT: &str =
        "it has to do with gills and scales . neither barn nor hive would go with that . so it is clear !";

    fn tokenizer() -> Tokenizer {
        Tokenizer::words([TEXT.to_owned()].into_iter(), 100).unwrap()
    }

    fn run(ablations: &[Ablation], seed: u64, id: &str) -> Vec<Token> {
        run_in(0, ablations, seed, id)
    }

    fn run_in(epoch: usize, ablations: &[Ablation], seed: u64, id: &str) -> Vec<Token> {
        let tokenizer = tokenizer();
        let scores: Vec<f32> = (0..23).map(|place| ((place * 7) % 11) as f32).collect();
        let mut own = tokens(&tokenizer, TEXT, &[3..6, 18..23], Some(&scores)).unwrap();
        own.iter_mut()
            .enumerate()
            .for_each(|(place, token)| token.similarity = (place % 5 > 0).then(|| -(place as f32)));
        let donor = tokens(&tokenizer, "that is barn .", &[], None).unwrap();
        let pause = Piece { id: 99, text: " <pause>".into(), start: 0 };
        let mask = Piece { id: 3, text: " <mask>".into(), start: 0 };
        let tokenise = |text: &str| tokenizer.pieces(text).unwrap();
        let material = Material {
            seed,
            example_id: id,
            donor: Some(&donor),
            epoch,
            mask: &mask,
            pause: Some(&pause),
            tokenise: &tokenise,
        };
        apply(ablations, own, &material)
    }

    fn text(tokens: &[Token]) -> String {
        tokens.iter().map(|token| token.text.as_str()).collect::<String>().trim().to_owned()
    }

    fn shuffle(unit: Unit) -> Ablation {
        Ablation::Shuffle(Shuffle { unit, anew: None })
    }

    fn keep(by: KeepBy, count: Option<usize>) -> Ablation {
        Ablation::Keep(Keep::of(by, count))
    }

    #[test]
    fn a_shuffle_keeps_every_token_and_moves_most() {
        let (plain, mixed) = (run(&[], 1, "q1"), run(&[shuffle(Unit::Token)], 1, "q1"));
        let moved = plain.iter().zip(&mixed).filter(|(one, other)| one.origin != other.origin).count();
        assert!(moved > plain.len() / 2);
        let mut places: Vec<_> = mixed.iter().map(|token| token.origin.unwrap()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..plain.len()).collect::<Vec<_>>());
    }

    #[test]
    fn sentences_move_whole() {
        let mixed = run(&[shuffle(Unit::Sentence)], 5, "q1");
        let order: Vec<_> = mixed.iter().map(|token| token.sentence).collect();
        let mut seen = order.clone();
        seen.dedup();
        assert_eq!(seen.len(), 3, "{order:?}");
        assert_ne!(seen, [0, 1, 2], "this seed changes the order");
    }

    #[test]
    fn a_draw_depends_on_seed_and_example_alone() {
        let recipe = [shuffle(Unit::Word), Ablation::Mask(Mask::default())];
        assert_eq!(run(&recipe, 1, "q1"), run(&recipe, 1, "q1"));
        assert_ne!(run(&recipe, 1, "q1"), run(&recipe, 2, "q1"));
        assert_ne!(run(&recipe, 1, "q1"), run(&recipe, 1, "q2"));
        let twice = run(&[shuffle(Unit::Token), shuffle(Unit::Token)], 1, "q1");
        assert_ne!(twice, run(&[shuffle(Unit::Token)], 1, "q1"));
    }

    #[test]
    fn masks_stand_in_or_tokens_go() {
        let masked = run(&[Ablation::Mask(Mask { fraction: 0.5, ..Mask::default() })], 1, "q1");
        assert_eq!(masked.len(), 23);
        let masks: Vec<_> = masked.iter().filter(|token| token.id == 3).collect();
        assert_eq!(masks.len(), 12);
        assert!(masks.iter().all(|mask| !mask.in_loss && mask.origin.is_none()));
        let dropped = Mask { fraction: 0.5, how: MaskHow::Drop, ..Mask::default() };
        assert_eq!(run(&[Ablation::Mask(dropped)], 1, "q1").len(), 11);
        let written = Mask { fraction: 1.0, with: Some("barn".into()), in_loss: true, ..Mask::default() };
        let written = run(&[Ablation::Mask(written)], 1, "q1");
        assert!(written.iter().all(|token| token.text == " barn" && token.in_loss));
    }

    #[test]
    fn keys_stay_in_their_order() {
        assert_eq!(text(&run(&[keep(KeepBy::First, Some(2))], 1, "q1")), "it has");
        assert_eq!(text(&run(&[keep(KeepBy::Last, Some(2))], 1, "q1")), "clear !");
        assert_eq!(text(&run(&[keep(KeepBy::Highlight, None)], 1, "q1")), "has gills");
        let key = run(&[keep(KeepBy::Attribution, Some(4))], 1, "q1");
        let scores: Vec<_> = key.iter().map(|token| token.score.unwrap()).collect();
        assert_eq!(scores, [10.0, 9.0, 10.0, 9.0]);
        let places: Vec<_> = key.iter().map(|token| token.origin.unwrap()).collect();
        assert!(places.is_sorted());
        assert_eq!(run(&[keep(KeepBy::Random, Some(99))], 1, "q1").len(), 23);
    }

    #[test]
    fn another_example_and_filler_say_nothing_of_this_one() {
        assert_eq!(text(&run(&[Ablation::Swap(Swap::default())], 1, "q1")), "that is barn .");
        let filler = run(&[Ablation::Fill(Fill::default())], 1, "q1");
        assert!(filler.len() == 23 && filler.iter().all(|token| token.id == 3 && !token.in_loss));
        let dots = run(&[Ablation::Fill(Fill { with: Some("that is".into()), in_loss: true, count: None })], 1, "q1");
        assert!(text(&dots).starts_with("that is that is that"));
    }

    #[test]
    fn what_is_drawn_anew_is_another_draw_each_epoch_and_nothing_else_is() {
        let anew = [Ablation::Shuffle(Shuffle { unit: Unit::Word, anew: Some(Anew::Epoch) })];
        let epochs: Vec<_> = (0..5).map(|epoch| run_in(epoch, &anew, 1, "q1")).collect();
        for (epoch, own) in epochs.iter().enumerate() {
            assert_eq!(own, &run_in(epoch, &anew, 1, "q1"));
            assert_eq!(own.len(), 23);
            assert!(epochs[..epoch].iter().all(|other| other != own));
        }
        let once = [shuffle(Unit::Word), Ablation::Mask(Mask::default())];
        assert_eq!(run_in(0, &once, 1, "q1"), run_in(3, &once, 1, "q1"));
    }

    #[test]
    fn a_cut_rationale_is_its_first_or_last_tokens() {
        let cut = |count, fraction, from| run(&[Ablation::Truncate(Truncate { count, fraction, from })], 1, "q1");
        assert_eq!(cut(Some(2), None, CutFrom::End), run(&[keep(KeepBy::First, Some(2))], 1, "q1"));
        assert_eq!(cut(Some(2), None, CutFrom::Start), run(&[keep(KeepBy::Last, Some(2))], 1, "q1"));
        // 23 tokens: half of them are 11.5, which is rounded up.
        assert_eq!(cut(None, Some(0.5), CutFrom::End).len(), 12);
        assert_eq!(cut(Some(99), None, CutFrom::Start).len(), 23);
        assert!(cut(None, Some(0.0), CutFrom::End).is_empty());
    }

    #[test]
    fn the_most_similar_tokens_stay_and_those_without_a_vector_go_first() {
        let similar = run(&[keep(KeepBy::Similarity, Some(3))], 1, "q1");
        assert_eq!(similar.iter().map(|token| token.origin.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        let most = run(&[keep(KeepBy::Similarity, Some(18))], 1, "q1");
        assert!(most.iter().all(|token| token.similarity.is_some()), "18 of 23 have a vector");
    }

    #[test]
    fn pauses_and_counted_filler_have_a_length_of_their_own() {
        let pause = Ablation::Fill(Fill { with: Some(PAUSE.into()), in_loss: false, count: Some(40) });
        let pauses = run(&[pause], 1, "q1");
        assert_eq!(pauses.len(), 40);
        assert!(pauses.iter().all(|token| token.id == 99 && !token.in_loss && token.origin.is_none()));
        let words = Fill { with: Some("that is".into()), in_loss: true, count: Some(3) };
        assert_eq!(text(&run(&[keep(KeepBy::First, Some(0)), Ablation::Fill(words)], 1, "q1")), "that is that");
    }

    #[test]
    fn nobody_lends_to_himself() {
        for place in 0..50 {
            let other = donor(3, &format!("q{place}"), place, 50).unwrap();
            assert!(other != place && other < 50);
        }
        assert_eq!(donor(3, "q", 0, 1), None);
    }

    fn any_ablation() -> impl Strategy<Value = Ablation> {
        let count = 0usize..30;
        prop_oneof![
            prop_oneof![Just(Unit::Token), Just(Unit::Word), Just(Unit::Sentence)].prop_map(shuffle),
            (0.0..=1.0f64, any::<bool>()).prop_map(|(fraction, replace)| {
                let how = if replace { MaskHow::Replace } else { MaskHow::Drop };
                Ablation::Mask(Mask { fraction, how, ..Mask::default() })
            }),
            (prop::sample::select(KeepBy::ALL.to_vec()), count).prop_map(|(by, count)| keep(by, Some(count))),
            Just(Ablation::Swap(Swap::default())),
            any::<bool>().prop_map(|in_loss| Ablation::Fill(Fill { in_loss, ..Fill::default() })),
            (0.0..=1.0f64, any::<bool>()).prop_map(|(fraction, start)| {
                let from = if start { CutFrom::Start } else { CutFrom::End };
                Ablation::Truncate(Truncate { count: None, fraction: Some(fraction), from })
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_recipe_can_be_applied_and_never_adds_tokens(recipe in prop::collection::vec(any_ablation(), 0..5), seed: u64) {
            let out = run(&recipe, seed, "q1");
            prop_assert!(out.len() <= 23);
            prop_assert_eq!(&out, &run(&recipe, seed, "q1"));
            let asked = recipe.iter().any(|ablation| matches!(ablation, Ablation::Fill(Fill { in_loss: true, .. })));
            prop_assert!(asked || out.iter().all(|token| token.id != 3 || !token.in_loss), "masks are in no loss unasked");
        }

        #[test]
        fn shares_and_counts_are_exact_and_a_choice_made_twice_is_made_once(
            by in prop::sample::select(KeepBy::ALL.to_vec()), fraction in 0.0..=1.0f64, count in 0usize..40, seed: u64,
        ) {
            let own = |count, fraction| Ablation::Keep(Keep { count, fraction, ..Keep::of(by, None) });
            let most = if by == KeepBy::Highlight { 2 } else { 23 };
            let by_share = run(&[own(None, Some(fraction))], seed, "q1");
            prop_assert_eq!(by_share.len(), ((fraction * 23.0).round() as usize).min(most));
            let by_count = run(&[own(Some(count), None)], seed, "q1");
            prop_assert_eq!(by_count.len(), count.min(most));
            prop_assert!(by_count.iter().map(|token| token.origin).is_sorted());
            prop_assert_eq!(&run(&[own(Some(count), None), own(Some(count), None)], seed, "q1"), &by_count);
        }

        #[test]
        fn hostile_text_survives_every_recipe(text in any::<String>(), recipe in prop::collection::vec(any_ablation(), 0..5)) {
            let tokenizer = tokenizer();
            let own = tokens(&tokenizer, &text, &[0..3, 5..9], None).unwrap();
            let (count, mask) = (own.len(), Piece { id: 3, text: " <mask>".into(), start: 0 });
            let tokenise = |text: &str| tokenizer.pieces(text).unwrap();
            let material =
                Material { seed: 1, example_id: &text, donor: None, epoch: 0, mask: &mask, pause: None, tokenise: &tokenise };
            prop_assert!(apply(&recipe, own, &material).len() <= count);
        }
    }

    #[test]
    fn with_each_epoch_more_is_gone() {
        let of = |epoch, remove: Remove| run_in(epoch, &[Ablation::Remove(remove)], 1, "q1");
        let by = |count, fraction, from| Remove { count, fraction, from, smoothing: None };
        let left: Vec<usize> = (0..5).map(|epoch| of(epoch, by(Some(8), None, CutFrom::Start)).len()).collect();
        assert_eq!(left, [23, 15, 7, 0, 0]);
        let left: Vec<usize> = (0..4).map(|epoch| of(epoch, by(None, Some(0.4), CutFrom::End)).len()).collect();
        assert_eq!(left, [23, 14, 5, 0]);
        assert!(text(&of(2, by(Some(8), None, CutFrom::Start))).ends_with("is clear !"));
        assert!(text(&of(2, by(Some(8), None, CutFrom::End))).starts_with("it has to do"));
    }

    #[test]
    fn smoothing_takes_a_few_more_at_random() {
        let remove = Remove { count: Some(2), fraction: None, from: CutFrom::Start, smoothing: Some(1.0) };
        let gone = |epoch, id: &str| 23 - run_in(epoch, &[Ablation::Remove(remove.clone())], 1, id).len();
        assert_eq!(gone(0, "q1"), 0, "the first epoch has all");
        let more: Vec<usize> = (0..400).map(|number| gone(1, &format!("q{number}")) - 2).collect();
        // Geometric with the ratio 1/e: 63 % none, a mean of 0.58.
        let none = more.iter().filter(|more| **more == 0).count() as f64 / 400.0;
        let mean = more.iter().sum::<usize>() as f64 / 400.0;
        assert!((none - 0.632).abs() < 0.08 && (mean - 0.582).abs() < 0.15, "{none} {mean}");
        assert_eq!(gone(1, "q7"), gone(1, "q7"));
    }
}
