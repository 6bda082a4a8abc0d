//! Collects faults, each at its place.

use toml::Spanned;

use super::{Fault, Places};

pub(super) struct Told<'a> {
    places: &'a Places<'a>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Told<'a> {
    pub(super) fn new(places: &'a Places<'a>, faults: &'a mut Vec<Fault>) -> Self {
        Self { places, faults }
    }

    /// How many there are so far.
    pub(super) fn count(&self) -> usize {
        self.faults.len()
    }

    /// Something is wrong at a byte of the file.
    pub(super) fn at(&mut self, offset: usize, message: impl Into<String>) {
        self.faults.push(self.places.fault(offset, message));
    }

    /// A value that is wrong itself.
    pub(super) fn about<T>(&mut self, value: &Spanned<T>, message: impl Into<String>) {
        self.at(value.span().start, message);
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.places.fault(offset, "").line
    }

    /// What a text means, if it means anything.
    pub(super) fn one<T>(
        &mut self,
        text: &Spanned<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(text.get_ref()).map_err(|message| self.about(text, message)).ok()
    }

    /// What each text of a list means; those that mean nothing are left out and told.
    pub(super) fn each<T>(
        &mut self,
        texts: &[Spanned<String>],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        texts.iter().filter_map(|text| self.one(text, &parse)).collect()
    }
}
