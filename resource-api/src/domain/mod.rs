//! Types and pure rules of the payments API: no SQL, no HTTP, nothing asynchronous.
//!
//! | module | holds |
//! |---|---|
//! | [`refusal`] | why an operation was not done: a stable code, a class that HTTP maps to a status, pointers |
//! | [`money`] | integer minor units with an ISO 4217 currency |
//! | [`caller`] | who is asking, with the partner from the credential |
//! | [`customer`] | customer, its kinds and states, the partner's own id |
//! | [`pii`] | personal data: the closed list of fields, their canonical form |
//! | [`kyc`] | levels, profile states and what can be computed offline |
//! | [`date`] | calendar days and ages |
//! | [`entity`] | wallets and a partner's own accounts |
//! | [`route`] | which kind of entity may pay which |
//! | [`ledger`] | accounts, postings and holds, decided in memory |
//! | [`transfer`] | transfers |
//! | [`fiat_in`] | fiat-in orders and their reviews |
//! | [`charge`] | the collection of an order's money at the gateway |
//! | [`refund`] | refunds, and what they and disputes do to an order |
//! | [`charge_event`] | what a gateway tells of a charge by itself |
//! | [`telling`] | what an event of a gateway tells: of a charge, a refund or a dispute |
//! | [`evidence`] | what a person writes down when settling something by hand |
//! | [`card`] | card numbers in memory, and what stays of them |
//! | [`decimal`] | decimal texts to minor units, exactly |
//! | [`cursor`] | signed list cursors |

pub mod caller;
pub mod card;
pub mod charge;
pub mod charge_event;
pub mod cursor;
pub mod customer;
pub mod date;
pub mod decimal;
pub mod entity;
pub mod evidence;
pub mod fiat_in;
pub mod kyc;
pub mod ledger;
pub mod money;
pub mod pii;
pub mod refund;
pub mod refusal;
pub mod route;
pub mod telling;
pub mod transaction_log;
pub mod transfer;
pub mod webhook_format;
