//! Vendors' own request shapes in front of the same functions. No rules live here.

pub(crate) mod pti;
