//! Quantities of memory, disk and CPU. Pure.

/// `2Gi` as a number, which may be negative; nothing when it is no quantity.
#[must_use]
pub fn number(quantity: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    let start = usize::from(quantity.starts_with(['+', '-']));
    let end = quantity[start..]
        .find(|c| !digits(c))
        .map_or(quantity.len(), |end| start + end);
    let (number, suffix) = quantity.split_at(end);
    let factor: f64 = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = number.parse::<f64>().ok()? * factor;
    value.is_finite().then_some(value)
}

/// `2Gi` in bytes; nothing when it is no quantity or a negative one.
#[must_use]
pub fn bytes(quantity: &str) -> Option<u64> {
    let value = number(quantity)?;
    // Sizes of guests are far below 2^53: nothing is lost; what is larger than any machine stays at the largest number.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (value >= 0.0).then_some(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::{bytes, number};

    #[test]
    fn suffixes_are_binary_decimal_or_exponents() {
        assert_eq!(bytes("2Gi"), Some(2 << 30));
        assert_eq!(bytes("1.5G"), Some(1_500_000_000));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("1048576"), Some(1 << 20));
        assert_eq!(bytes("1000Ei"), Some(u64::MAX));
        assert_eq!(bytes("-1Gi"), None);
        assert_eq!(number("-1"), Some(-1.0));
    }

    #[test]
    fn what_kubernetes_cannot_read_is_no_quantity() {
        for text in ["two", "2Zz", "4 Gi", "4gi", "", " 1", "Gi", "-", "1.2.3", "1ee3"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
