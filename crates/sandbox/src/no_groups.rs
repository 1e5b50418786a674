//! In the place of `groups` on systems that have none.

use std::io;
use std::marker::PhantomData;
use std::path::Path;

/// There is none.
#[derive(Debug)]
pub enum Branch {}

impl Branch {
    /// Nothing to be taken.
    ///
    /// # Errors
    /// Always.
    pub fn take() -> Result<Self, String> {
        Err("this system has no control groups".to_owned())
    }

    /// None can be made.
    ///
    /// # Errors
    /// There is nothing that this could be asked of.
    pub fn group(&self, _memory: Option<u64>, _threads: Option<u64>) -> io::Result<Group<'_>> {
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

    /// It was not.
    pub fn was_out_of_memory(&self) -> bool {
        match self.none {}
    }
}
