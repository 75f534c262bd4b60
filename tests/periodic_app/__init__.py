"""An installed app with periodic jobs, for tests with real worker processes."""
