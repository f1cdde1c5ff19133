//! Quantities of memory and disk, in bytes. Pure.

/// `2Gi` in bytes; nothing when it is no quantity.
#[must_use]
pub fn bytes(quantity: &str) -> Option<u64> {
    let quantity = quantity.trim();
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let factor: f64 = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let value = number.parse::<f64>().ok()? * factor;
    // Sizes of guests are far below 2^53: nothing is lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (value.is_finite() && value >= 0.0).then_some(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn suffixes_are_binary_decimal_or_exponents() {
        assert_eq!(bytes("2Gi"), Some(2 << 30));
        assert_eq!(bytes("1.5G"), Some(1_500_000_000));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("1048576"), Some(1 << 20));
        assert_eq!(bytes("two"), None);
        assert_eq!(bytes("2Zz"), None);
    }
}
