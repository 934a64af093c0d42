//! Failed client authentications, counted per client and address, so that guessing a secret gets nowhere while the
//! client itself, at another address, is served.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use keys::UnixSeconds;

/// Failures within a window after which attempts are refused unseen.
const FAILURES_MAX: u32 = 10;
/// Length of a window, seconds.
const WINDOW_S: i64 = 60;
/// How many pairs are remembered; beyond it the oldest windows are forgotten first.
const PAIRS_MAX: usize = 8192;
/// Longest client id that is remembered, bytes; no client of ours has a longer one.
const CLIENT_ID_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Window {
    began: UnixSeconds,
    failures: u32,
}

/// The counts of this process.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<(String, IpAddr), Window>>);

impl Throttle {
    /// How many seconds the pair has to wait, if any.
    pub(crate) fn wait_s(&self, client_id: &str, peer: IpAddr, now: UnixSeconds) -> Option<i64> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.is_empty() {
            return None;
        }
        let window = windows.get(&key(client_id, peer))?;
        let left = WINDOW_S - now.since(window.began);
        (window.failures >= FAILURES_MAX && left > 0).then_some(left)
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, client_id: &str, peer: IpAddr, now: UnixSeconds) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= PAIRS_MAX {
            forget(&mut windows, now);
        }
        let window = windows.entry(key(client_id, peer)).or_insert(Window { began: now, failures: 0 });
        if now.since(window.began) >= WINDOW_S {
            *window = Window { began: now, failures: 0 };
        }
        window.failures += 1;
    }
}

fn key(client_id: &str, peer: IpAddr) -> (String, IpAddr) {
    let end = client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX);
    (client_id[..end].to_owned(), peer)
}

/// Forgets ended windows, and if none has ended all: a flood of invented client ids must not grow this map, and a
/// flood that empties it has still to make ten attempts a window.
fn forget(windows: &mut HashMap<(String, IpAddr), Window>, now: UnixSeconds) {
    windows.retain(|_, window| now.since(window.began) < WINDOW_S);
    if windows.len() >= PAIRS_MAX {
        windows.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn ten_failures_close_the_door_for_that_client_and_address_only() {
        let throttle = Throttle::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.wait_s("cli_1", address(1), NOW), None);
            throttle.failed("cli_1", address(1), NOW);
        }
        assert_eq!(throttle.wait_s("cli_1", address(1), NOW.plus(10)), Some(50));
        assert_eq!(throttle.wait_s("cli_1", address(2), NOW), None);
        assert_eq!(throttle.wait_s("cli_2", address(1), NOW), None);
        assert_eq!(throttle.wait_s("cli_1", address(1), NOW.plus(60)), None);
        throttle.failed("cli_1", address(1), NOW.plus(61));
        assert_eq!(throttle.wait_s("cli_1", address(1), NOW.plus(61)), None);
    }

    #[test]
    fn invented_clients_do_not_grow_the_map() {
        let throttle = Throttle::default();
        for number in 0..PAIRS_MAX + 10 {
            throttle.failed(&format!("cli_{number}"), address(1), NOW);
        }
        assert!(throttle.0.lock().unwrap().len() <= PAIRS_MAX);
    }
}
