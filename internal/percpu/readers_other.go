// The race detector must see readers and updaters synchronize, hence in its builds, too.

//go:build !(linux && amd64) || race

package percpu

func sequencesForReaders() bool { return false }

func (r *Readers) bySequence() { r.byAtomics() }
