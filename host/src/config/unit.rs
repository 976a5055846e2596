//! Sizes and durations as people write them.

use std::time::Duration;

/// A size in bytes from `64 MiB`, `1.5 GB` or a plain number of bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    text.trim()
        .parse::<bytesize::ByteSize>()
        .ok()
        .map(|size| size.as_u64())
}

/// A duration from `30s`, `5m`, `7d` or `1h 30m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_both_families_of_units() {
        assert_eq!(size("64 MiB"), Some(64 * 1024 * 1024));
        assert_eq!(size("64MB"), Some(64_000_000));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("-1 MiB"), None);
        assert_eq!(size("64 parsecs"), None);
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("30"), None);
    }
}
