//! Users and the identities that providers know them by.

use std::str::FromStr as _;

use access_token::Role;
use uuid::Uuid;

use crate::clock::EpochMillis;
use crate::config::Identity;
use crate::database::Db;
use crate::{read, transaction, write};

use super::model::Me;

/// A user as the database keeps it.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) picture: Option<String>,
    pub(super) role: Role,
}

/// What a provider says about a user.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) picture: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    email: Option<String>,
    picture: Option<String>,
    role: String,
}

impl TryFrom<Row> for User {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let role = Role::from_str(&row.role).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self { id: row.id, name: row.name, email: row.email, picture: row.picture, role })
    }
}

impl From<User> for Me {
    fn from(user: User) -> Self {
        Self { id: user.id, name: user.name, email: user.email, picture: user.picture, role: user.role }
    }
}

const FIND: &str = "SELECT id, name, email, picture, role FROM users WHERE id = $1 AND deleted_at IS NULL";

const FIND_PAGE: &str = "SELECT id, name, email, picture, role FROM users
    WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT $2";

const SET_ROLE: &str = "UPDATE users SET role = $1 WHERE id = $2 AND deleted_at IS NULL";

/// What others still see of a user who has left.
const NAME_OF_THE_GONE: &str = "탈퇴한 사용자";

const ANONYMISE: &str =
    "UPDATE users SET name = $1, email = NULL, picture = NULL, role = 'user', deleted_at = $2
    WHERE id = $3 AND deleted_at IS NULL";

const FIND_BY_IDENTITY: &str = "SELECT u.id, u.name, u.email, u.picture, u.role FROM identities i
    JOIN users u ON u.id = i.user_id WHERE i.provider = $1 AND i.sub = $2";

const INSERT: &str =
    "INSERT INTO users (id, name, email, picture, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)";

const INSERT_IDENTITY: &str =
    "INSERT INTO identities (provider, sub, user_id, created_at) VALUES ($1, $2, $3, $4)";

pub(super) async fn find_user(db: &Db, id: &str) -> sqlx::Result<Option<User>> {
    let row: Option<Row> = read!(db, |pool| sqlx::query_as(FIND).bind(id).fetch_optional(pool).await)?;
    row.map(User::try_from).transpose()
}

/// Users in the order of their ids, which is that of their first sign-in, after an id.
pub(super) async fn find_users(db: &Db, after: &str, limit: i64) -> sqlx::Result<Vec<User>> {
    let rows: Vec<Row> =
        read!(db, |pool| sqlx::query_as(FIND_PAGE).bind(after).bind(limit).fetch_all(pool).await)?;
    rows.into_iter().map(User::try_from).collect()
}

