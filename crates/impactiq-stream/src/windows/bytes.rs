//! A user's state as bytes for a store, and back.
//!
//! Version 1: a version byte; the plan's fingerprint (8 bytes, little-endian); the newest time; and per
//! track the times let go and taken, the number of events, their times as differences, then each
//! column whole. Times and counts are variable-length (LEB128), signed ones zigzag; numbers are the 8
//! bytes of an f64 and keys those of a u64, little-endian. Nothing is trusted when it comes back.

use std::collections::VecDeque;

use super::plan::WindowPlan;
use super::state::{Track, WindowState};
use crate::error::StreamError;

const VERSION: u8 = 1;

impl WindowState {
    /// The state as bytes. The same state gives the same bytes.
    pub fn to_bytes(&self, plan: &WindowPlan) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(plan.fingerprint().to_le_bytes());
        put_option(&mut out, self.newest);
        for track in &self.tracks {
            put_option(&mut out, track.gone);
            put_option(&mut out, track.taken);
            put(&mut out, track.times.len() as u64);
            let mut before = 0;
            for &time in &track.times {
                put_signed(&mut out, time.wrapping_sub(before));
                before = time;
            }
            track.numbers.iter().flatten().for_each(|value| out.extend(value.to_bits().to_le_bytes()));
            track.keys.iter().flatten().for_each(|key| out.extend(key.to_le_bytes()));
        }
        out
    }

    /// A state from its bytes.
    ///
    /// # Errors
    /// [`StreamError::OtherDefinition`] for a state of another plan, [`StreamError::Damaged`] for
    /// anything else that is not what [`WindowState::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8], plan: &WindowPlan) -> Result<Self, StreamError> {
        let mut input = Input(bytes);
        let [version] = input.take::<1>()?;
        if version != VERSION {
            return Err(damaged(&format!("version {version}; this program reads version {VERSION}")));
        }
        let found = u64::from_le_bytes(input.take()?);
        if found != plan.fingerprint() {
            return Err(StreamError::OtherDefinition { found, expected: plan.fingerprint() });
        }
        let newest = input.option()?;
        let mut state = WindowState { newest, tracks: Vec::new() };
        if newest.is_some() {
            for track in &plan.tracks {
                let cap = u64::from(plan.config().max_events);
                state.tracks.push(input.track(track.numbers.len(), track.keys.len(), cap)?);
            }
        }
        if input.0.is_empty() { Ok(state) } else { Err(damaged("bytes are left over")) }
    }
}

fn damaged(problem: &str) -> StreamError {
    StreamError::Damaged { what: "state of windows", problem: problem.into() }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63) as u64);
}

fn put_option(out: &mut Vec<u8>, value: Option<i64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_signed(out, value);
    }
}

/// Bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StreamError> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(|| damaged("bytes are missing"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, StreamError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number never ends"))
    }

    fn signed(&mut self) -> Result<i64, StreamError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn option(&mut self) -> Result<Option<i64>, StreamError> {
        match self.take::<1>()? {
            [0] => Ok(None),
            [1] => self.signed().map(Some),
            _ => Err(damaged("a flag is neither 0 nor 1")),
        }
    }

    fn track(&mut self, n_numbers: usize, n_keys: usize, cap: u64) -> Result<Track, StreamError> {
        let mut track = Track::new(n_numbers, n_keys);
        track.gone = self.option()?;
        track.taken = self.option()?;
        let n = self.number()?;
        // An event is at least one byte; a count beyond that would only ask for memory.
        if n > cap || n > self.0.len() as u64 {
            return Err(damaged("it claims more events than can be"));
        }
        let mut before = 0i64;
        for place in 0..n {
            let time = before.wrapping_add(self.signed()?);
            if place > 0 && time < before {
                return Err(damaged("its events are out of order"));
            }
            track.times.push_back(time);
            before = time;
        }
        for column in &mut track.numbers {
            let values: Result<VecDeque<f64>, _> =
                (0..n).map(|_| Ok::<_, StreamError>(f64::from_bits(u64::from_le_bytes(self.take()?)))).collect();
            *column = values?;
        }
        for column in &mut track.keys {
            let values: Result<VecDeque<u64>, _> =
                (0..n).map(|_| Ok::<_, StreamError>(u64::from_le_bytes(self.take()?))).collect();
            *column = values?;
        }
        Ok(track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::{Events, WindowsConfig};
    use serde_json::json;

    fn plan(over: &str) -> WindowPlan {
        let text = format!(
            "windows: {{user: u, time: t, time_unit: s, features: {{a: {{sum: x, of: buy, over: {over}}}, b: {{distinct: p, over: 1h}}}}}}"
        );
        WindowPlan::new(&WindowsConfig::from_yaml(&text, "s.yaml").unwrap()).unwrap()
    }

    fn filled(plan: &WindowPlan) -> WindowState {
        let rows: Vec<_> =
            (0..5).map(|i| json!({"u": "a", "t": 1000 + i, "kind": "buy", "x": 0.1, "p": i % 2})).collect();
        let (events, errors) = Events::of_json(plan, &rows).unwrap();
        assert!(errors.is_empty());
        let mut state = WindowState::new();
        for row in 0..events.n_rows() {
            state.advance(plan, events.get(row).unwrap(), &mut [0.0; 2]);
        }
        state
    }

    #[test]
    fn bytes_are_those_of_version_one_and_come_back_equal() {
        let plan = plan("1d");
        let state = filled(&plan);
        let bytes = state.to_bytes(&plan);
        assert_eq!(WindowState::from_bytes(&bytes, &plan).unwrap(), state);
        // Version, fingerprint, newest = 1004 s; first track: nothing let go or taken, 5 events.
        assert_eq!(bytes[0], 1);
        let mut newest = Vec::new();
        put_option(&mut newest, Some(1_004_000_000));
        assert_eq!(&bytes[9..9 + newest.len()], newest);
        assert_eq!(&bytes[9 + newest.len()..12 + newest.len()], [0, 0, 5]);
        let empty = WindowState::new();
        assert_eq!(WindowState::from_bytes(&empty.to_bytes(&plan), &plan).unwrap(), empty);
    }

    #[test]
    fn damaged_or_foreign_bytes_are_refused_and_never_believed() {
        let (plan, other) = (plan("1d"), plan("2d"));
        let bytes = filled(&plan).to_bytes(&plan);
        assert!(matches!(WindowState::from_bytes(&bytes, &other), Err(StreamError::OtherDefinition { .. })));
        for cut in 0..bytes.len() {
            assert!(WindowState::from_bytes(&bytes[..cut], &plan).is_err(), "{cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(WindowState::from_bytes(&longer, &plan).is_err());
        // Whatever a byte becomes, the answer is a state or an error.
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0xff;
            let _ = WindowState::from_bytes(&changed, &plan);
        }
        let mut version = bytes;
        version[0] = 9;
        assert!(WindowState::from_bytes(&version, &plan).unwrap_err().to_string().contains("version 9"));
    }
}
