//! At which layer, and after which token, a label becomes readable.

use serde::{Deserialize, Serialize};

/// Where a label is readable. A cell (layer, place) *reads the label* if, there, the label's first token is more probable
/// than the first token of every other choice; a tie does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readable {
    /// The first layer that reads the label at the place where it is written; 0 is the embedding.
    pub first: Option<usize>,
    /// The layer from which on every deeper one does so too: "readable from this layer".
    pub layer: Option<usize>,
    /// The first place from which on that layer reads the label at every place up to the one where it is written:
    /// "readable after this token".
    pub place: Option<usize>,
    /// For every place, the first layer that reads the label there.
    pub first_by_place: Vec<Option<usize>>,
}

impl Readable {
    /// From what each of `streams` cells of `places` places reads; `label` is the place where the label is written.
    pub fn of(streams: usize, places: usize, label: usize, reads: impl Fn(usize, usize) -> bool) -> Self {
        let at = |place: usize| (0..streams).find(|stream| reads(*stream, place));
        let missed = (0..streams).rev().find(|stream| !reads(*stream, label));
        let layer = missed.map_or(0, |missed| missed + 1);
        let layer = (layer < streams).then_some(layer);
        let place =
            layer.map(|layer| (0..label).rev().find(|place| !reads(layer, *place)).map_or(0, |missed| missed + 1));
        Self { first: at(label), layer, place, first_by_place: (0..places).map(at).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are places, columns the embedding and three layers; the label is written at the last place but one.
    fn readable(rows: [&str; 5]) -> Readable {
        Readable::of(4, 5, 3, |stream, place| rows[place].as_bytes()[stream] == b'x')
    }

    #[test]
    fn a_label_is_readable_from_the_layer_and_the_place_from_which_it_stays_so() {
        let found = readable(["x...", "..x.", "..xx", ".xxx", "...."]);
        assert_eq!((found.first, found.layer, found.place), (Some(1), Some(1), Some(3)));
        assert_eq!(found.first_by_place, [Some(0), Some(2), Some(2), Some(1), None]);

        // The embedding has it by chance and loses it again.
        let found = readable(["..xx", "....", "..xx", "x.xx", "xxxx"]);
        assert_eq!((found.first, found.layer, found.place), (Some(0), Some(2), Some(2)));
    }

    #[test]
    fn what_the_last_layer_does_not_read_is_not_readable() {
        let found = readable(["xxxx", "xxxx", "xxxx", "xxx.", "xxxx"]);
        assert_eq!((found.first, found.layer, found.place), (Some(0), None, None));
        let all = readable(["xxxx"; 5]);
        assert_eq!((all.layer, all.place), (Some(0), Some(0)));
    }
}
