//! In the place of `groups` on systems that have none.

use std::io;
use std::marker::PhantomData;
use std::path::Path;

use crate::{Exceeded, NoBranch, Room};

/// There is none.
#[derive(Debug)]
pub enum Branch {}

impl Branch {
    /// Nothing to be taken.
    ///
    /// # Errors
    /// Always.
    pub fn take() -> Result<Self, NoBranch> {
        Err(NoBranch::NotGiven("this system has no control groups".to_owned()))
    }

    /// None can be made.
    ///
    /// # Errors
    /// There is nothing that this could be asked of.
    pub fn group(&self, _room: Room) -> io::Result<Group<'_>> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub struct Group<'a> {
    none: Branch,
    branch: PhantomData<&'a Branch>,
}

impl Group<'_> {
    /// Nowhere.
    pub fn folder(&self) -> &Path {
        match self.none {}
    }

    /// Nothing.
    pub fn exceeded(&self) -> Option<Exceeded> {
        match self.none {}
    }
}
