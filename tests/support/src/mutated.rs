//! Files that somebody has damaged, or written to do harm: for tests of everything that reads what others have made.

/// What numbers are replaced by, as text.
const NUMBERS: [&str; 8] = ["0", "-1", "1e9", "4294967296", "18446744073709551615", "1e308", "nan", "inf"];

/// `bytes` with one to eight changes: flipped bits, other bytes, cut and repeated stretches, and extreme numbers. The same for the same
/// seed, so that a failure can be repeated.
pub fn mutated(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut draws = Draws(seed);
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + draws.below(8) {
        if bytes.is_empty() {
            break;
        }
        let at = draws.below(bytes.len());
        let length = 1 + draws.below(16.min(bytes.len() - at));
        match draws.below(6) {
            0 => bytes[at] ^= 1 << draws.below(8),
            1 => bytes[at] = draws.below(256) as u8,
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let stretch = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, stretch));
            }
            4 => bytes[at..at + length].fill([0, 0xff][draws.below(2)]),
            _ => put_number(&mut bytes, at, NUMBERS[draws.below(NUMBERS.len())]),
        }
    }
    bytes
}

/// Puts `text` in the place of the first number from `at` on; without one, nothing changes.
fn put_number(bytes: &mut Vec<u8>, at: usize, text: &str) {
    let Some(start) = (at..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let end = (start..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    drop(bytes.splice(start..end, text.bytes()));
}

/// SplitMix64 (Steele, Lea and Flood 2014): any seed gives good draws from the first on.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
