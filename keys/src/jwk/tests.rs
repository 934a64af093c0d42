//! What a key sent to us may not be.

use super::*;
