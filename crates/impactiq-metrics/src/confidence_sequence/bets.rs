//! The boundary behind the exact sequence: a mixture of bets against a mean.
//!
//! Somebody who doubts a candidate mean m bets a fraction λ on "larger" before every row. If m
//! is the mean, the wealth exp(λ·S − ψ(λ)·V) is a non-negative supermartingale, so by Ville's
//! inequality it ever reaches 1/α with probability at most α (Fan, Grama & Liu 2015; Howard,
//! Ramdas, McAuliffe & Sekhon 2021, Theorem 4; ψ(λ) = −ln(1−λ) − λ). Nobody knows the best λ
//! beforehand; wealth spread over many of them is a supermartingale as well.
//! Nothing here knows rows: S and V come in, a width goes out.

/// Bets stand at `LARGEST · exp(−STEP · j)`: from nearly everything to a millionth.
const LARGEST: f64 = 0.9;
const STEP: f64 = 0.25;
const N_BETS: usize = 56;
/// The bet that gets most of the wealth. It suits a mean effect of 10,000 to 100,000 rows.
const FAVOURITE: f64 = 0.25;
/// No width is sought beyond this many corrections; convergence takes about ten.
const MOST_STEPS: usize = 200;

/// One bet: its fraction, ψ of it, and the logarithm of the wealth put on it.
#[derive(Clone, Copy)]
struct Bet {
    fraction: f64,
    psi: f64,
    ln_share: f64,
}

/// Bets with their shares: Cauchy in ln λ around the favourite. The tails are fat, so a horizon
/// a hundred times longer than the favourite's costs little; a normal prior would punish it.
fn bets() -> [Bet; N_BETS] {
    let mut bets = [Bet { fraction: 0.0, psi: 0.0, ln_share: 0.0 }; N_BETS];
    let mut total = 0.0;
    for (place, bet) in bets.iter_mut().enumerate() {
        let fraction = LARGEST * (-STEP * place as f64).exp();
        let share = 1.0 / (1.0 + (fraction / FAVOURITE).ln().powi(2));
        *bet = Bet { fraction, psi: -(-fraction).ln_1p() - fraction, ln_share: share.ln() };
        total += share;
    }
    for bet in &mut bets {
        bet.ln_share -= total.ln();
    }
    bets
}

/// ln of the mixture's wealth after a sum `s` and a variance process `v`, and its slope in `s`.
fn ln_wealth(bets: &[Bet; N_BETS], s: f64, v: f64) -> (f64, f64) {
    let exponent = |bet: &Bet| bet.ln_share + bet.fraction * s - bet.psi * v;
    let largest = bets.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut slope) = (0.0, 0.0);
    for bet in bets {
        let part = (exponent(bet) - largest).exp();
        sum += part;
        slope += part * bet.fraction;
    }
    (largest + sum.ln(), slope / sum)
}

/// True where the wealth of betting on a sum as large as `s` reaches 1/alpha.
pub(super) fn is_beyond(s: f64, v: f64, alpha: f64) -> bool {
    let needed = -alpha.ln();
    // ψ(λ) ≥ λ²/2, so no bet can have earned more than s²/2v: spares 56 exponentials per look.
    if s <= 0.0 || s * s < 2.0 * v * needed {
        return false;
    }
    ln_wealth(&bets(), s, v).0 >= needed
}

/// The sum at which the wealth reaches 1/alpha, given the variance process.
pub(super) fn boundary(v: f64, alpha: f64) -> f64 {
    let (bets, needed) = (bets(), -alpha.ln());
    // Where one bet alone reaches it; from there Newton descends a convex function and
    // cannot step past the root.
    let mut s =
        bets.iter().map(|bet| (needed - bet.ln_share + bet.psi * v) / bet.fraction).fold(f64::INFINITY, f64::min);
    for _ in 0..MOST_STEPS {
        let (value, slope) = ln_wealth(&bets, s, v);
        let step = (value - needed) / slope;
        if step.is_nan() || step <= 1e-12 * s.abs() {
            break;
        }
        s -= step;
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_where_the_wealth_reaches_one_over_alpha() {
        for v in [0.0, 0.3, 10.0, 1e4, 1e9] {
            let s = boundary(v, 0.025);
            assert!((ln_wealth(&bets(), s, v).0 - 40f64.ln()).abs() < 1e-6, "{v}: {s}");
            assert!(is_beyond(s * 1.0001, v, 0.025) && !is_beyond(s * 0.9999, v, 0.025), "{v}");
        }
    }

    #[test]
    fn patience_costs_little_over_many_orders_of_magnitude() {
        // In units of a fixed look's width: 1.96 standard errors.
        for v in [30.0, 1e3, 1e5, 1e7] {
            let ratio = boundary(v, 0.025) / (1.959_964 * f64::sqrt(v));
            assert!((1.2..2.4).contains(&ratio), "{v}: {ratio}");
        }
    }

    #[test]
    fn shares_of_wealth_sum_to_one() {
        let total: f64 = bets().iter().map(|bet| bet.ln_share.exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}
