//! One number for a table's content, the same on both sides.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::rows::Value;

/// How many rows there are, and SHA-256 of all their values in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    hash: [u8; 32],
}

impl Digest {
    pub(super) fn hex(&self) -> String {
        self.hash.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Takes in row after row.
#[derive(Default)]
pub(super) struct Hasher {
    rows: u64,
    hash: Sha256,
}

impl Hasher {
    /// Values carry their kind and length, so that no two rows read the same.
    pub(super) fn add(&mut self, row: &[Value]) {
        self.rows += 1;
        for value in row {
            match value {
                Value::Null => self.hash.update([0]),
                Value::Integer(number) => {
                    self.hash.update([1]);
                    self.hash.update(number.to_be_bytes());
                }
                Value::Boolean(is_true) => self.hash.update([2, u8::from(*is_true)]),
                Value::Text(text) => {
                    self.hash.update([3]);
                    self.hash.update((text.len() as u64).to_be_bytes());
                    self.hash.update(text);
                }
            }
        }
    }

    pub(super) fn finish(self) -> Digest {
        Digest { rows: self.rows, hash: self.hash.finalize().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[&[Value]]) -> Digest {
        let mut hasher = Hasher::default();
        rows.iter().for_each(|row| hasher.add(row));
        hasher.finish()
    }

    #[test]
    fn what_is_not_the_same_never_reads_the_same() {
        let text = |text: &str| Value::Text(text.to_owned());
        let all = [
            digest(&[]),
            digest(&[&[text("ab"), text("c")]]),
            digest(&[&[text("a"), text("bc")]]),
            digest(&[&[text("a")], &[text("bc")]]),
            digest(&[&[Value::Null, text("c")]]),
            digest(&[&[text(""), text("c")]]),
            digest(&[&[Value::Integer(1)]]),
            digest(&[&[Value::Boolean(true)]]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| one != other), "{index}");
        }
    }
}
