//! Operations on grants, and the search for the grant that permits a request.

mod search;

pub(super) use search::Search;
