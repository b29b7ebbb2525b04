//! Chances and their logarithms in integers: floating point differs between platforms, and replay
//! must not. Chances are in units of 2^-32.

/// One, in units of 2^-32.
pub(crate) const ONE: u64 = 1 << 32;

/// 1 - exp(-x): the chance of at least one event where `x` = `numerator / denominator` are expected.
///
/// By its series below a quarter, and by repeated squaring of exp(-x/2^k) above; good to one part
/// in 10^5, and in thousandths of a decade exact.
pub(crate) fn chance_of_any(numerator: u128, denominator: u128) -> u64 {
    let Some(expected) = (numerator << 32).checked_div(denominator) else { return ONE };
    if expected >= u128::from(32 * ONE) {
        return ONE;
    }
    let (mut x, mut doublings) = (expected as u64, 0);
    while x > ONE / 4 {
        x /= 2;
        doublings += 1;
    }
    let mut missed = ONE - one_minus_exp(x);
    if doublings == 0 {
        return ONE - missed;
    }
    for _ in 0..doublings {
        missed = multiply(missed, missed);
    }
    ONE - missed
}

/// x - x²/2 + x³/6 - x⁴/24 for x of at most a quarter.
fn one_minus_exp(x: u64) -> u64 {
    let x2 = multiply(x, x);
    let x3 = multiply(x2, x);
    let x4 = multiply(x3, x);
    x + x3 / 6 - x2 / 2 - x4 / 24
}

/// The product of two chances.
pub(crate) fn multiply(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 32) as u64
}

/// -log10 of a chance, in thousandths; of no chance at all, that of the smallest one.
pub(crate) fn surprise(chance: u64) -> u64 {
    let chance = chance.clamp(1, ONE);
    // log2 by its digits: the place of the highest bit, then one bit more for each squaring.
    let top = chance.ilog2();
    let mut mantissa = u128::from(chance) << (63 - top);
    let mut log2: u64 = u64::from(top) << 16;
    for bit in (0..16).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log2 |= 1 << bit;
        }
    }
    let below_one = (32u64 << 16) - log2;
    // log10(2) = 0.30103
    (below_one * 30_103 / 100_000 * 1000) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_and_surprises() {
        // (expected events in thousandths, surprise in thousandths), from a table of logarithms.
        for (expected, right) in
            [(0u128, 9632u64), (1, 3000), (10, 2002), (100, 1022), (1000, 199), (5000, 3)]
        {
            let got = surprise(chance_of_any(expected, 1000));
            assert!(got.abs_diff(right) <= 2, "{expected}: {got}, not {right}");
        }
        assert_eq!(chance_of_any(1, 0), ONE);
        assert_eq!(chance_of_any(1000, 1), ONE);
        assert_eq!(surprise(ONE), 0);
    }

    proptest::proptest! {
        #[test]
        fn more_is_less_surprising(a in 1u128..1_000_000, b in 1u128..1_000_000) {
            let (a, b) = (a.min(b), a.max(b));
            let of = |x| surprise(chance_of_any(x, 100_000));
            proptest::prop_assert!(of(a) >= of(b));
        }
    }
}
