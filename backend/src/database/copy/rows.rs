//! The rows of one table on their way, a batch at a time.

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _, SqliteConnection};

use super::digest::{Digest, Hasher};
use super::tables::{Kind, Table};

/// A batch is sent when it has so many rows, or so many bytes of text.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 1024 * 1024;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(String),
}

/// Copies all rows in the order of their keys; what was sent.
pub(super) async fn copy(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    table: &Table,
) -> anyhow::Result<Digest> {
    let sql = select(table, "BINARY");
    let insert = insert(table);
    let mut hasher = Hasher::default();
    let mut batch = Batch::new(table);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(source);
    while let Some(row) = rows.try_next().await? {
        let row = of_sqlite(&row, table)?;
        hasher.add(&row);
        batch.push(row);
        if batch.is_full() {
            batch.send(target, &insert).await?;
        }
    }
    batch.send(target, &insert).await?;
    Ok(hasher.finish())
}

/// What the target holds.
pub(super) async fn digest(target: &mut PgConnection, table: &Table) -> anyhow::Result<Digest> {
    let mut hasher = Hasher::default();
    let sql = select(table, "\"C\"");
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(target);
    while let Some(row) = rows.try_next().await? {
        hasher.add(&of_postgres(&row, table)?);
    }
    Ok(hasher.finish())
}

fn select(table: &Table, collation: &str) -> String {
    let (columns, name, order) = (table.quoted_columns(), table.quoted(), table.order(collation));
    format!("SELECT {columns} FROM {name} ORDER BY {order}")
}

/// One statement for any number of rows: each column is an array.
fn insert(table: &Table) -> String {
    let array = |(index, column): (usize, &super::tables::Column)| {
        format!("${}::{}[]", index + 1, column.kind.of_postgres())
    };
    let arrays: Vec<_> = table.columns.iter().enumerate().map(array).collect();
    let (name, columns) = (table.quoted(), table.quoted_columns());
    format!("INSERT INTO {name} ({columns}) SELECT * FROM UNNEST({})", arrays.join(", "))
}

fn of_sqlite(row: &SqliteRow, table: &Table) -> anyhow::Result<Vec<Value>> {
    let value = |(index, column): (usize, &super::tables::Column)| -> anyhow::Result<Value> {
        let value = match column.kind {
            Kind::Text => row.try_get::<Option<String>, _>(index).map(|text| text.map(Value::Text)),
            Kind::Integer => row.try_get::<Option<i64>, _>(index).map(|number| number.map(Value::Integer)),
            Kind::Boolean => row.try_get::<Option<bool>, _>(index).map(|truth| truth.map(Value::Boolean)),
        };
        let value = value.with_context(|| format!("column {}", column.name))?.unwrap_or(Value::Null);
        let has_nul = matches!(&value, Value::Text(text) if text.contains('\0'));
        let first = row.try_get::<String, _>(0).unwrap_or_default();
        ensure!(
            !has_nul,
            "column {} of the row that begins with `{first}` holds a NUL, which PostgreSQL can't keep",
            column.name
        );
        Ok(value)
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn of_postgres(row: &PgRow, table: &Table) -> anyhow::Result<Vec<Value>> {
    let value = |(index, column): (usize, &super::tables::Column)| -> anyhow::Result<Value> {
        let value = match column.kind {
            Kind::Text => row.try_get::<Option<String>, _>(index).map(|text| text.map(Value::Text)),
            Kind::Integer => row.try_get::<Option<i64>, _>(index).map(|number| number.map(Value::Integer)),
            Kind::Boolean => row.try_get::<Option<bool>, _>(index).map(|truth| truth.map(Value::Boolean)),
        };
        Ok(value.with_context(|| format!("column {}", column.name))?.unwrap_or(Value::Null))
    };
    table.columns.iter().enumerate().map(value).collect()
}

/// Rows that wait to be sent, column by column.
struct Batch {
    columns: Vec<Values>,
    rows: usize,
    text_bytes: usize,
}

enum Values {
    Text(Vec<Option<String>>),
    Integer(Vec<Option<i64>>),
    Boolean(Vec<Option<bool>>),
}

impl Batch {
    fn new(table: &Table) -> Self {
        let values = |column: &super::tables::Column| match column.kind {
            Kind::Text => Values::Text(Vec::new()),
            Kind::Integer => Values::Integer(Vec::new()),
            Kind::Boolean => Values::Boolean(Vec::new()),
        };
        Self { columns: table.columns.iter().map(values).collect(), rows: 0, text_bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.text_bytes >= BATCH_BYTES
    }

    fn push(&mut self, row: Vec<Value>) {
        self.rows += 1;
        for (values, value) in self.columns.iter_mut().zip(row) {
            match (values, value) {
                (Values::Text(texts), Value::Text(text)) => {
                    self.text_bytes += text.len();
                    texts.push(Some(text));
                }
                (Values::Integer(numbers), Value::Integer(number)) => numbers.push(Some(number)),
                (Values::Boolean(truths), Value::Boolean(is_true)) => truths.push(Some(is_true)),
                // A value was read as its column's kind, or is none.
                (Values::Text(texts), _) => texts.push(None),
                (Values::Integer(numbers), _) => numbers.push(None),
                (Values::Boolean(truths), _) => truths.push(None),
            }
        }
    }

    /// Sends what waits, if anything does.
    async fn send(&mut self, target: &mut PgConnection, insert: &str) -> anyhow::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut query = sqlx::query(AssertSqlSafe(insert.to_owned()));
        for values in &mut self.columns {
            query = match values {
                Values::Text(texts) => query.bind(std::mem::take(texts)),
                Values::Integer(numbers) => query.bind(std::mem::take(numbers)),
                Values::Boolean(truths) => query.bind(std::mem::take(truths)),
            };
        }
        let sent = query.execute(target).await?.rows_affected();
        ensure!(usize::try_from(sent) == Ok(self.rows), "{sent} of {} rows were taken", self.rows);
        (self.rows, self.text_bytes) = (0, 0);
        Ok(())
    }
}
