//! How much goes through a student at once: estimated from free memory first, and halved where that was too much.

use std::cell::Cell;

use candle_core::{DeviceLocation, Error, Result};

use crate::student::{Decoder, memory};

/// Tokens that go through together on a CPU. More are no faster there, and take memory in proportion.
const ON_CPU: usize = 512;

/// The same on a GPU, whose products want more rows.
const ON_GPU: usize = 1 << 16;

/// The part of free memory that is taken.
const SHARE: u64 = 2;

/// Room for tokens of one batch.
pub struct Room {
    tokens: Cell<usize>,
    /// Whether nobody waits for what goes through any more.
    is_unwanted: Option<Box<dyn Fn() -> bool>>,
}

impl Room {
    /// Room beside what is taken already. `free` is what the device has left in bytes, where that is known.
    pub fn new(decoder: &Decoder, free: Option<u64>) -> Self {
        let most = match decoder.device().location() {
            DeviceLocation::Cpu => ON_CPU,
            _ => ON_GPU,
        };
        let bytes = memory::bytes_of_a_token(&decoder.architecture, most, decoder.ops(), decoder.dtype());
        let fits = free.map_or(usize::MAX, |free| (free / SHARE / bytes.max(1)) as usize);
        Self { tokens: Cell::new(most.min(fits).max(1)), is_unwanted: None }
    }

    /// Room for a number of tokens.
    pub fn of(tokens: usize) -> Self {
        Self { tokens: Cell::new(tokens.max(1)), is_unwanted: None }
    }

    /// Asks before each batch whether it is still wanted. If not, the work ends in an error.
    pub fn stop_when(&mut self, is_unwanted: impl Fn() -> bool + 'static) {
        self.is_unwanted = Some(Box::new(is_unwanted));
    }

    /// Hands items on in batches whose sequences, padded to the longest, fit; one item at least, however long it is.
    /// A batch that a device has no memory for is halved, and so are all after it.
    pub fn batches<T>(
        &self,
        items: &[T],
        length: impl Fn(&T) -> usize,
        mut work: impl FnMut(&[T]) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < items.len() {
            if self.is_unwanted.as_ref().is_some_and(|is_unwanted| is_unwanted()) {
                candle_core::bail!("interrupted");
            }
            let rest = &items[done..];
            let mut longest = 0;
            let fits = |(place, item): &(usize, &T)| {
                longest = longest.max(length(item));
                *place == 0 || (place + 1) * longest <= self.tokens.get()
            };
            let count = rest.iter().enumerate().take_while(fits).count();
            match work(&rest[..count]) {
                Ok(()) => done += count,
                Err(error) if count > 1 && is_out_of_memory(&error) => {
                    let longest = rest[..count].iter().map(&length).max().unwrap_or(1);
                    self.tokens.set((count / 2 * longest).max(1));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a device had no memory left. Its driver says so in words.
fn is_out_of_memory(error: &Error) -> bool {
    let text = error.to_string().to_lowercase();
    ["out of memory", "out_of_memory", "alloc_failed"].iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(room: &Room, lengths: &[usize], most: usize) -> Result<Vec<Vec<usize>>> {
        let mut done = Vec::new();
        room.batches(
            lengths,
            |length| *length,
            |batch| {
                let padded = batch.len() * batch.iter().max().unwrap();
                if padded > most {
                    candle_core::bail!("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")")
                }
                done.push(batch.to_vec());
                Ok(())
            },
        )?;
        Ok(done)
    }

    #[test]
    fn batches_fit_and_nothing_is_left_out() {
        let room = Room::of(10);
        assert_eq!(batches(&room, &[4, 4, 4, 12, 3, 3], 99).unwrap(), [vec![4, 4], vec![4], vec![12], vec![3, 3]]);
    }

    #[test]
    fn nothing_goes_through_that_nobody_wants() {
        let mut room = Room::of(4);
        let asked = std::rc::Rc::new(Cell::new(0));
        let counted = asked.clone();
        room.stop_when(move || counted.replace(counted.get() + 1) == 2);
        let mut done = 0;
        let ended = room.batches(
            &[4; 6],
            |length| *length,
            |batch| {
                done += batch.len();
                Ok(())
            },
        );
        assert_eq!((ended.is_err(), done, asked.get()), (true, 2, 3));
    }

    #[test]
    fn what_does_not_fit_is_halved_and_stays_so() {
        let room = Room::of(16);
        let done = batches(&room, &[4; 6], 8).unwrap();
        assert_eq!(done, [[4, 4], [4, 4], [4, 4]]);
        assert_eq!(room.tokens.get(), 8);
        assert!(batches(&room, &[9], 8).is_err(), "one alone can't be halved");
    }
}
