//! The name of a request: what a caller quotes, and what the log lines of that request carry.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::entropy::Entropy;

tokio::task_local! {
    static CURRENT: Current;
}

/// The request being answered.
struct Current {
    id: ErrorId,
    notes: RefCell<RequestNotes>,
}

/// What is learned of a request while it is answered, for the audit of its refusal. Never sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestNotes {
    /// The client that asks, or claims to; empty: none that we know.
    pub client_id: String,
    /// Its partner.
    pub partner_id: String,
    /// The subject of its token; empty: none.
    pub sub: String,
    /// Why it is refused, where the code alone does not say it: neither secrets nor personal data.
    pub reason: String,
}

impl RequestNotes {
    /// Notes who asks, as far as it is known. Outside of any request nothing happens.
    pub fn asker(client_id: &str, partner_id: &str, sub: &str) {
        Self::change(|notes| {
            client_id.clone_into(&mut notes.client_id);
            partner_id.clone_into(&mut notes.partner_id);
            sub.clone_into(&mut notes.sub);
        });
    }

    /// Notes why the request is refused. Outside of any request nothing happens.
    pub fn reason(reason: impl fmt::Display) {
        Self::change(|notes| notes.reason = reason.to_string());
    }

    fn change(change: impl FnOnce(&mut Self)) {
        let noted = CURRENT.try_with(|current| {
            if let Ok(mut notes) = current.notes.try_borrow_mut() {
                change(&mut notes);
            }
        });
        // Outside of a request there is nothing to note.
        noted.unwrap_or_default();
    }

    /// Takes what was noted of the request being answered.
    pub(crate) fn take() -> Self {
        CURRENT
            .try_with(|current| current.notes.try_borrow_mut().map(|mut notes| std::mem::take(&mut *notes)))
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default()
    }
}

static SEED: OnceLock<[u64; 2]> = OnceLock::new();
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// The id of one request, shown as `err_` and 32 hexadecimal digits in refusals and as the bare digits in the
/// header `x-request-id` and in log lines. It names nothing but the request and may be given to anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorId(u128);

impl ErrorId {
    /// The id of the request being answered; outside of any request a new one.
    pub fn current() -> Self {
        Self::of_request().unwrap_or_else(Self::fresh)
    }

    /// The id of the request being answered, if this code runs inside one.
    pub fn of_request() -> Option<Self> {
        CURRENT.try_with(|current| current.id).ok()
    }

    /// The 32 digits without the prefix: the request id.
    pub fn request_id(self) -> String {
        self.digits().map(char::from).iter().collect()
    }

    /// The 32 digits as bytes, without memory from the heap.
    pub(crate) fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
            pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
        }
        digits
    }

    /// Runs `work` as part of the request that has this id.
    pub(crate) fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Current { id: self, notes: RefCell::default() }, work)
    }

    /// An id not drawn before: the process's random half beside a scrambled counter, so that drawing one costs
    /// neither entropy nor memory and tells nothing about how many came before.
    pub(crate) fn fresh() -> Self {
        let [high, offset] = SEED.get().copied().unwrap_or_default();
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        Self((u128::from(high) << 64) | u128::from(scramble(drawn.wrapping_add(offset))))
    }

    /// Gives the process its random half. The first call counts.
    pub(crate) fn seed(entropy: &dyn Entropy) {
        SEED.get_or_init(|| {
            let mut halves = [[0; 8]; 2];
            for half in &mut halves {
                entropy.fill(half);
            }
            halves.map(u64::from_le_bytes)
        });
    }
}

/// A bijection on 64 bits (the finalizer of `SplitMix64`): different counters stay different.
fn scramble(counter: u64) -> u64 {
    let mut mixed = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl fmt::Display for ErrorId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "err_{:032x}", self.0)
    }
}

impl Serialize for ErrorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_have_one_shape() {
        let ids: HashSet<String> = (0..1000).map(|_| ErrorId::fresh().to_string()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 36 && id.starts_with("err_")));
    }

    #[tokio::test]
    async fn inside_a_request_the_id_stays_the_same() {
        let id = ErrorId::fresh();
        assert_eq!(ErrorId::of_request(), None);
        let (first, second) = id.scope(async { (ErrorId::current(), ErrorId::current()) }).await;
        assert_eq!((first, second), (id, id));
        assert_ne!(ErrorId::current(), ErrorId::current());
    }

    #[tokio::test]
    async fn notes_belong_to_their_request() {
        let noted = ErrorId::fresh().scope(async {
            RequestNotes::asker("cli_1", "par_1", "");
            tokio::task::yield_now().await;
            RequestNotes::reason("wrong secret");
            (RequestNotes::take(), RequestNotes::take())
        });
        let (noted, rest) = noted.await;
        assert_eq!((noted.client_id.as_str(), noted.reason.as_str()), ("cli_1", "wrong secret"));
        assert_eq!(rest, RequestNotes::default());
        RequestNotes::reason("outside");
        assert_eq!(RequestNotes::take(), RequestNotes::default());
    }
}
