//! Tokens that must not verify, whatever their signature says.

use super::*;
