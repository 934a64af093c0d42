//! A vendor's paths and shapes in front of our own operations. A dialect maps and holds no rule; it is switched on per
//! partner.

pub(crate) mod pti;
