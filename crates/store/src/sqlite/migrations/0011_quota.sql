-- Bytes of media that a user may keep: the hub's usual number when absent, none at all when negative.
ALTER TABLE users ADD COLUMN quota INTEGER;
