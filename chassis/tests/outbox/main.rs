//! The outbox against real receivers, on SQLite and on PostgreSQL.

mod delivery;
mod endpoints;
mod numbering;
mod receiver;
mod several_nodes;
mod world;
