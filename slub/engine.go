package slub

import "github.com/slubd/slubd/internal/percpu"

// Engine names the per-CPU engine of this process, "rseq" or "trylock", and gives the reason if
// it is not plain rseq. The environment variable SLUBD_ENGINE selects one. Any goroutine, at any
// time.
func Engine() (name, reason string) { return percpu.Engine(), percpu.Reason() }
