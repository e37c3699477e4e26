"""Is this webhook authentic? Signature styles, shared secrets, JWTs and their keys."""
