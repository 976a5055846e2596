//! Dense numbers that begin at 1: how the newest is found by asking whether single ones exist.
//!
//! Up to the newest "does it exist" is true, and beyond it false. So doubling steps find a number that does not exist, and
//! halving what is between finds the end: 2·log2(n) questions, and two or three for who guesses right. A guess need not
//! be right, and what is told does not depend on it.

/// The newest number, 0 where there is none. Numbers up to `known` exist and are not asked for; `guess` is where the
/// search begins.
///
/// # Errors
/// Those of `exists`.
pub async fn newest<F, E>(known: u64, guess: u64, exists: impl Fn(u64) -> F) -> Result<u64, E>
where
    F: Future<Output = Result<bool, E>>,
{
    let (mut present, mut absent) = (known, None);
    let mut step = 1_u64;
    if guess > known {
        let mut probe = guess;
        while probe > known {
            if exists(probe).await? {
                present = probe;
                break;
            }
            absent = Some(probe);
            probe = guess.saturating_sub(step);
            step = step.saturating_mul(2);
        }
        step = 1;
    }
    let mut absent = match absent {
        Some(absent) => absent,
        None => loop {
            let probe = present.saturating_add(step);
            if !exists(probe).await? {
                break probe;
            }
            present = probe;
            step = step.saturating_mul(2);
        },
    };
    while absent - present > 1 {
        let middle = present + (absent - present) / 2;
        if exists(middle).await? {
            present = middle;
        } else {
            absent = middle;
        }
    }
    Ok(present)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The newest of `length` numbers, and how many questions it took.
    fn found(length: u64, known: u64, guess: u64) -> (u64, u32) {
        let asked = Cell::new(0);
        let exists = |number| {
            asked.set(asked.get() + 1);
            std::future::ready(Ok::<_, ()>(number <= length))
        };
        let newest = futures::executor::block_on(newest(known, guess, exists));
        (newest.expect("it answers"), asked.get())
    }

    #[test]
    fn the_newest_is_found_from_every_guess() {
        for length in 0..70 {
            for known in [0, length / 2, length] {
                for guess in 0..140 {
                    let (newest, _) = found(length, known, guess);
                    assert_eq!(newest, length, "known {known}, guess {guess}");
                }
            }
        }
    }

    #[test]
    fn a_right_guess_takes_two_questions_and_none_takes_the_logarithm() {
        assert_eq!(found(10_000, 0, 10_000), (10_000, 2));
        assert_eq!(found(10_000, 10_000, 0), (10_000, 1));
        let (newest, asked) = found(10_000, 0, 0);
        assert!(newest == 10_000 && asked <= 28, "{asked}");
        let (newest, asked) = found(10_000, 0, 9_990);
        assert!(newest == 10_000 && asked <= 9, "{asked}");
    }
}
