//! `kinora folders`: folders on the hub's machine whose files become jobs as they come.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use kinora_protocol::class::Tags;
use kinora_protocol::folder::{Delivery, FolderFile, FolderVerb, FolderView, NewFolder};
use kinora_protocol::{ErrorCode, Failure, FolderId};

use super::encode::{RecipeArgs, recipe};
use super::one_line;
use super::remote::HubAddress;
use super::values::{span, tags};

/// Flags of `kinora folders`.
#[derive(Debug, Args)]
pub struct FoldersArgs {
    /// What to do
    #[command(subcommand)]
    pub command: FoldersCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum FoldersCommand {
    /// List the folders that are watched
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Watch a folder: each video in it, and each that comes, becomes a job
    Add(Box<AddArgs>),
    /// Watch a folder no more; its files stay as they are
    Rm(OneFolder),
    /// Show what became of its files
    Files(OneFolder),
    /// Take files up again
    Enable(OneFolder),
    /// Take no further file up; what is under way is done
    Disable(OneFolder),
    /// Try again what failed
    Retry(OneFolder),
}

/// Flags of `kinora folders add`.
#[derive(Debug, Args)]
#[command(after_help = "Without --into and --replace the hub keeps the results.")]
pub struct AddArgs {
    /// The folder on the hub's machine, below one that it allows (kinora hub --allow-dir)
    pub folder: PathBuf,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
    /// What to do with each file
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Put results into this folder on the hub's machine, in the same folders below it
    #[arg(long, value_name = "DIR", conflicts_with = "replace")]
    pub into: Option<PathBuf>,
    /// Let each result take the place of its source, once it was decoded and found right
    #[arg(long)]
    pub replace: bool,
    /// Move sources that were replaced here; they are deleted without it
    #[arg(long, value_name = "DIR", requires = "replace")]
    pub keep_originals: Option<PathBuf>,
    /// Take a file up when it stayed as it is for so long: 10s, 5m [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub settle: Option<Duration>,
    /// Extensions of files that are taken up, separated by commas; those of videos when absent
    #[arg(long, value_name = "EXT,…", value_delimiter = ',')]
    pub extensions: Option<Vec<String>>,
    /// Jobs of this folder at once [default: 2]
    #[arg(long, value_name = "N")]
    pub at_once: Option<u32>,
    /// Greater runs first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Only workers that have all of these tags, separated by commas
    #[arg(long, value_name = "TAG,…", value_parser = tags)]
    pub tags: Option<Tags>,
}

impl AddArgs {
    fn wanted(&self) -> Result<NewFolder, Failure> {
        let result = match (&self.into, self.replace) {
            (Some(path), _) => Delivery::Folder { path: path.clone() },
            (None, true) => Delivery::Replace { originals: self.keep_originals.clone() },
            (None, false) => Delivery::Hub,
        };
        let settle = self.settle.map(|settle| u32::try_from(settle.as_secs()).unwrap_or(u32::MAX));
        Ok(NewFolder {
            recipe: recipe::build(&self.recipe, None)?,
            result,
            settle_seconds: settle,
            extensions: self.extensions.clone(),
            jobs: self.at_once,
            priority: self.priority,
            tags: self.tags.clone().unwrap_or_default(),
            ..NewFolder::of(self.folder.clone())
        })
    }
}

/// A folder and its hub.
#[derive(Debug, Args)]
pub struct OneFolder {
    /// Id of the folder
    pub folder: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

impl OneFolder {
    fn id(&self) -> Result<FolderId, Failure> {
        let unknown = || Failure::new(ErrorCode::BadInput, format!("there is no folder {:?}", self.folder));
        self.folder.parse().map_err(|_| unknown())
    }

    async fn tell(&self, verb: FolderVerb) -> Result<(), Failure> {
        let view = self.hub.client()?.tell_folder(self.id()?, verb).await?;
        self.hub.show(&view, line);
        Ok(())
    }
}

/// Runs it.
pub async fn run(args: &FoldersArgs) -> Result<(), Failure> {
    match &args.command {
        FoldersCommand::Ls { hub } => {
            let page = hub.client()?.folders().await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        FoldersCommand::Add(args) => {
            let made = args.hub.client()?.new_folder(&args.wanted()?).await?;
            args.hub.show(&made, line);
            Ok(())
        }
        FoldersCommand::Rm(one) => one.hub.client()?.delete_folder(one.id()?).await,
        FoldersCommand::Files(one) => {
            let page = one.hub.client()?.folder_files(one.id()?).await?;
            one.hub.show(&page, |page| page.items.iter().for_each(file));
            Ok(())
        }
        FoldersCommand::Enable(one) => one.tell(FolderVerb::Enable).await,
        FoldersCommand::Disable(one) => one.tell(FolderVerb::Disable).await,
        FoldersCommand::Retry(one) => one.tell(FolderVerb::Retry).await,
    }
}

fn line(view: &FolderView) {
    let FolderView { id, folder, enabled, error, files, .. } = view;
    let to = match &folder.result {
        Delivery::Hub => String::new(),
        Delivery::Folder { path } => format!(" → {}", path.display()),
        Delivery::Replace { originals: None } => " (replaced)".to_owned(),
        Delivery::Replace { originals: Some(path) } => {
            format!(" (replaced, originals in {})", path.display())
        }
    };
    let off = if *enabled { "" } else { "  disabled" };
    let counts = format!(
        "{} waiting, {} working, {} done, {} failed",
        files.waiting, files.working, files.done, files.failed
    );
    say!("{id}  {}{to}  {counts}{off}", one_line(&folder.path.display().to_string()));
    if let Some(error) = error {
        say!("    {}", one_line(error));
    }
}

fn file(file: &FolderFile) {
    let FolderFile { name, state, job, result, error, .. } = file;
    let job = job.map(|job| format!("  job {job}")).unwrap_or_default();
    let result = result.as_ref().map(|path| format!("  {}", one_line(&path.display().to_string())));
    say!("{:<8}{}{job}{}", state.name(), one_line(name), result.unwrap_or_default());
    if let Some(error) = error {
        say!("    {}", one_line(error));
    }
}
