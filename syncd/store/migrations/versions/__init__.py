"""The revisions, in order. Each is written out by hand; a test compares their sum with `syncd.store.schema`."""
