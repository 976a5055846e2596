//! The demo's own random numbers: a generated database is the same for ever.
//!
//! PCG32 (XSH-RR 64/32) as M. E. O'Neill describes it in "PCG: A Family of Simple Fast Space-Efficient
//! Statistically Good Algorithms for Random Number Generation" (2014). A crate was rejected: the crates
//! reserve the right to change the sequence of their generators and of their range methods.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Pcg32 {
    state: u64,
    increment: u64,
}

impl Pcg32 {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

    /// The generator of the paper's reference code: `seed` is where it starts, `stream` which sequence it is.
    fn reference(seed: u64, stream: u64) -> Self {
        let mut generator = Self {
            state: 0,
            increment: (stream << 1) | 1,
        };
        generator.next();
        generator.state = generator.state.wrapping_add(seed);
        generator.next();
        generator
    }

    /// An own stream for one purpose on one day, so that drawing more or less for one thing never shifts another.
    pub(super) fn for_purpose(seed: u64, day: u32, purpose: u32) -> Self {
        let place = (u64::from(day) << 32) | u64::from(purpose);
        Self::reference(mix(seed ^ mix(place)), place)
    }

    /// The next 32 bits.
    pub(super) fn next(&mut self) -> u32 {
        let old = self.state;
        self.state = old
            .wrapping_mul(Self::MULTIPLIER)
            .wrapping_add(self.increment);
        let shifted = (((old >> 18) ^ old) >> 27) as u32;
        shifted.rotate_right((old >> 59) as u32)
    }

    /// A number from 0 up to, and without, `bound`; 0 when `bound` is 0.
    ///
    /// By multiplication instead of remainder; the bias is below `bound` / 2³² and nobody here can see it.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(bound)) >> 32) as u32
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.below(span))
    }

    /// True once in `of` times.
    pub(super) fn once_in(&mut self, of: u32) -> bool {
        self.below(of) == 0
    }

    /// A number from 0 up to, and without, 1, in steps of 2⁻³².
    pub(super) fn fraction(&mut self) -> f64 {
        f64::from(self.next()) / 4_294_967_296.0
    }

    /// One of `items`; `None` when there are none.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let bound = u32::try_from(items.len()).unwrap_or(u32::MAX);
        items.get(self.below(bound) as usize)
    }
}

/// The finaliser of splitmix64: it spreads neighbouring numbers over all of 64 bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference_code() {
        let mut generator = Pcg32::reference(42, 54);
        let drawn: Vec<u32> = (0..6).map(|_| generator.next()).collect();
        assert_eq!(
            drawn,
            [
                0xa15c_02b7,
                0x7b47_f409,
                0xba1d_3330,
                0x83d2_f293,
                0xbfa4_784b,
                0xcbed_606e
            ]
        );
    }

    #[test]
    fn ranges_reach_both_ends_and_nothing_else() {
        let mut generator = Pcg32::for_purpose(1, 2, 3);
        let drawn: std::collections::BTreeSet<i32> =
            (0..1000).map(|_| generator.between(-2, 2)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2]);
        assert_eq!(generator.pick::<u8>(&[]), None);
    }

    #[test]
    fn purposes_and_days_have_streams_of_their_own() {
        let first = |day, purpose| Pcg32::for_purpose(7, day, purpose).next();
        assert_ne!(first(1, 0), first(0, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(5, 5), first(5, 5));
    }
}
