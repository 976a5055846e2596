//! The straight line: the only room that knows several others.
