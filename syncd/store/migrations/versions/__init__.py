"""The revisions, in order. Each is written out manually; a test compares their sum with `syncd.store.schema`."""
