//! A `numeric` of any number of digits, as text.

/// A `numeric` as it is sent.
#[derive(Debug, PartialEq)]
pub(super) enum Number {
    NaN,
    Infinity,
    NegativeInfinity,
    Finite {
        negative: bool,
        /// The power of 10 000 of the first group.
        weight: i16,
        /// Digits after the point.
        scale: u16,
        /// Groups of four digits, the most significant first.
        groups: Vec<u16>,
    },
}

impl Number {
    /// `None` where the bytes are none.
    pub(super) fn parse(mut raw: &[u8]) -> Option<Self> {
        let count = take_i16(&mut raw)?;
        let weight = take_i16(&mut raw)?;
        let sign = take_i16(&mut raw)? as u16;
        let scale = take_i16(&mut raw)?;
        let negative = match sign {
            0x0000 => false,
            0x4000 => true,
            0xc000 => return Some(Self::NaN),
            0xd000 => return Some(Self::Infinity),
            0xf000 => return Some(Self::NegativeInfinity),
            _ => return None,
        };
        let groups = (0..count)
            .map(|_| {
                u16::try_from(take_i16(&mut raw)?)
                    .ok()
                    .filter(|group| *group < 10_000)
            })
            .collect::<Option<_>>()?;
        Some(Self::Finite {
            negative,
            weight,
            scale: scale.try_into().ok()?,
            groups,
        })
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (negative, weight, scale, groups) = match self {
            Self::NaN => return f.write_str("NaN"),
            Self::Infinity => return f.write_str("Infinity"),
            Self::NegativeInfinity => return f.write_str("-Infinity"),
            Self::Finite {
                negative,
                weight,
                scale,
                groups,
            } => (*negative, i32::from(*weight), usize::from(*scale), groups),
        };
        let group = |power: i32| {
            let index = usize::try_from(weight - power).ok();
            index.and_then(|i| groups.get(i)).copied().unwrap_or(0)
        };
        if negative {
            f.write_str("-")?;
        }
        write!(f, "{}", group(weight.max(0)))?;
        for power in (0..weight.max(0)).rev() {
            write!(f, "{:04}", group(power))?;
        }
        if scale == 0 {
            return Ok(());
        }
        let mut digits = String::with_capacity(scale + 3);
        let mut power = -1;
        while digits.len() < scale {
            digits.push_str(&format!("{:04}", group(power)));
            power -= 1;
        }
        digits.truncate(scale);
        write!(f, ".{digits}")
    }
}

fn take_i16(raw: &mut &[u8]) -> Option<i16> {
    let (value, rest) = raw.split_first_chunk::<2>()?;
    *raw = rest;
    Some(i16::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(weight: i16, sign: u16, scale: i16, groups: &[u16]) -> Number {
        let mut raw = Vec::new();
        raw.extend((groups.len() as i16).to_be_bytes());
        raw.extend(weight.to_be_bytes());
        raw.extend(sign.to_be_bytes());
        raw.extend(scale.to_be_bytes());
        raw.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        Number::parse(&raw).expect("it is a number")
    }

    #[test]
    fn a_number_reads_as_the_server_writes_it() {
        let cases = [
            (number(0, 0, 0, &[]), "0"),
            (number(0, 0, 2, &[]), "0.00"),
            (number(1, 0, 0, &[1]), "10000"),
            (number(1, 0x4000, 3, &[12, 3456, 7800]), "-123456.780"),
            (number(-2, 0, 8, &[12]), "0.00000012"),
            (number(0, 0xc000, 0, &[]), "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(number.to_string(), text);
        }
    }

    #[test]
    fn bytes_that_are_no_number_are_refused() {
        assert_eq!(Number::parse(&[0, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Number::parse(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), None);
    }
}
