// Race builds use this file everywhere: the race detector must see readers and updaters
// synchronize.

//go:build !(linux && (amd64 || arm64)) || race

package percpu

func sequencesForReaders() bool { return false }

func (r *Readers) bySequence() { r.byAtomics() }
