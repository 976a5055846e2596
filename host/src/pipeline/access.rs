//! Connections to sources and warehouses whose passwords a service may keep, and may have changed since they were read.

use crate::config::{SourcePlan, WarehousePlan};
use crate::connection::traffic::Traffic;
use crate::error::Result;
use crate::source::{Snapshot, Source, SourceError};
use crate::vault::Vault;
use crate::warehouse::{Warehouse, WarehouseError};

/// A source and a snapshot of it. Where a service keeps the password and the login is refused, the password is read once
/// more: it may have been rotated.
///
/// # Errors
/// The source's own, and those of the vault.
pub(super) async fn source(
    plan: &SourcePlan,
    vault: &Vault,
) -> Result<(Box<dyn Source>, Box<dyn Snapshot>)> {
    let url = vault.reveal(&plan.url).await?;
    let source = crate::source::open(&url, &plan.options)?;
    let error = match source.snapshot().await {
        Ok(snapshot) => return Ok((source, snapshot)),
        Err(error) => error,
    };
    if !matches!(&error, SourceError::Connect(refused) if refused.is_of_login()) {
        return Err(error.into());
    }
    let Some(url) = vault.renew(&plan.url, &url).await? else {
        return Err(error.into());
    };
    let source = crate::source::open(&url, &plan.options)?;
    let snapshot = source.snapshot().await?;
    Ok((source, snapshot))
}

/// The warehouse. Where a service keeps the password it is asked something first, because a refused login is to be known
/// before a landing is on its way.
///
/// # Errors
/// The warehouse's own, and those of the vault.
pub(super) async fn warehouse(
    plan: &WarehousePlan,
    base: &std::path::Path,
    vault: &Vault,
    traffic: &Traffic,
) -> Result<Box<dyn Warehouse>> {
    let open = |url: &str| crate::warehouse::open(url, plan.options.clone(), base, traffic);
    let url = vault.reveal(&plan.url).await?;
    let warehouse = open(&url)?;
    if plan.url.origin().is_none() {
        return Ok(warehouse);
    }
    match warehouse.ledger().await {
        Err(WarehouseError::Connect(refused)) if refused.is_of_login() => {}
        // Whatever else is wrong is told to whoever asks for more.
        _ => return Ok(warehouse),
    }
    match vault.renew(&plan.url, &url).await? {
        Some(url) => Ok(open(&url)?),
        None => Ok(warehouse),
    }
}
