//! What the management endpoints do: one rule each, as one unit of the database.

pub mod audit;
pub mod clients;
pub mod directory;
pub mod partners;
pub mod tenant;
pub mod users;
