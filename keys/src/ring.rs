//! The life of signing keys: next, active, retired, gone. A pure planner.
//!
//! The planner looks at the stored keys and says which steps are due; whoever stores them takes the steps in
//! one transaction and asks again until nothing is due. It keeps no memory, so a rotation that a crash
//! interrupted goes on from what is stored, and two instances that plan at once plan the same.
//!
//! A verifier may hold a key set for its whole max-age. So a key is published that long before it first signs,
//! and stays published until the last token it signed has expired. A change of the wanted algorithm is a rotation
//! like any other: the keys of the old one go on verifying.

use std::fmt;
use std::str::FromStr;

use crate::{Algorithm, UnixSeconds};

/// Where a key is in its life. A key that is gone is not stored any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Published, not signing yet.
    Next,
    /// Signing.
    Active,
    /// Published for verifying what it signed.
    Retired,
}

/// The text names no key state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key state")]
pub struct UnknownState;

impl KeyState {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Next, Self::Active, Self::Retired].into_iter().find(|s| s.as_str() == text).ok_or(UnknownState)
    }
}

/// What the planner needs to know of a stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingKey {
    /// The key id.
    pub kid: String,
    /// The algorithm.
    pub alg: Algorithm,
    /// Its state.
    pub state: KeyState,
    /// When it was first in the published set.
    pub published_at: UnixSeconds,
    /// When it began to sign.
    pub activated_at: Option<UnixSeconds>,
    /// When it ceased to sign.
    pub retired_at: Option<UnixSeconds>,
}

/// Shortest max-age that a key set may be published with. A verifier that fetches the set at least this often
/// knows every key before it signs.
pub const JWKS_MAX_AGE_S_MIN: i64 = 10;

/// Which keys are wanted, and how long things take, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingPolicy {
    /// The algorithm of new keys.
    pub alg: Algorithm,
    /// Max-age of the published key set; its `Cache-Control` must say the same.
    pub jwks_max_age_s: i64,
    /// How long a key signs.
    pub rotation_s: i64,
    /// The longest life of anything it signs.
    pub token_ttl_max_s: i64,
    /// How far clocks may differ.
    pub skew_s: i64,
}

impl RingPolicy {
    /// How long before its first signature a key must be published.
    pub fn lead_s(&self) -> i64 {
        self.jwks_max_age_s.saturating_add(self.skew_s)
    }

    /// How long a key stays published after its last signature.
    pub fn linger_s(&self) -> i64 {
        self.token_ttl_max_s.saturating_add(self.skew_s)
    }
}

impl RingKey {
    /// When this next key signs, if nothing else happens.
    pub fn signs_from(&self, policy: &RingPolicy) -> Option<UnixSeconds> {
        (self.state == KeyState::Next).then(|| self.published_at.plus(policy.lead_s()))
    }

    /// When the successor of this active key is due to sign, if nobody asks for it earlier.
    pub fn signs_until(&self, policy: &RingPolicy) -> Option<UnixSeconds> {
        let since = self.activated_at.unwrap_or(self.published_at);
        (self.state == KeyState::Active).then(|| since.plus(policy.rotation_s))
    }

    /// When this retired key leaves the set.
    pub fn published_until(&self, policy: &RingPolicy) -> Option<UnixSeconds> {
        let since = self.retired_at.unwrap_or(self.published_at);
        (self.state == KeyState::Retired).then(|| since.plus(policy.linger_s()))
    }
}

/// One step of a rotation. Steps of one plan belong into one transaction, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a key and publish it as next.
    CreateNext,
    /// Let this next key sign from now on.
    Activate(String),
    /// Let this active key sign no more.
    Retire(String),
    /// Take this key, which does not sign, out of the set and destroy it.
    Drop(String),
}