/// Changes a user's role; whether there is such a user.
pub(super) async fn set_role(db: &Db, id: &str, role: Role) -> sqlx::Result<bool> {
    let done = write!(db, |pool| sqlx::query(SET_ROLE)
        .bind(role.as_str())
        .bind(id)
        .execute(pool)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// Forgets who a user was. Their identities go: whoever signs in with one begins anew.
pub(super) async fn delete_user(db: &Db, id: &str) -> sqlx::Result<()> {
    transaction!(db, |tx| {
        sqlx::query("DELETE FROM identities WHERE user_id = $1").bind(id).execute(&mut *tx).await?;
        sqlx::query(ANONYMISE)
            .bind(NAME_OF_THE_GONE)
            .bind(EpochMillis::now())
            .bind(id)
            .execute(&mut *tx)
            .await?;
        Ok(())
    })
}

/// What came of linking an identity.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Linked {
    /// It is the user's now, or was before.
    Yes,
    /// It is somebody else's.
    OfAnother,
}

/// Gives a user another identity.
pub(super) async fn link_identity(db: &Db, identity: &Identity, user_id: &str) -> sqlx::Result<Linked> {
    const LINK: &str = "INSERT INTO identities (provider, sub, user_id, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (provider, sub) DO NOTHING";
    const OWNER: &str = "SELECT user_id FROM identities WHERE provider = $1 AND sub = $2";
    transaction!(db, |tx| {
        sqlx::query(LINK)
            .bind(&identity.provider)
            .bind(&identity.sub)
            .bind(user_id)
            .bind(EpochMillis::now())
            .execute(&mut *tx)
            .await?;
        let owner: String = sqlx::query_scalar(OWNER)
            .bind(&identity.provider)
            .bind(&identity.sub)
            .fetch_one(&mut *tx)
            .await?;
        Ok(if owner == user_id { Linked::Yes } else { Linked::OfAnother })
    })
}

/// Whom a provider means, if it is anybody here.
pub(super) async fn find_user_id(db: &Db, identity: &Identity) -> sqlx::Result<Option<String>> {
    const SQL: &str = "SELECT user_id FROM identities WHERE provider = $1 AND sub = $2";
    read!(db, |pool| {
        sqlx::query_scalar(SQL).bind(&identity.provider).bind(&identity.sub).fetch_optional(pool).await
    })
}

/// Notes that a session began, for the statistics.
pub(super) async fn insert_sign_in(db: &Db, session_id: &str, user_id: &str) -> sqlx::Result<()> {
    const SQL: &str = "INSERT INTO sign_ins (session_id, user_id, signed_in_at) VALUES ($1, $2, $3)";
    write!(db, |pool| {
        sqlx::query(SQL)
            .bind(session_id)
            .bind(user_id)
            .bind(EpochMillis::now())
            .execute(pool)
            .await?
            .rows_affected()
    });
    Ok(())
}

/// The user whom the provider means; made from `profile` at the first sign-in. `role` is the least that the user
/// has from now on.
pub(super) async fn find_or_insert_user(
    db: &Db,
    identity: &Identity,
    profile: &Profile,
    role: Role,
) -> sqlx::Result<User> {
    let row: Option<Row> = read!(db, |pool| {
        sqlx::query_as(FIND_BY_IDENTITY)
            .bind(&identity.provider)
            .bind(&identity.sub)
            .fetch_optional(pool)
            .await
    })?;
    match row.map(User::try_from).transpose()? {
        Some(user) if user.role >= role => Ok(user),
        // Rare: the first sign-in, or the first as an admin.
        _ => match insert_or_promote(db, identity, profile, role).await {
            // Another request of the same user was faster.
            Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
                insert_or_promote(db, identity, profile, role).await
            }
            outcome => outcome,
        },
    }
}

async fn insert_or_promote(
    db: &Db,
    identity: &Identity,
    profile: &Profile,
    role: Role,
) -> sqlx::Result<User> {
    transaction!(db, |tx| {
        let known: Option<Row> = sqlx::query_as(FIND_BY_IDENTITY)
            .bind(&identity.provider)
            .bind(&identity.sub)
            .fetch_optional(&mut *tx)
            .await?;
        match known.map(User::try_from).transpose()? {
            Some(user) if user.role >= role => Ok(user),
            Some(user) => {
                sqlx::query("UPDATE users SET role = $1 WHERE id = $2")
                    .bind(role.as_str())
                    .bind(&user.id)
                    .execute(&mut *tx)
                    .await?;
                Ok(User { role, ..user })
            }
            None => {
                let (id, now) = (Uuid::now_v7().to_string(), EpochMillis::now());
                sqlx::query(INSERT)
                    .bind(&id)
                    .bind(&profile.name)
                    .bind(&profile.email)
                    .bind(&profile.picture)
                    .bind(role.as_str())
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query(INSERT_IDENTITY)
                    .bind(&identity.provider)
                    .bind(&identity.sub)
                    .bind(&id)
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                let Profile { name, email, picture } = profile.clone();
                Ok(User { id, name, email, picture, role })
            }
        }
    })
}
