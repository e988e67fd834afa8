package testutil

import "os"

// WithoutGuards switches guards off by default, in this process and those that it starts, unless
// the environment has a rate. TestMain calls it where tests count objects, slabs or bytes: a
// guarded object takes a page, and a pool of them 2 MiB of its arena.
func WithoutGuards() {
	if os.Getenv("SLUBD_GUARD") == "" {
		os.Setenv("SLUBD_GUARD", "off")
	}
}
