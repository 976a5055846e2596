//! The sandbox: modules run here, and nothing of the host is within their reach.
