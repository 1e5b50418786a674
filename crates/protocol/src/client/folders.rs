//! Calls about watched folders.

use reqwest::Method;

use super::{Answer, Client};
use crate::api::Page;
use crate::folder::{FolderFile, FolderVerb, FolderView, NewFolder};
use crate::id::FolderId;
use crate::routes;

impl Client {
    /// Lets the hub watch a folder on its machine.
    ///
    /// # Errors
    /// As all calls: the hub cannot be reached, or says no.
    pub async fn new_folder(&self, wanted: &NewFolder) -> Answer<FolderView> {
        self.post(routes::FOLDERS, wanted).await
    }

    /// All folders, oldest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn folders(&self) -> Answer<Page<FolderView>> {
        self.get(routes::FOLDERS).await
    }

    /// Lets a folder be watched no more.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_folder(&self, folder: FolderId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::folder(folder))).await.map(drop)
    }

    /// Enables or disables one, or tries again what failed.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tell_folder(&self, folder: FolderId, verb: FolderVerb) -> Answer<FolderView> {
        self.post(&routes::of_folder(folder, verb.name()), &()).await
    }

    /// What became of its files.
    ///
    /// # Errors
    /// As all calls.
    pub async fn folder_files(&self, folder: FolderId) -> Answer<Page<FolderFile>> {
        self.get(&routes::of_folder(folder, "files")).await
    }
}
