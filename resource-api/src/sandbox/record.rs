//! What the sandbox collected and declined, and how often it was asked. Optionally kept in a file of JSON
//! lines, so that a restarted development server still knows what it took.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What became of a charge at the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// Money was collected.
    Captured,
    /// Money is reserved, to be captured.
    Authorized,
    /// The payer has to go to a page first.
    RequiresAction {
        /// That page.
        redirect_url: String,
    },
    /// Given up; nothing was collected.
    Voided,
    /// Nothing was collected and never will be.
    Declined {
        /// Why, as a machine code.
        decline_code: String,
    },
}

/// One charge as the sandbox recorded it; also its body on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// The sandbox's own id.
    pub id: String,
    /// The caller's id: reference and idempotency key.
    pub reference: String,
    /// Minor units collected, or asked for while nothing was.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The record: charges by reference, and how often each was sent.
#[derive(Debug, Default)]
pub(super) struct Record {
    charges: HashMap<String, Collected>,
    order: Vec<String>,
    arrivals: HashMap<String, usize>,
    file: Option<File>,
}

impl Record {
    /// Opens a record that is kept in a file, reading what the file has.
    pub(super) fn in_file(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut record = Self::default();
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A half-written last line belongs to a charge that was never answered.
        for charge in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            record.keep(charge);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        record.file = Some(file);
        Ok(record)
    }

    /// Counts an arrival of a charge and tells how many came before it.
    pub(super) fn arrive(&mut self, reference: &str) -> usize {
        let arrivals = self.arrivals.entry(reference.to_owned()).or_default();
        *arrivals += 1;
        *arrivals - 1
    }

    /// Arrivals of a charge so far.
    pub(super) fn arrivals(&self, reference: &str) -> usize {
        self.arrivals.get(reference).copied().unwrap_or_default()
    }

    /// Records a charge and returns what stands: of two racing arrivals the first one's.
    pub(super) fn insert(&mut self, charge: Collected) -> io::Result<Collected> {
        if let Some(first) = self.find(&charge.reference) {
            return Ok(first.clone());
        }
        self.write(charge)
    }

    /// Changes what became of a recorded charge; `None`: there is no such charge.
    pub(super) fn turn(&mut self, reference: &str, outcome: Outcome) -> io::Result<Option<Collected>> {
        let Some(found) = self.find(reference) else { return Ok(None) };
        let charge = Collected { outcome, ..found.clone() };
        self.write(charge).map(Some)
    }

    fn write(&mut self, charge: Collected) -> io::Result<Collected> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&charge)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.keep(charge.clone());
        Ok(charge)
    }

    fn keep(&mut self, charge: Collected) {
        let reference = charge.reference.clone();
        if self.charges.insert(reference.clone(), charge).is_none() {
            self.order.push(reference);
        }
    }

    /// Finds a charge.
    pub(super) fn find(&self, reference: &str) -> Option<&Collected> {
        self.charges.get(reference)
    }

    /// Every charge, oldest first.
    pub(super) fn all(&self) -> Vec<Collected> {
        self.order.iter().filter_map(|reference| self.charges.get(reference)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(reference: &str) -> Collected {
        Collected {
            id: format!("gch_{reference}"),
            reference: reference.to_owned(),
            amount: 5,
            currency: "EUR".to_owned(),
            outcome: Outcome::Declined { decline_code: "card_declined".to_owned() },
        }
    }

    #[test]
    fn a_record_in_a_file_outlives_its_process_and_a_torn_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.jsonl");
        let mut record = Record::in_file(&path).unwrap();
        record.insert(charge("a")).unwrap();
        record.insert(charge("b")).unwrap();
        drop(record);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"id\":\"gch").unwrap();
        let mut record = Record::in_file(&path).unwrap();
        assert_eq!(record.all(), [charge("a"), charge("b")]);
        record.insert(charge("c")).unwrap();
        drop(record);
        assert_eq!(Record::in_file(&path).unwrap().all().len(), 3);
    }

    #[test]
    fn the_last_word_on_a_charge_counts_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.jsonl");
        let mut record = Record::in_file(&path).unwrap();
        record.insert(Collected { outcome: Outcome::Authorized, ..charge("a") }).unwrap();
        assert!(record.turn("b", Outcome::Captured).unwrap().is_none());
        record.turn("a", Outcome::Captured).unwrap();
        drop(record);
        let kept = Record::in_file(&path).unwrap().all();
        assert_eq!(kept, [Collected { outcome: Outcome::Captured, ..charge("a") }]);
    }

    #[test]
    fn arrivals_are_counted_by_reference() {
        let mut record = Record::default();
        assert_eq!((record.arrive("a"), record.arrive("a"), record.arrive("b")), (0, 1, 0));
        assert_eq!(record.arrivals("a"), 2);
    }
}
