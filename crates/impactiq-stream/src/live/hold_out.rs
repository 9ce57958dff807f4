//! Who is left alone although the policy would treat them, so that the policy stays measurable.
//!
//! Without it everybody the policy treats has probability 1, and there is nothing to compare
//! with. Chance is a hash of the salt and the event's id: no state, the same answer after a
//! restart and on every member of a group.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StreamError;

/// A random hold-out.
///
/// ```
/// use impactiq_stream::live::HoldOut;
/// let hold_out = HoldOut::new(0.1, "campaign-7").unwrap();
/// let decision = hold_out.decide("event-1", true);
/// assert_eq!(decision.assignment_probability, 0.9);
/// assert_eq!(decision, hold_out.decide("event-1", true));
/// assert_eq!(hold_out.decide("event-1", false).assignment_probability, 0.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldOut {
    share: f64,
    salt: String,
}

/// What was decided for an event, and how likely that was to be "treat".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Treat?
    pub treated: bool,
    /// The probability of being treated, to be recorded with the event: 1 − share where the policy
    /// would treat, 0 where it would not.
    pub assignment_probability: f64,
}

impl HoldOut {
    /// Holds out this share of those the policy would treat. Another salt draws others.
    ///
    /// # Errors
    /// [`StreamError::Setting`] for a share outside [0, 1).
    pub fn new(share: f64, salt: impl Into<String>) -> Result<Self, StreamError> {
        if !(0.0..1.0).contains(&share) {
            let allowed = "write a share from 0 to below 1, e.g. 0.05";
            return Err(StreamError::Setting { key: "hold_out.share", value: share.to_string(), allowed });
        }
        Ok(HoldOut { share, salt: salt.into() })
    }

    /// Decides for an event.
    pub fn decide(&self, id: &str, would_treat: bool) -> Decision {
        if !would_treat {
            return Decision { treated: false, assignment_probability: 0.0 };
        }
        Decision { treated: self.uniform(id) >= self.share, assignment_probability: 1.0 - self.share }
    }

    fn uniform(&self, id: &str) -> f64 {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        let mut hasher = Sha256::new();
        hasher.update((self.salt.len() as u64).to_le_bytes());
        hasher.update(self.salt.as_bytes());
        hasher.update(id.as_bytes());
        let bits = hasher.finalize().iter().take(8).fold(0u64, |bits, &byte| bits << 8 | u64::from(byte));
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_another_salt_draws_others() {
        let (first, second) = (HoldOut::new(0.1, "a").unwrap(), HoldOut::new(0.1, "b").unwrap());
        let held = |hold_out: &HoldOut, id: u32| !hold_out.decide(&format!("e{id}"), true).treated;
        let n = 50_000;
        let share = (0..n).filter(|id| held(&first, *id)).count() as f64 / f64::from(n);
        let both = (0..n).filter(|id| held(&first, *id) && held(&second, *id)).count() as f64 / f64::from(n);
        assert!((share - 0.1).abs() < 0.005 && (both - 0.01).abs() < 0.002, "{share} {both}");
        assert!(HoldOut::new(0.0, "").unwrap().decide("x", true).treated);
        assert!(HoldOut::new(1.0, "").is_err() && HoldOut::new(f64::NAN, "").is_err());
    }

    #[test]
    fn a_decision_is_the_same_in_every_version() {
        let hold_out = HoldOut::new(0.5, "salt").unwrap();
        let drawn: Vec<bool> = (0..8).map(|id| hold_out.decide(&id.to_string(), true).treated).collect();
        assert_eq!(drawn, DRAWN);
    }

    /// SHA-256 of 8 bytes of length, "salt" and the id, first byte below 128 is held out.
    const DRAWN: [bool; 8] = [true, true, true, false, false, false, true, false];
}
