//! The program itself, run on workspaces made for it.

mod tidy;
