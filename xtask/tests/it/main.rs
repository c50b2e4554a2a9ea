//! The program itself, run on workspaces made for it, and what the documents show.

mod readme;
mod tidy;
