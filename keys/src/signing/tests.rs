//! Key pairs read back, and what is no key pair.

use super::*;
