//! The modules of a project, compiled ahead for the machines on which it is to run.

use std::path::Path;

use futures::future::try_join_all;

use super::modules::{self, ModuleError};
use super::{Pipeline, Shelf};
use crate::contract::ModuleRef;
use crate::error::Result;
use crate::sandbox::Processor;

impl Pipeline {
    /// Compiles the modules that the project uses today into `folder`, for machines with `processor`, and gives them by
    /// the names of their tables. Nothing of them runs.
    ///
    /// # Errors
    /// Those of loading a module, for the first that cannot be had or is refused; `Config` when this program does not compile
    /// for that processor.
    pub async fn precompile(
        &self,
        processor: Processor,
        folder: &Path,
    ) -> Result<Vec<(String, ModuleRef)>> {
        // Before anything is fetched: whether it can be done at all.
        self.sandbox.precompiler(processor, folder)?;
        let now = self.registry.as_of_now().await?;
        let shelf = Shelf {
            registry: &now,
            ..self.shelf()
        };
        let tables = self.plan.transforms.keys();
        try_join_all(tables.map(|table| precompile(shelf, table, processor, folder))).await
    }
}

async fn precompile(
    shelf: Shelf<'_>,
    table: &str,
    processor: Processor,
    folder: &Path,
) -> Result<(String, ModuleRef)> {
    let (module, component, parameters) = modules::fetch(&shelf, table).await?;
    let (sandbox, folder, known) = (shelf.sandbox.clone(), folder.to_owned(), module.clone());
    let compile = move || {
        let precompiler = sandbox.precompiler(processor, &folder)?;
        precompiler.compile(&component, &parameters, &known)
    };
    tokio::task::spawn_blocking(compile)
        .await
        .map_err(ModuleError::Lost)??;
    Ok((table.to_owned(), module))
}
