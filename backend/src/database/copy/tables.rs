//! What is to be copied, read from both schemas: a table or column that only one side has is an error, so that none is
//! ever forgotten.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use sqlx::{PgConnection, SqliteConnection};

/// The migrator's own, which each side fills by itself.
const MIGRATIONS: &str = "_sqlx_migrations";

/// A table that both sides have.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    key: Vec<String>,
}

/// A column that both sides have.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
}

impl Kind {
    fn of_sqlite(declared: &str) -> Option<Self> {
        match declared {
            "TEXT" => Some(Self::Text),
            "INTEGER" => Some(Self::Integer),
            "BOOLEAN" => Some(Self::Boolean),
            _ => None,
        }
    }

    /// PostgreSQL's name of it.
    pub(super) fn of_postgres(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "bigint",
            Self::Boolean => "boolean",
        }
    }
}

impl Table {
    /// Its name in a statement.
    pub(super) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// All its columns in a statement.
    pub(super) fn quoted_columns(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }

    /// Its key in an ORDER BY: text by its bytes, as SQLite does.
    pub(super) fn order(&self, collation: &str) -> String {
        let is_text = |name: &str| self.columns.iter().any(|c| c.name == name && c.kind == Kind::Text);
        let term = |name: &String| {
            if is_text(name) { format!("{} COLLATE {collation}", quoted(name)) } else { quoted(name) }
        };
        self.key.iter().map(term).collect::<Vec<_>>().join(", ")
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// All tables, those that others point to first.
pub(super) async fn of_both(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
) -> anyhow::Result<Vec<Table>> {
    let names = names_in_source(source).await?;
    let in_target = names_in_target(target).await?;
    let only: Vec<_> = names.symmetric_difference(&in_target).map(String::as_str).collect();
    ensure!(only.is_empty(), "only one side has: {}", only.join(", "));
    let mut tables = BTreeMap::new();
    let mut parents = BTreeMap::new();
    for name in names {
        let table = table(source, target, &name).await.with_context(|| format!("table {name}"))?;
        let referred = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1) WHERE \"table\" <> $1";
        let referred: Vec<String> = sqlx::query_scalar(referred).bind(&name).fetch_all(&mut *source).await?;
        parents.insert(name.clone(), referred);
        tables.insert(name, table);
    }
    let order = parents_first(&parents)?;
    Ok(order.iter().filter_map(|name| tables.remove(name)).collect())
}

async fn names_in_source(source: &mut SqliteConnection) -> anyhow::Result<BTreeSet<String>> {
    const SQL: &str = "SELECT name FROM sqlite_schema
        WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' AND name <> $1";
    Ok(sqlx::query_scalar(SQL).bind(MIGRATIONS).fetch_all(source).await?.into_iter().collect())
}

async fn names_in_target(target: &mut PgConnection) -> anyhow::Result<BTreeSet<String>> {
    const SQL: &str = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
        WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> $1";
    Ok(sqlx::query_scalar(SQL).bind(MIGRATIONS).fetch_all(target).await?.into_iter().collect())
}

async fn table(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    name: &str,
) -> anyhow::Result<Table> {
    const IN_SOURCE: &str = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid";
    const IN_TARGET: &str = "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT)
        FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'";
    let in_source: Vec<(String, String, i64)> =
        sqlx::query_as(IN_SOURCE).bind(name).fetch_all(source).await?;
    let in_target: Vec<(String, String)> = sqlx::query_as(IN_TARGET).bind(name).fetch_all(target).await?;
    let in_target: BTreeMap<_, _> = in_target.into_iter().collect();
    ensure!(in_source.len() == in_target.len(), "the two sides have different columns");
    let mut columns = Vec::new();
    for (column, declared, _) in &in_source {
        let Some(kind) = Kind::of_sqlite(declared) else { bail!("column {column} is {declared}") };
        let found = in_target.get(column).with_context(|| format!("column {column} is on one side only"))?;
        ensure!(found == kind.of_postgres(), "column {column} is {declared} and {found}");
        columns.push(Column { name: column.clone(), kind });
    }
    let mut key: Vec<_> = in_source.into_iter().filter(|(.., place)| *place > 0).collect();
    ensure!(!key.is_empty(), "it has no primary key");
    key.sort_by_key(|(.., place)| *place);
    Ok(Table { name: name.to_owned(), columns, key: key.into_iter().map(|(name, ..)| name).collect() })
}

fn parents_first(parents: &BTreeMap<String, Vec<String>>) -> anyhow::Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    while order.len() < parents.len() {
        let is_next = |(name, parents): &(&String, &Vec<String>)| {
            !order.contains(name) && parents.iter().all(|parent| order.contains(parent))
        };
        let next = parents.iter().find(is_next).context("tables point to each other in a circle")?;
        order.push(next.0.clone());
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_those_that_they_point_to() {
        let graph = |edges: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
            let owned = |(name, to): &(&str, &[&str])| {
                ((*name).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())
            };
            edges.iter().map(owned).collect()
        };
        let order = parents_first(&graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]));
        assert_eq!(order.expect("there is one"), ["c", "b", "a"]);
        parents_first(&graph(&[("a", &["b"]), ("b", &["a"])])).expect_err("a circle");
    }
}
