//! The page budgets of receivers, and the spent part of each.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::app::App;
use super::look::look;
use super::problem::Problem;
use super::v1::unsearched;
use crate::config::Limit;
use crate::model::Timestamp;

/// The budgets that the configuration in force declares, by receiver.
pub(super) async fn declared(app: &App) -> Result<BTreeMap<SmolStr, Limit>, Problem> {
    look(app, |engine| engine.policy().budgets()).await
}

/// Of each receiver with a budget: the pages within its time, and the budget.
pub(super) async fn spent(app: &App, now: Timestamp) -> Result<BTreeMap<SmolStr, (u64, Limit)>, Problem> {
    let declared = declared(app).await?;
    let Some(longest) = declared.values().map(|b| b.per).max() else { return Ok(BTreeMap::new()) };
    let pages = app.gate.pages(now - longest, now).await.map_err(unsearched)?;
    let counted = declared.into_iter().map(|(receiver, budget)| {
        let since = now - budget.per;
        let count = pages.iter().filter(|p| p.receiver == receiver.as_str() && p.at >= since).count() as u64;
        (receiver, (count, budget))
    });
    Ok(counted.collect())
}
