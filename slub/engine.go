package slub

import "github.com/slubd/slubd/internal/percpu"

// Engine names the per-CPU engine of this process, "rseq" or "trylock", and says why
// where that isn't plain rseq. The environment variable SLUBD_ENGINE forces one.
func Engine() (name, reason string) { return percpu.Engine(), percpu.Reason() }
