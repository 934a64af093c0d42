//! `countersign audit verify`.

use std::process::ExitCode;

use chassis::db::{Db, DbOptions};

use super::place::Where;

/// Verifies the audit of each service and says what was looked at; status 1 when anything does not hold.
pub(super) async fn verify(place: Where) -> anyhow::Result<ExitCode> {
    let mut sound = true;
    for (service, url) in place.databases()? {
        let db = Db::open(&url, &DbOptions::default()).await?;
        let report = chassis::audit::verify(&db).await?;
        db.close().await;
        println!("{service}\n{report}");
        sound &= report.is_sound();
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