/// The steps that are due at `now`; none when the ring is as it should be.
///
/// The first start is two plans: `CreateNext`, then at once `Activate`, for without an active key there is no
/// verifier to wait for. The same holds after an active key was revoked.
///
/// A next key takes over as soon as every verifier can know it, whether its time came, the algorithm changed, or
/// somebody asked for a rotation by creating it.
pub fn plan(keys: &[RingKey], policy: &RingPolicy, now: UnixSeconds) -> Vec<Step> {
    let mut steps = Vec::new();
    let in_state = |state| keys.iter().filter(move |key| key.state == state);
    let wanted = |key: &&RingKey| key.alg == policy.alg;
    let is_known = |key: &RingKey| now.since(key.published_at) >= policy.lead_s();
    let next = in_state(KeyState::Next).filter(wanted).min_by_key(|key| (key.published_at, &key.kid));
    // Of an algorithm that is not wanted any more. A node with the older configuration may have made it a moment
    // ago, so it is not fought over before it could sign.
    let unwanted = in_state(KeyState::Next).find(|key| !wanted(key));
    // Two instances that started at once may both have activated a key: the younger one stays.
    let active = in_state(KeyState::Active).max_by_key(|key| (key.activated_at, &key.kid));
    let surplus = in_state(KeyState::Active).filter(|key| Some(&key.kid) != active.map(|key| &key.kid));
    steps.extend(surplus.map(|key| Step::Retire(key.kid.clone())));
    match (active, next.or(unwanted)) {
        (None, None) => steps.push(Step::CreateNext),
        (None, Some(next)) => steps.push(Step::Activate(next.kid.clone())),
        (Some(active), None) => {
            let age_s = now.since(active.activated_at.unwrap_or(active.published_at));
            if active.alg != policy.alg || age_s >= policy.rotation_s.saturating_sub(policy.lead_s()) {
                steps.push(Step::CreateNext);
            }
        }
        (Some(active), Some(next)) if is_known(next) => {
            if next.alg == policy.alg {
                steps.push(Step::Retire(active.kid.clone()));
                steps.push(Step::Activate(next.kid.clone()));
            } else {
                steps.push(Step::Drop(next.kid.clone()));
            }
        }
        (Some(_), Some(_)) => {}
    }
    let unneeded = in_state(KeyState::Retired)
        .filter(|key| now.since(key.retired_at.unwrap_or(key.published_at)) >= policy.linger_s());
    steps.extend(unneeded.map(|key| Step::Drop(key.kid.clone())));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RingPolicy = RingPolicy {
        alg: Algorithm::Es256,
        jwks_max_age_s: 300,
        rotation_s: 10_000,
        token_ttl_max_s: 3_600,
        skew_s: 10,
    };

    /// A ring that is stored nowhere, and takes the steps it is told.
    #[derive(Default)]
    struct Ring {
        keys: Vec<RingKey>,
        made: u32,
    }

    impl Ring {
        fn take(&mut self, steps: &[Step], now: UnixSeconds) {
            self.take_as(&POLICY, steps, now);
        }

        fn take_as(&mut self, policy: &RingPolicy, steps: &[Step], now: UnixSeconds) {
            for step in steps {
                match step {
                    Step::CreateNext => {
                        self.made += 1;
                        self.keys.push(RingKey {
                            kid: format!("k{}", self.made),
                            alg: policy.alg,
                            state: KeyState::Next,
                            published_at: now,
                            activated_at: None,
                            retired_at: None,
                        });
                    }
                    Step::Activate(kid) => {
                        let key = self.keys.iter_mut().find(|key| key.kid == *kid).unwrap();
                        (key.state, key.activated_at) = (KeyState::Active, Some(now));
                    }
                    Step::Retire(kid) => {
                        let key = self.keys.iter_mut().find(|key| key.kid == *kid).unwrap();
                        (key.state, key.retired_at) = (KeyState::Retired, Some(now));
                    }
                    Step::Drop(kid) => self.keys.retain(|key| key.kid != *kid),
                }
            }
        }

        fn settle(&mut self, now: UnixSeconds) {
            self.settle_as(&POLICY, now);
        }

        fn settle_as(&mut self, policy: &RingPolicy, now: UnixSeconds) {
            for _ in 0..5 {
                let steps = plan(&self.keys, policy, now);
                self.take_as(policy, &steps, now);
            }
            assert_eq!(plan(&self.keys, policy, now), [], "the plan settles");
        }

        fn states(&self) -> Vec<(&str, KeyState)> {
            self.keys.iter().map(|key| (key.kid.as_str(), key.state)).collect()
        }
    }

    #[test]
    fn the_first_start_creates_and_activates_at_once() {
        let mut ring = Ring::default();
        assert_eq!(plan(&[], &POLICY, UnixSeconds(0)), [Step::CreateNext]);
        ring.settle(UnixSeconds(0));
        assert_eq!(ring.states(), [("k1", KeyState::Active)]);
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_after_it_signed() {
        let mut ring = Ring::default();
        let mut at = |seconds| {
            ring.settle(UnixSeconds(seconds));
            ring.states().iter().map(|(kid, state)| format!("{kid} {state}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(at(0), "k1 active");
        assert_eq!(at(9_689), "k1 active");
        assert_eq!(at(9_690), "k1 active, k2 next");
        assert_eq!(at(9_999), "k1 active, k2 next");
        assert_eq!(at(10_000), "k1 retired, k2 active");
        assert_eq!(at(13_609), "k1 retired, k2 active");
        assert_eq!(at(13_610), "k2 active");
    }

    #[test]
    fn a_late_rotation_still_waits_for_the_max_age() {
        let mut ring = Ring::default();
        ring.settle(UnixSeconds(0));
        ring.settle(UnixSeconds(50_000));
        assert_eq!(ring.states(), [("k1", KeyState::Active), ("k2", KeyState::Next)]);
        ring.settle(UnixSeconds(50_309));
        assert_eq!(ring.states()[0].1, KeyState::Active);
        ring.settle(UnixSeconds(50_310));
        assert_eq!(ring.states(), [("k1", KeyState::Retired), ("k2", KeyState::Active)]);
    }

    #[test]
    fn after_a_crash_between_any_two_steps_the_ring_recovers() {
        for crash_after in 0..2 {
            let mut ring = Ring::default();
            ring.settle(UnixSeconds(0));
            ring.settle(UnixSeconds(9_690));
            let steps = plan(&ring.keys, &POLICY, UnixSeconds(10_000));
            ring.take(&steps[..crash_after], UnixSeconds(10_000));
            ring.settle(UnixSeconds(10_001));
            assert_eq!(ring.states(), [("k1", KeyState::Retired), ("k2", KeyState::Active)], "{crash_after}");
        }
    }

    #[test]
    fn of_two_active_keys_the_younger_stays() {
        let mut ring = Ring::default();
        ring.take(&[Step::CreateNext, Step::CreateNext], UnixSeconds(0));
        ring.take(&[Step::Activate("k1".into())], UnixSeconds(0));
        ring.take(&[Step::Activate("k2".into())], UnixSeconds(1));
        assert_eq!(plan(&ring.keys, &POLICY, UnixSeconds(1)), [Step::Retire("k1".into())]);
    }

    #[test]
    fn without_an_active_key_the_next_one_signs_at_once() {
        let mut ring = Ring::default();
        ring.settle(UnixSeconds(0));
        ring.settle(UnixSeconds(9_690));
        ring.take(&[Step::Retire("k1".into())], UnixSeconds(9_700));
        assert_eq!(plan(&ring.keys, &POLICY, UnixSeconds(9_700)), [Step::Activate("k2".into())]);
    }

    #[test]
    fn a_next_key_made_before_its_time_takes_over_once_every_verifier_can_know_it() {
        let mut ring = Ring::default();
        ring.settle(UnixSeconds(0));
        ring.take(&[Step::CreateNext], UnixSeconds(100));
        ring.settle(UnixSeconds(409));
        assert_eq!(ring.states(), [("k1", KeyState::Active), ("k2", KeyState::Next)]);
        ring.settle(UnixSeconds(410));
        assert_eq!(ring.states(), [("k1", KeyState::Retired), ("k2", KeyState::Active)]);
    }

    #[test]
    fn another_algorithm_is_a_rotation_and_the_old_keys_go_on_verifying() {
        let other = RingPolicy { alg: Algorithm::EdDsa, ..POLICY };
        let mut ring = Ring::default();
        ring.settle(UnixSeconds(0));
        ring.settle_as(&other, UnixSeconds(50));
        assert_eq!(ring.states(), [("k1", KeyState::Active), ("k2", KeyState::Next)]);
        ring.settle_as(&other, UnixSeconds(360));
        assert_eq!(ring.states(), [("k1", KeyState::Retired), ("k2", KeyState::Active)]);
        assert_eq!(ring.keys[1].alg, Algorithm::EdDsa);
        ring.settle_as(&other, UnixSeconds(360 + 3_609));
        assert_eq!(ring.states().len(), 2, "the last token of the old algorithm still verifies");
        ring.settle_as(&other, UnixSeconds(360 + 3_610));
        assert_eq!(ring.states(), [("k2", KeyState::Active)]);
    }

    #[test]
    fn a_next_key_of_an_algorithm_nobody_wants_never_signs_beside_an_active_one() {
        let other = RingPolicy { alg: Algorithm::EdDsa, ..POLICY };
        let mut ring = Ring::default();
        ring.settle(UnixSeconds(0));
        ring.settle_as(&other, UnixSeconds(50));
        ring.settle(UnixSeconds(100));
        assert_eq!(ring.states(), [("k1", KeyState::Active), ("k2", KeyState::Next)], "not fought over");
        ring.settle(UnixSeconds(360));
        assert_eq!(ring.states(), [("k1", KeyState::Active)]);
    }

    #[test]
    fn hostile_moments_do_not_overflow() {
        let key = |state| RingKey {
            kid: "k".into(),
            alg: Algorithm::Es256,
            state,
            published_at: UnixSeconds(i64::MIN),
            activated_at: None,
            retired_at: None,
        };
        let steps = plan(&[key(KeyState::Active), key(KeyState::Retired)], &POLICY, UnixSeconds(i64::MAX));
        assert_eq!(steps, [Step::CreateNext, Step::Drop("k".into())]);
    }
}
