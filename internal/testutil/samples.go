package testutil

import "os"

// WithoutSamples switches guards and the allocation profile off by default, in this process and
// those that it starts, unless the environment has a rate. TestMain calls it where tests count
// objects, slabs or bytes: a guarded or sampled object takes a page, and a pool of guarded ones 2
// MiB of its arena. The long runs of .ci/run have the profile's usual rate.
func WithoutSamples() {
	for name, none := range map[string]string{"SLUBD_GUARD": "off", "SLUBD_PROFILE_RATE": "0"} {
		if os.Getenv(name) == "" {
			os.Setenv(name, none)
		}
	}
}
