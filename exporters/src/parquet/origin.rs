//! Where rows come from: the columns about resource and scope, which the rows of all signals share.

use std::io::Write;

use parquet::data_type::ByteArray;
use wire::DecodeError;
use wire::otlp::Scope;

use super::columns::{Maps, Pairs, RowGroup, Texts};

/// Resource and scope of rows; copies are cheap.
pub(super) struct Origin {
    resource: Pairs,
    scope_name: ByteArray,
    scope_version: ByteArray,
    scope: Pairs,
    /// What it adds to the weight of each row, see [`super::files::Partitions::at`].
    pub(super) weight: u64,
}

impl Origin {
    /// A scope of a resource, whose attributes are read once for all of its scopes.
    pub(super) fn read(resource: &Pairs, scope: &Scope<'_>) -> Result<Self, DecodeError> {
        let (name, version) = (scope.name()?, scope.version()?);
        let attributes = Pairs::read(&scope.attributes)?;
        let weight = resource.weight() + attributes.weight() + (name.len() + version.len()) as u64;
        let (scope_name, scope_version) = (ByteArray::from(name), ByteArray::from(version));
        Ok(Self { resource: resource.clone(), scope_name, scope_version, scope: attributes, weight })
    }
}

/// The columns.
#[derive(Default)]
pub(super) struct Origins {
    resource_attributes: Maps,
    scope_name: Texts,
    scope_version: Texts,
    scope_attributes: Maps,
}

impl Origins {
    pub(super) fn push(&mut self, origin: &Origin) {
        self.resource_attributes.push(origin.resource.clone());
        self.scope_name.push(origin.scope_name.clone());
        self.scope_version.push(origin.scope_version.clone());
        self.scope_attributes.push(origin.scope.clone());
    }

    pub(super) fn write<W: Write + Send>(
        &self,
        group: &mut RowGroup<'_, '_, W>,
    ) -> parquet::errors::Result<()> {
        self.resource_attributes.write(group)?;
        self.scope_name.write(group)?;
        self.scope_version.write(group)?;
        self.scope_attributes.write(group)
    }
}
